"""The control groups of a cluster, which are all that the kernel leaves behind when the cluster's first process ends.

`python -m tests.cluster.cgroups NAME` is their keeper. Its stdin ends when whoever started it ends, even by SIGKILL.
Then it removes them.
"""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.errors import DaemonError, EnvironmentProblem

ROOT = Path(__file__).parents[2]
PREFIX = "autopilot-cluster-"
REMOVED_WITHIN_S, AGAIN_S = 60.0, 0.1
INHERITED = ("cpuset.cpus", "cpuset.mems")  # empty in a new group of version 1, which then takes no process
WEIGHTS = {"cpu.shares": "10240", "cpu.weight": "1000"}  # ten times that of one process outside, for all pods together


def hierarchies(mountinfo: str) -> list[Path]:
    """Where the trees of control groups are mounted, of version 1 and 2, by /proc/self/mountinfo."""
    lines = [line.split() for line in mountinfo.splitlines()]
    return [Path(words[4]) for words in lines if words[words.index("-") + 1] in ("cgroup", "cgroup2")]


def create(trees: Sequence[Path], name: str) -> None:
    """Make the group in each tree."""
    for tree in trees:
        (tree / name).mkdir()
        for file in INHERITED:
            if (tree / file).exists():
                (tree / name / file).write_text((tree / file).read_text())
        for file, weight in WEIGHTS.items():
            if (tree / name / file).exists():
                (tree / name / file).write_text(weight)


def remove(trees: Sequence[Path], name: str) -> list[Path]:
    """Remove the group from each tree, and those within; the groups that still have processes."""
    left = []
    for tree in trees:
        within = [path for path in (tree / name).rglob("*") if path.is_dir()]
        for group in [*sorted(within, reverse=True), tree / name]:
            try:
                group.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                left.append(group)
    return left


def abandoned(trees: Sequence[Path], processes: Path = Path("/proc")) -> set[str]:
    """The groups of clusters whose commands have ended, and their keepers too."""
    names = {path.name for tree in trees for path in tree.glob(f"{PREFIX}*")}
    return {name for name in names if not (processes / name.removeprefix(PREFIX)).exists()}


@contextmanager
def kept(name: str, within: Sequence[str] = ()) -> Iterator[None]:
    """Make the group, and those within, for the time of the block; they go even if we are killed.

    DaemonError if they cannot be removed.
    """
    trees = mounted()
    for old in abandoned(trees):
        remove(trees, old)
    argv = (sys.executable, "-m", "tests.cluster.cgroups", name)
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, cwd=ROOT, start_new_session=True) as keeper:
        assert keeper.stdout is not None, "a pipe"
        keeper.stdout.readline()  # from here on no signal ends it
        try:
            for group in (name, *(f"{name}/{each}" for each in within)):
                create(trees, group)
        except OSError as error:
            raise EnvironmentProblem(f"no control group can be made, as a container may not: {error}") from error
        yield
    if keeper.returncode:
        raise DaemonError(f"control groups called {name} are left in /sys/fs/cgroup: a process is still in them")


def mounted() -> list[Path]:
    """Where they are mounted on this machine."""
    return hierarchies(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))


async def keep(name: str) -> int:
    """Wait until stdin ends, then until nobody is in the groups any more; 1 if that does not come."""
    sys.stdin.read()
    trees = mounted()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REMOVED_WITHIN_S):
            while remove(trees, name):
                await asyncio.sleep(AGAIN_S)
            return 0
    return 1


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    print("ready", flush=True)
    sys.exit(asyncio.run(keep(sys.argv[1])))
