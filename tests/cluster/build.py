"""Builds the images of deploy/image, on a base that is named or, where there is no registry, made by base.sh.

The base and all layers are kept in the cache, so only what has changed is built again. Everything happens in
namespaces for mounts and processes: nothing is left mounted, or running, even if we are killed.
"""

from collections.abc import Sequence
from pathlib import Path

from app.lab.daemons.commands import output
from app.lab.daemons.runner import Program, Runner, setpriv
from tests.cluster import images
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

    async def product(self, target: str) -> Path:
        """Build a target of the product's Dockerfile; its archive."""
        return await self.image(target, DOCKERFILE, ROOT, f"--target={target}")

    async def image(self, name: str, dockerfile: Path, context: Path, *more: str) -> Path:
        """Build an image called NAME:1; its archive. DaemonError with the end of the log if it fails."""
        tag, archive = f"{REGISTRY}/{name}:1", self._folder / f"{name}.tar"
        base = self._base or f"docker-archive:{await self._debian()}"
        pull = (*setpriv(None), *self._buildah("pull", "--quiet", base))
        identity = (await output(*pull, within_s=WITHIN_S, name="buildah")).strip()
        options = ("--pull-never", "--isolation=chroot", "--layers", f"--build-arg=BASE={identity}", *more)
        build = self._buildah("build", *options, f"--file={dockerfile}", f"--tag={tag}", str(context))
        await self._run(f"build-{name}", build)
        await self._run(f"push-{name}", self._buildah("push", tag, f"docker-archive:{archive}:{tag}"))
        return archive

    async def _debian(self) -> Path:
        """The archive of a base, made if there is none of this machine's certificates."""
        made_from = (
            SCRIPT,
            Path(images.__file__),
            *sorted(CERTIFICATES.glob("*.crt")),
            *([PIP] if PIP.exists() else []),
        )
        kept = CACHE / f"base-{hash_of(made_from)}.tar"
        if not kept.exists():
            files, part = self._folder / "base.tar", kept.with_suffix(".part")
            await self._run("base", (*ALONE, "sh", str(SCRIPT), str(files)))
            write_archive(part, f"{REGISTRY}/base:1", files.read_bytes())
            part.rename(kept)
            files.unlink()
        return kept

    async def _run(self, name: str, argv: Sequence[str]) -> None:
        await self._runner.run(Program(name=name, argv=argv), WITHIN_S)

    def _buildah(self, command: str, *arguments: str) -> tuple[str, ...]:
        storage = CACHE / "buildah"
        kept = ("--storage-driver=overlay", f"--root={storage}", f"--runroot={storage}/run")
        return (*ALONE, "buildah", *kept, command, f"--signature-policy={self._policy}", *arguments)
