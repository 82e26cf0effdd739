"""However the command ends, its processes end with it."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.app.lab.daemons.processes import alive, gone, has_become

COMMAND = """
import asyncio, sys
from pathlib import Path
from app.lab.daemons.runner import Program, Runner

async def main() -> None:
    async with Runner(Path(sys.argv[1])) as runner:
        for name in ("one", "two"):
            await runner.start(Program(name=name, argv=("sleep", "60")))
        print(runner.pid("one"), runner.pid("two"), flush=True)
        if sys.argv[2] == "raise":
            raise RuntimeError
        if sys.argv[2] == "wait":
            await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("way", "number"),
    [
        ("return", None),
        ("raise", None),
        ("wait", signal.SIGINT),
        ("wait", signal.SIGTERM),
        ("wait", signal.SIGKILL),
    ],
)
async def test_nothing_is_left(tmp_path: Path, way: str, number: signal.Signals | None) -> None:
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, str(tmp_path), way),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert command.stdout is not None
    pids = [int(word) for word in (await command.stdout.readline()).split()]
    assert len(pids) == 2
    if number is not None:
        await has_become("sleep", pids)
        assert all(alive(pid) for pid in pids)
        command.send_signal(number)
    await command.wait()
    await gone(pids)
