"""What a process is told before its app runs, and what runs beside it."""

import asyncio
import logging
import subprocess
import sys
from pathlib import Path

import faust
import pytest

from app.config.settings import Settings
from app.errors import CRASHED
from app.stream.worker import Background, LoudWorker, create_app
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


FAILS = """
import logging, sys
import mode
from app.config.settings import Settings
from app.stream.worker import LoudWorker, create_app

class Fails(mode.Service):
    async def on_start(self):
        raise ValueError("the tail is lost")

logging.basicConfig(stream=sys.stderr, format="%(message)s")
app = create_app("fails", Settings(pops=("none",), data_dir=sys.argv[1]))
worker = LoudWorker(app, Fails(), override_logging=False, redirect_stdouts=False, quiet=True)
worker.spinner = None
worker.execute_from_commandline()
"""
LAST_LINE = "this process ends itself: ValueError: the tail is lost; its next start goes on from the last commit"


def test_the_last_line_of_the_log_says_why_a_start_failed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FAILS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == LAST_LINE
    assert done.returncode == CRASHED


def test_the_last_line_of_the_log_says_why_the_app_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was `We experienced a crash!`, or what the shutdown made of it."""

    def shut_down(_: faust.Worker) -> None:
        logging.getLogger("mode").critical("We experienced a crash!")
        raise RuntimeError("Event loop is closed")

    statuses = list[int]()
    monkeypatch.setattr(faust.Worker, "stop_and_shutdown", shut_down)
    monkeypatch.setattr("os._exit", statuses.append)
    crashed = LoudWorker(create_app("crashes", Settings(pops=("none",), data_dir=str(tmp_path))))
    crashed.crash_reason = ValueError("the tail is lost")
    with pytest.raises(RuntimeError):
        crashed.stop_and_shutdown()
    assert caplog.messages[-1] == LAST_LINE
    assert statuses == [CRASHED]
