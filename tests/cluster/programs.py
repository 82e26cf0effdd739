"""The programs of a cluster: Kubernetes and etcd built from their published sources, kubectl and helm as published.

They are made once, and kept outside of the checkout by the hash of what they are made from.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.cluster.images import PAUSE, of_program, write_archive
from tests.deploy.tools import CACHE, GO, go_in, hash_of, tools

MODULE = Path(__file__).parents[2] / "deploy" / "cluster" / "kube"
VERSION = "v1.37.2"
STAMPED = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
PAUSE_SOURCE = "build/pause/linux/pause.c"


class Programs(NamedTuple):
    """Paths: `control` is etcd and API server, `node` all others, `pause` the archive of the image of that name."""

    control: Path
    node: Path
    pause: Path
    kubectl: Path
    helm: Path


def programs() -> Programs:
    """What is there, made if it is not; CalledProcessError if a download or a build fails."""
    made_from = [Path(__file__), GO, *sorted(path for path in MODULE.rglob("*") if path.is_file())]
    kept = CACHE / f"cluster-{hash_of(made_from)}"
    if not kept.is_dir():
        print("building Kubernetes (takes 10 to 20 minutes, once)", file=sys.stderr)
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            made = Path(folder) / "made"
            made.mkdir()
            _build(Path(folder), made)
            made.rename(kept)
    clients = tools()
    return Programs(kept / "control", kept / "node", kept / "pause.tar", clients.kubectl, clients.helms["helm4"])


def _build(work: Path, made: Path) -> None:
    go, environment = go_in(work)
    environment = environment | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -modcacherw -trimpath"}
    flags = " ".join(("-s", "-w", *stamps(VERSION)))
    for name in ("control", "node"):
        print(f"building its part {name}", file=sys.stderr)
        _run(environment, MODULE, str(go), "build", f"-ldflags={flags}", "-o", str(made / name), f"./{name}")
    source = subprocess.run(
        [str(go), "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"],
        env=os.environ | environment,
        cwd=MODULE,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    pause = work / "pause"
    options = ("-Os", "-static", f"-DVERSION={VERSION}", "-o", str(pause))
    _run({}, work, "gcc", *options, str(Path(source) / PAUSE_SOURCE))
    write_archive(made / "pause.tar", PAUSE, of_program(pause), ["/pause"])
    shutil.rmtree(work / "go")


def stamps(version: str) -> Iterator[str]:
    """Options of the linker by which the programs know their version."""
    major, minor, _ = version.removeprefix("v").split(".")
    for package in STAMPED:
        for name, value in (("gitVersion", version), ("gitMajor", major), ("gitMinor", minor)):
            yield f"-X {package}.{name}={value}"


def _run(environment: Mapping[str, str], folder: Path, *argv: str) -> None:
    subprocess.run(argv, env={**os.environ, **environment}, cwd=folder, check=True, stdout=sys.stderr)
