"""Faults of an upgrade: the next version has another format of rows, and somebody goes back to today's."""

import asyncio
import re
import shlex
import sys
from collections.abc import Sequence

from tests.faults.rig import Rig
from tests.faults.traffic import LONGEST_S
from tests.faults.worker_faults import sigterm
from tests.patience import PATIENCE_S

NEXT = ("-m", "tests.faults.next_format")
ADVICE = re.compile(r"has format \d+, and this version of autopilot reads \d+(?: and \d+)?; .*`autopilot (.*)`")


async def next_format(rig: Rig) -> None:
    """The next version reads today's rows, and writes its own, with the disk and without it."""
    worker = rig.worker
    python, today = worker.argv[0], worker.argv
    worker.argv = (python, *NEXT, *rig.arguments("worker", worker.port))
    await sigterm(rig)
    await rig.closes_beyond(rig.clock.now_s() + LONGEST_S)
    async with rig.fault():
        await worker.kill(wipe=True)
    await rig.goes_on()
    worker.argv = today
    await _back(rig)


async def _back(rig: Rig) -> None:
    """Today's version ends with one line that says what to do; who does that has exact counts again."""
    async with rig.fault():
        await rig.worker.stop()
        lines = await _end_of(rig.worker.argv)
        advice = [found for line in lines if (found := ADVICE.search(line))]
        if len(advice) != 1 or not ADVICE.search(lines[-1]):
            rig.problems.append(f"of the lines of a start on the rows of another version {len(advice)} say what to do")
            rig.problems += lines[-10:]
            return
        command = (*shlex.split(advice[0][1]), "--yes", "--config", str(rig.settings_file))
        await _reset(rig, command)
        await rig.worker.start()
    await rig.goes_on()


async def _reset(rig: Rig, command: Sequence[str]) -> None:
    """As an operator: again while the broker takes the worker that ended for a member of the group."""
    said = ""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                code, said = await _run((sys.executable, "-m", "app", *command))
                if code == 0:
                    return
                await asyncio.sleep(1.0)
    except TimeoutError:
        rig.problems.append(f"autopilot {shlex.join(command)}: {said}")


async def _end_of(argv: Sequence[str]) -> list[str]:
    """What a worker that cannot start logs until it ends."""
    _, said = await _run(argv)
    return said.splitlines()


async def _run(argv: Sequence[str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return -1, "no end"
    return process.returncode or 0, said.decode(errors="replace")
