"""Images of containers as archives, which containerd can import."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from pathlib import Path

REGISTRY = "registry.test"  # there is none: the node has its images already
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # as images call them
PAUSE = f"{REGISTRY}/pause:1"


def of_program(program: Path) -> bytes:
    """The files of an image that is only this program, which needs nothing else."""
    return _tar({program.name: (program.read_bytes(), 0o755)})


def write_archive(path: Path, name: str, files: bytes, entrypoint: Sequence[str] = ()) -> None:
    """Write an image that has these files, as tar packs them."""
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": entrypoint},
        "history": [{"created_by": "make cluster"}],  # buildah counts the layers by it
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(files).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    members = {"layer.tar": files, "config.json": _json(config), "manifest.json": _json(manifest)}
    path.write_bytes(_tar({member: (content, 0o644) for member, content in members.items()}))


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, (content, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


def _json(document: object) -> bytes:
    return json.dumps(document).encode()
