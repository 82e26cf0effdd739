"""What of `make gitops` needs no cluster: its git server, and that its folder goes."""

import asyncio
import shutil
import signal
import sys
from pathlib import Path

import pytest

from app.errors import DaemonError
from app.lab.daemons.commands import output
from app.lab.daemons.ports import free_port
from app.lab.daemons.runner import Program, Runner
from tests.cluster.__main__ import own_folder
from tests.deploy.chart import ROOT
from tests.patience import PATIENCE_S

COMMAND = """
import signal
from tests.cluster.__main__ import own_folder

with own_folder() as folder:
    print(folder, flush=True)
    signal.pause()
"""


@pytest.mark.services
async def test_a_folder_goes_even_if_its_command_is_killed() -> None:
    argv = (sys.executable, "-c", COMMAND)
    command = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert command.stdout is not None
    folder = Path((await command.stdout.readline()).decode().strip())
    assert (folder / "log").is_dir()
    command.send_signal(signal.SIGKILL)
    await command.wait()
    async with asyncio.timeout(PATIENCE_S):
        while folder.exists():
            await asyncio.sleep(0.02)


def test_a_folder_stays_if_something_failed() -> None:
    with own_folder() as folder:
        pass
    assert not folder.exists()
    with pytest.raises(DaemonError), own_folder() as folder:
        raise DaemonError("no")
    assert (folder / "log").is_dir()
    shutil.rmtree(folder)


@pytest.mark.services
async def test_a_commit_is_read_from_the_git_server(tmp_path: Path) -> None:
    git = ("git", "-c", "user.name=netops", "-c", "user.email=netops@example.net")
    made = tmp_path / "served" / "made"
    await output(*git, "init", "--quiet", str(made))
    await output(*git, "-C", str(made), "commit", "--quiet", "--allow-empty", "--message", "first")
    port = free_port()
    serve = (sys.executable, "-m", "tests.gitops.git_http", str(made.parent), str(port))

    async def answers() -> str | None:
        try:
            await output(*git, "clone", "--quiet", f"http://127.0.0.1:{port}/made/.git", str(tmp_path / "read"))
        except DaemonError as error:
            return str(error)
        return None

    async with Runner(tmp_path) as runner:
        await runner.start(Program(name="git", argv=serve, env={"PYTHONPATH": str(ROOT)}), answers)
        with pytest.raises(DaemonError, match="not found"):
            await output(*git, "clone", f"http://127.0.0.1:{port}/other/.git", str(tmp_path / "none"))
    assert await output(*git, "-C", str(tmp_path / "read"), "log", "--format=%s") == "first\n"
