"""Flux's controllers, built from their published sources, and kept outside of the checkout by the hash of those."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.deploy.tools import CACHE, GO, go_in, hash_of

MODULES = Path(__file__).parents[2] / "deploy" / "cluster" / "flux"
OPTIONS = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -modcacherw -trimpath -buildvcs=false"}


class Controllers(NamedTuple):
    """Their paths."""

    source: Path
    kustomize: Path
    helm: Path


def controllers() -> Controllers:
    """What is there, made if it is not; CalledProcessError if a download or a build fails."""
    made_from = [Path(__file__), GO, *sorted(path for path in MODULES.rglob("*") if path.is_file())]
    kept = CACHE / f"flux-{hash_of(made_from)}"
    if not kept.is_dir():
        print("building Flux's controllers (takes 10 minutes, once)", file=sys.stderr)
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            made = Path(folder) / "made"
            made.mkdir()
            go, environment = go_in(Path(folder))
            for module in sorted(MODULES.iterdir()):
                command = [str(go), "build", "-ldflags=-s -w", "-o", str(made), "tool"]
                subprocess.run(command, env=os.environ | environment | OPTIONS, cwd=module, check=True)
            shutil.rmtree(Path(folder) / "go")
            made.rename(kept)
    return Controllers(*(kept / f"{name}-controller" for name in Controllers._fields))


if __name__ == "__main__":
    print(controllers())
