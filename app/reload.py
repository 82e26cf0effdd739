"""Takes over a changed configuration at SIGHUP while a worker runs: all of it, or nothing and the reason why."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable

import msgspec

from app import metrics
from app.clock import BrokerClock, utc
from app.config.changes import Change, Process, changes, digest
from app.config.settings import Deployment
from app.contract.schemas import WorkerState
from app.errors import ConfigError

log = logging.getLogger(__name__)
Read = Callable[[], Deployment]
Apply = Callable[[Deployment, Deployment], Awaitable[None]]  # in use so far, and from now on


_held: set[int] = set()


def hold() -> None:
    """Keep a SIGHUP for `Reload.run`: by default it ends a process. Call this before the files are read."""
    signal.signal(signal.SIGHUP, lambda number, _: _held.add(number))


class Preview(msgspec.Struct, frozen=True):
    """What a worker runs with, and what a SIGHUP would change now: nothing, if there are problems or restarts.

    `config` and `after` are hashes of the configuration in use and of that in the files. `problems` are the mistakes of
    the files, as `autopilot check` says them.
    """

    process: Process
    cell: str
    pops: list[str]
    pid: int
    config: str
    after: str | None = None
    changes: list[Change] = []
    problems: list[str] = []

    @property
    def restarts(self) -> list[Change]:
        """The changes that only a restart makes."""
        return [change for change in self.changes if change.restart]


class Reload:
    """The configuration in use by one worker. `read` reads the files again, `apply` takes over what they say.

    An `apply` that fails ends the worker: its next start reads the same files.
    """

    def __init__(
        self, process: Process, cell: str, deployment: Deployment, read: Read, apply: Apply, clock: BrokerClock
    ) -> None:
        self._process: Process = process
        self._cell = cell
        self._read = read
        self._apply = apply
        self._clock = clock
        self._use(deployment)

    def _use(self, deployment: Deployment) -> None:
        self._in_use, self._since_s = deployment, self._clock.now_s()
        self._digest = digest(deployment, self._cell)
        metrics.CONFIG.clear()
        metrics.CONFIG.labels(self._digest).set(self._since_s)

    def state(self) -> WorkerState:
        """What others should know of this worker."""
        return WorkerState(self._digest, utc(self._since_s), self._clock.host_ahead_s)

    def preview(self) -> Preview:
        """What a SIGHUP would do now."""
        preview = Preview(self._process, self._cell, list(self._in_use.cell(self._cell)), os.getpid(), self._digest)
        try:
            after = self._read()
            found = changes(self._in_use, after, self._cell, self._process)
        except ConfigError as error:
            return msgspec.structs.replace(preview, problems=list(error.problems))
        return msgspec.structs.replace(preview, after=digest(after, self._cell), changes=found)

    async def run(self) -> None:
        """Obey each SIGHUP, also one from before this began, until cancelled."""
        asked = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
        if _held:
            _held.clear()
            asked.set()
        while True:
            await asked.wait()
            asked.clear()
            await self._reload()

    async def _reload(self) -> None:
        try:
            after = await asyncio.to_thread(self._read)
            found = changes(self._in_use, after, self._cell, self._process)
        except ConfigError as error:
            self._refuse([f"reload: {problem}" for problem in error.problems])
            return
        if restarts := [change for change in found if change.restart]:
            self._refuse([f"reload: {change}: needs a restart" for change in restarts])
            return
        await self._apply(self._in_use, after)
        self._use(after)
        metrics.RELOADS.labels("applied").inc()
        for change in found:
            log.warning("reload: %s", change)
        log.warning("reload: configuration %s is in use, with %d changes", self._digest, len(found))

    def _refuse(self, reasons: list[str]) -> None:
        metrics.RELOADS.labels("refused").inc()
        for reason in reasons:
            log.error("%s", reason)
        log.error("reload: nothing was changed; configuration %s stays in use", self._digest)
