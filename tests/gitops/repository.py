"""The repository of a team: a copy of what Flux reads, in which the test edits and commits as people would."""

import shutil
from pathlib import Path

import msgspec

from app.errors import DaemonError
from app.lab.daemons.commands import output
from tests.deploy.chart import ROOT, Item, names, template, values

NAME = "egress-autopilot"
EXAMPLE = f"https://git.example.net/netops/{NAME}"
CHART, CLUSTERS, BASE = "deploy/helm/autopilot", "deploy/flux/clusters", "deploy/flux/base/autopilot.yaml"
READ_BY_FLUX = ("deploy/flux", "deploy/helm")
# Nothing of the git of whoever runs this.
AS_NOBODY = ("GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
AUTHOR = ("-c", "user.name=netops", "-c", "user.email=netops@example.net")


class Repository:
    """It is in a folder of `folder`, and says that it is at `url`."""

    def __init__(self, folder: Path, url: str, helm: Path) -> None:
        self.folder = folder / NAME
        self._url = url
        self._helm = helm

    async def create(self) -> str:
        """The first commit has the folders as they are here, but for the address."""
        for name in READ_BY_FLUX:
            shutil.copytree(ROOT / name, self.folder / name)
        self.edit(BASE, EXAMPLE, self._url)
        await self._git("init", "--quiet", "--initial-branch=main")
        return await self.commit("everything that there is")

    def edit(self, path: str, before: str, after: str) -> None:
        """Replace what stands in a file."""
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        if before not in text:
            raise DaemonError(f"{path} has no {before!r}:\n{text}")
        file.write_text(text.replace(before, after), encoding="utf-8")

    async def commit(self, message: str) -> str:
        """Commit all that has changed; what Flux calls that revision."""
        await self._git("add", "--all")
        await self._git(*AUTHOR, "commit", "--quiet", "--message", message)
        return f"main@sha1:{(await self._git('rev-parse', 'HEAD')).strip()}"

    def rendered(self, cluster: str) -> list[Item]:
        """What helm itself makes of the chart with the values of this cluster."""
        text = (self.folder / CLUSTERS / cluster / "values.yaml").read_bytes()
        return template(self._helm, msgspec.yaml.decode(text), self.folder / CHART)

    def kinds(self) -> set[str]:
        """All kinds that the chart has."""
        return {item.kind for item in template(self._helm, values(*names(1)))}

    async def _git(self, *arguments: str) -> str:
        return await output("env", *AS_NOBODY, "git", "-C", str(self.folder), *arguments)
