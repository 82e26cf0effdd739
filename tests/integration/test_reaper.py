"""The reaper as a process beside a real gobgpd: no Kafka, no actuator."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from app.bgp.gobgp import GobgpSpeaker
from app.clock import SystemClock
from tests.app.actuation.routes import MARKER, route
from tests.app.bgp.gobgpd import ALONE, running
from tests.integration.bgp import eventually

pytestmark = [pytest.mark.services]

CLOCK = SystemClock()
LEASE_S = 4
STANDS, ENDED = "203.0.113.0/24", "198.51.100.0/24"


class SkewedClock(SystemClock):
    """The clock of another host, by whose time leases are written."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s

    def now_s(self) -> float:
        return super().now_s() + self._ahead_s


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


@pytest.mark.parametrize("ahead_s", [-600.0, 600.0])
async def test_clocks_ten_minutes_apart_end_no_lease_early_and_none_late(tmp_path: Path, ahead_s: float) -> None:
    """Not even of a reaper that is started again, which saw no lease begin."""
    clock = SkewedClock(ahead_s)
    async with running(("alone", ALONE)) as [daemon]:
        speaker = GobgpSpeaker(daemon.target, MARKER, clock=clock)

        async def announce() -> None:
            """A lease that is renewed, and one that is not."""
            await speaker.announce([route(STANDS).leased_until(round(clock.now_s()) + LEASE_S)])

        async def is_gone(prefix: str) -> bool:
            return prefix not in await speaker.routes()

        await speaker.announce([route(ENDED).leased_until(round(clock.now_s()) + LEASE_S)])
        began_s = clock.monotonic_s()
        for _ in range(5):
            async with reaper(daemon.target, tmp_path / "halt"):
                for _ in range(3):
                    await announce()
                    await asyncio.sleep(0.5)
                    assert not await is_gone(STANDS), "a live lease was ended"
                    assert clock.monotonic_s() - began_s > LEASE_S - 1 or not await is_gone(ENDED)
        async with reaper(daemon.target, tmp_path / "halt"):
            for prefix in (ENDED, STANDS):
                await eventually(partial(is_gone, prefix))
        assert clock.monotonic_s() - began_s < 30, "both leases were over after 13 s"
        await speaker.close()
