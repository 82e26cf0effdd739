"""What enforces network policies: the firewall of kube-router, built from its published source.

It is made once, and kept as the other programs are.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.deploy.tools import CACHE, GO, go_in, hash_of

MODULE = Path(__file__).parents[2] / "deploy" / "cluster" / "firewall"
PACKAGE = "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"


def firewall() -> Path:
    """The program, made if it is not there; CalledProcessError if a download or the build fails."""
    kept = CACHE / f"firewall-{hash_of([Path(__file__), GO, *sorted(MODULE.iterdir())])}"
    if not kept.is_file():
        print("building kube-router (takes some minutes, once)", file=sys.stderr)
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            go, environment = go_in(Path(folder))
            made = Path(folder) / "kube-router"
            flags = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -modcacherw -trimpath"}
            argv = (str(go), "build", "-ldflags=-s -w", "-o", str(made), PACKAGE)
            environment = {**os.environ, **environment, **flags}
            subprocess.run(argv, env=environment, cwd=MODULE, check=True, stdout=sys.stderr)
            made.rename(kept)
    return kept
