"""Brings each speaker to its target: one task per router, so that a gobgpd that hangs holds up nobody else's."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from app.actuation.reconciler import Reconciler
from app.bgp.speaker import BgpSpeaker
from app.clock import Clock
from app.errors import SpeakerError

log = logging.getLogger(__name__)


class Driver:
    """Runs one Core against its speakers."""

    def __init__(self, reconciler: Reconciler, speakers: Mapping[str, BgpSpeaker], clock: Clock) -> None:
        self._reconciler = reconciler
        self._speakers = speakers
        self._clock = clock
        self._wake = {router: asyncio.Event() for router in speakers}
        self._listed_s: dict[str, float] = {}
        reconciler.on_work = lambda router: self._wake[router].set()

    async def run(self) -> None:
        """Until cancelled. Work is done as it comes up; every speaker is listed every `list_every_s`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick())
            for router in self._speakers:
                tasks.create_task(self._drive(router))

    async def converge(self, router: str) -> None:
        """List the speaker if its view is old, withdraw what must go, then announce what must come."""
        speaker = self._speakers[router]
        try:
            if self._is_due(router):
                self._reconciler.listed(router, await speaker.routes())
                self._listed_s[router] = self._clock.monotonic_s()
            if gone := self._reconciler.work(router).withdraw:
                await speaker.withdraw(gone)
                self._reconciler.withdrawn(router, gone)
            if new := self._reconciler.work(router).announce:
                await speaker.announce(new)
                self._reconciler.announced(router, new)
        except SpeakerError as error:
            if self._reconciler.speakers[router].reachable or router not in self._listed_s:
                log.warning(
                    "router %s: %s", router, error, extra={"pop": self._reconciler.overrides.pop.name, "router": router}
                )
            self._reconciler.failed(router)

    def _is_due(self, router: str) -> bool:
        listed_s = self._listed_s.get(router)
        if listed_s is None or not self._reconciler.speakers[router].certain:
            return True
        return self._clock.monotonic_s() - listed_s >= self._reconciler.timing.list_every_s

    async def _tick(self) -> None:
        while True:
            self._reconciler.tick()
            await asyncio.sleep(self._reconciler.timing.tick_s)

    async def _drive(self, router: str) -> None:
        wake = self._wake[router]
        while True:
            await self.converge(router)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._reconciler.timing.list_every_s):
                    await wake.wait()
            wake.clear()
