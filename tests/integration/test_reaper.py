"""The reaper as a process beside a real gobgpd: no Kafka, no actuator."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.bgp.gobgp import GobgpSpeaker
from app.clock import SystemClock
from tests.app.actuation.routes import MARKER, route
from tests.app.bgp.gobgpd import ALONE, running
from tests.integration.bgp import eventually

pytestmark = [pytest.mark.services]

CLOCK = SystemClock()
STANDS, ENDED = "203.0.113.0/24", "198.51.100.0/24"


@asynccontextmanager
async def reaper(target: str, halt_file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    argv = [
        sys.executable,
        "-m",
        "app",
        "reaper",
        "--target",
        target,
        "--marker",
        MARKER,
        "--halt-file",
        str(halt_file),
    ]
    process = await asyncio.create_subprocess_exec(*argv)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


def memory_kib(pid: int, what: str) -> int:
    """What /proc says of a process, such as VmRSS (now) or VmHWM (at most so far)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


async def test_it_ends_leases_obeys_the_halt_file_and_ends_a_frozen_daemon(tmp_path: Path) -> None:
    halt_file, now_s = tmp_path / "halt", int(CLOCK.now_s())
    async with running(("alone", ALONE)) as [daemon]:
        speaker = GobgpSpeaker(daemon.target, MARKER)
        await speaker.announce([route(STANDS).leased_until(now_s + 200), route(ENDED).leased_until(now_s - 1)])

        async def held() -> set[str]:
            return set(await speaker.routes())

        async with reaper(daemon.target, halt_file) as process:

            async def only_one_stands() -> bool:
                return await held() == {STANDS}

            await eventually(only_one_stands)
            assert memory_kib(process.pid, "VmRSS") < 32 * 1024, "26 MiB when this was written"

            many = [route(f"10.{number >> 8}.{number & 255}.0/24") for number in range(2000)]
            await speaker.announce(each.leased_until(now_s + 200) for each in many)
            halt_file.touch()

            async def nothing_stands() -> bool:
                return await held() == set()

            await eventually(nothing_stands)
            assert memory_kib(process.pid, "VmHWM") < 40 * 1024, "31 MiB when this was written"

            daemon.freeze()
            frozen_s = CLOCK.monotonic_s()
            await daemon.ended()
            assert CLOCK.monotonic_s() - frozen_s < 15, "5 s on a machine with time"
        await speaker.close()
