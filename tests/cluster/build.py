"""Builds the images of deploy/image, on a base that is named or, where there is no registry, made by base.sh.

The base and all layers are kept in the cache, so only what has changed is built again. Everything happens in
namespaces for mounts and processes: nothing is left mounted, or running, even if we are killed.
"""

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from app.errors import DaemonError
from app.lab.daemons.commands import output
from app.lab.daemons.runner import Program, Report, Runner, setpriv
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
LAYERS_MAX_MB = 200.0  # of ours, above the base


class Builder:
    """Builds in `folder` and in the cache. `base` is a name that buildah can pull, with its transport."""

    def __init__(self, runner: Runner, folder: Path, base: str | None, report: Report = lambda line: None) -> None:
        self._runner = runner
        self._report = report
        self._folder = folder
        self._base = base
        self._policy = folder / "policy.json"
        self._policy.write_text(TRUST, encoding="utf-8")

    async def product(self, target: str) -> Path:
        """Build a target of the product's Dockerfile; its archive. DaemonError if it is too large."""
        archive, above_mb = await self._image(target, DOCKERFILE, ROOT, f"--target={target}")
        if above_mb > LAYERS_MAX_MB:
            raise DaemonError(f"{target}: its layers above the base have {above_mb:.0f} MB, above {LAYERS_MAX_MB:g}")
        return archive

    async def image(self, name: str, dockerfile: Path, context: Path) -> Path:
        """Build an image called NAME:1; its archive. DaemonError with the end of the log if it fails."""
        return (await self._image(name, dockerfile, context))[0]

    async def _image(self, name: str, dockerfile: Path, context: Path, *more: str) -> tuple[Path, float]:
        """Build it; its archive, and the MB of its layers above the base."""
        tag, archive = f"{REGISTRY}/{name}:1", self._folder / f"{name}.tar"
        base = self._base or f"docker-archive:{await self._debian()}"
        pull = (*setpriv(None), *self._buildah("pull", "--quiet", base))
        identity = (await output(*pull, within_s=WITHIN_S, name="buildah")).strip()
        options = ("--pull-never", "--isolation=chroot", "--layers", f"--build-arg=BASE={identity}", *more)
        build = self._buildah("build", *options, f"--file={dockerfile}", f"--tag={tag}", str(context))
        await self._run(f"build-{name}", build)
        await self._run(f"push-{name}", self._buildah("push", tag, f"docker-archive:{archive}:{tag}"))
        layers = ("inspect", "--type=image", "--format={{.OCIv1.RootFS.DiffIDs}}", identity)
        of_base = await output(*setpriv(None), *self._storage(*layers), within_s=60.0, name="buildah")
        above_mb = above(archive, of_base)
        self._report(f"{tag}: {above_mb:.0f} MB above its base")
        return archive, above_mb

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
        return self._storage(command, f"--signature-policy={self._policy}", *arguments)

    def _storage(self, *arguments: str) -> tuple[str, ...]:
        storage = CACHE / "buildah"
        kept = ("--storage-driver=overlay", f"--root={storage}", f"--runroot={storage}/run")
        return (*ALONE, "buildah", *kept, *arguments)


def above(archive: Path, base: str) -> float:
    """The MB, as files, of an image's layers whose hashes are not among those of its base."""
    with tarfile.open(archive) as files:
        [manifest] = json.load(_member(files, "manifest.json"))
        layers = json.load(_member(files, manifest["Config"]))["rootfs"]["diff_ids"]
        ours = [name for name, layer in zip(manifest["Layers"], layers, strict=True) if layer not in base]
        return sum(files.getmember(name).size for name in ours) / 1e6


def _member(files: tarfile.TarFile, name: str) -> IO[bytes]:
    found = files.extractfile(name)
    assert found is not None, f"{name} is a file"
    return found
