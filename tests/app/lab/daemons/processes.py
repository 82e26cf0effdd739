"""Programs of the base system for tests of the runner, and how to see that a process is gone."""

import asyncio
from collections.abc import Collection
from pathlib import Path

from tests.patience import PATIENCE_S


def sh(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def alive(pid: int) -> bool:
    """A zombie is not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def has_become(name: str, pids: Collection[int], within_s: float = PATIENCE_S) -> None:
    """Returns when all of them run this program: what started it has set how it ends by then. TimeoutError."""
    async with asyncio.timeout(within_s):
        while any(Path(f"/proc/{pid}/comm").read_text().strip() != name for pid in pids):
            await asyncio.sleep(0.01)


async def gone(pids: Collection[int], within_s: float = PATIENCE_S) -> None:
    """Returns when none is alive; TimeoutError when that does not happen. SIGKILL takes the kernel a moment."""
    async with asyncio.timeout(within_s):
        while True:
            if not any(alive(pid) for pid in pids):
                return
            await asyncio.sleep(0.01)
