"""Whatever ends `make cluster`, nothing of it is left. It needs root, for namespaces and control groups."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.cluster import cgroups
from tests.cluster.sandbox import leftovers
from tests.patience import PATIENCE_S

# A cluster's sandbox with something running in it, whose command says what it is called and waits to be killed.
COMMAND = """
import asyncio, os, sys
from pathlib import Path
from app.lab.daemons.runner import Runner
from tests.cluster import cgroups
from tests.cluster.sandbox import Sandbox

async def main(folder):
    name = f"{cgroups.PREFIX}{os.getpid()}"
    with cgroups.kept(name):
        async with Runner(folder) as runner:
            sandbox = Sandbox(runner, folder)
            await sandbox.start()
            group = cgroups.mounted()[0] / name / "pods"
            inside = "setsid sleep infinity >/dev/null 2>&1 & mkdir $0; echo $! >$0/cgroup.procs; touch /var/in-memory"
            await sandbox.run("sh", "-c", inside, str(group))
            print(name, sandbox.namespace, flush=True)
            await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.services
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_is_left_whatever_ends_the_command(number: signal.Signals, tmp_path: Path) -> None:
    argv = (sys.executable, "-c", COMMAND, str(tmp_path))
    command = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, cwd=cgroups.ROOT)
    assert command.stdout is not None
    name, namespace = (await command.stdout.readline()).decode().split()
    trees = cgroups.mounted()
    assert leftovers(namespace, tmp_path)
    assert any((tree / name / "pods").exists() for tree in trees)
    command.send_signal(number)
    await command.wait()
    async with asyncio.timeout(PATIENCE_S):
        while leftovers(namespace, tmp_path) or any((tree / name).exists() for tree in trees):
            await asyncio.sleep(0.02)
    assert not Path("/var/in-memory").exists()
