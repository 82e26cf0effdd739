"""What a process is told before its app runs, and what runs beside it."""

import asyncio
import subprocess
import sys

import pytest

from app.stream.worker import Background
from tests.patience import PATIENCE_S

PROGRAM = """
import resource, sys
from app.stream.worker import keep_freed_memory

if sys.argv[1] == "keeps":
    keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def fetch():
    received = b"x" * (4 << 20)
    fetched = bytes(memoryview(received))
    del received
    messages = [b"x" * 330_000 for _ in range(12)]
    del fetched

fetch()
fetch()
before = faults()
for _ in range(10):
    fetch()
print(faults() - before)
"""


def page_faults(how: str) -> int:
    """Of ten fetches, after the first two."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(ended.stdout)


def test_the_memory_of_a_fetch_is_there_for_the_next() -> None:
    """Else the kernel clears and maps each of its thousand pages again."""
    assert page_faults("keeps") < 500 < page_faults("gives back")


async def test_the_end_of_a_job_is_the_end_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons: list[str] = []
    monkeypatch.setattr("app.stream.worker.die", reasons.append)

    async def fails() -> None:
        raise ValueError("a bug")

    async def lives() -> None:
        await asyncio.Event().wait()

    background = Background(fails, lives)
    await background.start()
    async with asyncio.timeout(PATIENCE_S):
        while not reasons:
            await asyncio.sleep(0)
    await background.stop()
    assert reasons == ["a background job ended"]
