"""The worker under test with its supervisor, as Kubernetes is one: restarts with backoff, for ever."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from app.clock import Clock
from app.lab.daemons.runner import BACKOFF_S, setpriv
from tests.patience import PATIENCE_S

LIVED_S = 15.0  # a worker that lived so long begins its backoff anew


class Worker:
    """One supervised process; `exits` counts how it ended when nobody asked it to."""

    def __init__(self, argv: Sequence[str], log: Path, data_dir: Path, port: int, clock: Clock) -> None:
        self.exits: Counter[int] = Counter()
        self.data_dir = data_dir
        self.port = port
        self.process: asyncio.subprocess.Process
        self.argv = argv
        self._log = log
        self._clock = clock
        self._meanwhile: Callable[[Path], None] | None = None
        self._supervisor: asyncio.Task[None]

    async def start(self) -> None:
        await self._fork()
        self._supervisor = asyncio.create_task(self._supervise(), name="supervisor")

    async def kill(self, wipe: bool = False, meanwhile: Callable[[Path], None] | None = None) -> None:
        """SIGKILL it. Before it is started again its data directory is gone, or `meanwhile` does something to it."""
        self._meanwhile = (lambda _: self.wipe()) if wipe else meanwhile
        process = self.process
        self.signal(signal.SIGKILL)
        await process.wait()

    def wipe(self) -> None:
        """Delete the data directory of one that has ended."""
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # it may end by itself at the same moment
            self.process.send_signal(number)

    async def end(self) -> None:
        """SIGKILL it, and do not start it again."""
        await self._leave_alone()
        self.signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, then SIGKILL; its exit code. Nothing happens to one that has ended and is not started again."""
        await self._leave_alone()
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self.process.wait(), PATIENCE_S)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            code = await self.process.wait()
        return code

    async def _leave_alone(self) -> None:
        self._supervisor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._supervisor

    async def _supervise(self) -> None:
        failures = 0
        while True:
            began_s = self._clock.monotonic_s()
            code = await self.process.wait()
            self.exits[code] += 1
            if self._meanwhile is not None:
                self._meanwhile(self.data_dir)
                self._meanwhile = None
            failures = 0 if self._clock.monotonic_s() > began_s + LIVED_S else failures + 1
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            await self._fork()

    async def _fork(self) -> None:
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self.process = await asyncio.create_subprocess_exec(*setpriv(None), *self.argv, stdout=log, stderr=log)
        finally:
            os.close(log)
