"""Builds the images of deploy/image, on a base that is named or, where there is no registry, made by base.sh.

The base and all layers are kept in the cache, so only what has changed is built again. Everything happens in
namespaces for mounts and processes: nothing is left mounted, or running, even if we are killed.
"""

from pathlib import Path

from app.lab.daemons.commands import output
from app.lab.daemons.runner import Program, Runner, setpriv
from tests.cluster.images import REGISTRY, write_archive
from tests.deploy.tools import CACHE, hash_of

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "image" / "Dockerfile"
SCRIPT = ROOT / "deploy" / "cluster" / "base.sh"
CERTIFICATES, PIP = Path("/usr/local/share/ca-certificates"), Path("/etc/pip.conf")
ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--")
TRUST = '{"default": [{"type": "insecureAcceptAnything"}]}'
WITHIN_S = 1800.0


class Builder:
    """Builds in `folder` and in the cache. `base` is a name that buildah can pull, with its transport."""

    def __init__(self, runner: Runner, folder: Path, base: str | None) -> None:
        self._runner = runner
        self._folder = folder
        self._base = base
        self._policy = folder / "policy.json"
        self._policy.write_text(TRUST, encoding="utf-8")

    async def image(self, target: str) -> Path:
        """Build a target of the Dockerfile; its archive. DaemonError with the end of the log if it fails."""
        name, archive = f"{REGISTRY}/{target}:1", self._folder / f"{target}.tar"
        base = self._base or f"docker-archive:{await self._debian()}"
        pull = self._buildah("pull", f"--signature-policy={self._policy}", "--quiet", base)
        identity = (await output(*setpriv(None), *pull, within_s=WITHIN_S, name="buildah")).strip()
        options = (
            "--pull-never",
            "--isolation=chroot",
            "--layers",
            f"--target={target}",
            f"--build-arg=BASE={identity}",
        )
        files = (f"--signature-policy={self._policy}", f"--file={DOCKERFILE}", f"--tag={name}", str(ROOT))
        await self._run(f"build-{target}", *self._buildah("build", *options, *files))
        push = ("push", f"--signature-policy={self._policy}", name, f"docker-archive:{archive}:{name}")
        await self._run(f"push-{target}", *self._buildah(*push))
        return archive

    async def _debian(self) -> Path:
        """The archive of a base, made if there is none of this machine's certificates."""
        made_from = (SCRIPT, *sorted(CERTIFICATES.glob("*.crt")), *([PIP] if PIP.exists() else []))
        kept = CACHE / f"base-{hash_of(made_from)}.tar"
        if not kept.exists():
            files, part = self._folder / "base.tar", kept.with_suffix(".part")
            await self._run("base", *ALONE, "sh", str(SCRIPT), str(files))
            write_archive(part, f"{REGISTRY}/base:1", files.read_bytes())
            part.rename(kept)
            files.unlink()
        return kept

    async def _run(self, name: str, *argv: str) -> None:
        await self._runner.run(Program(name=name, argv=argv), WITHIN_S)

    def _buildah(self, *arguments: str) -> tuple[str, ...]:
        storage = CACHE / "buildah"
        return (
            *ALONE,
            "buildah",
            "--storage-driver=overlay",
            f"--root={storage}",
            f"--runroot={storage}/run",
            *arguments,
        )
