"""Brings each speaker to its target, with one task per router: a gobgpd that hangs delays no other router."""

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
    """Carries out the work of one Reconciler at its speakers."""

    def __init__(self, reconciler: Reconciler, speakers: Mapping[str, BgpSpeaker], clock: Clock) -> None:
        self._reconciler = reconciler
        self._speakers = speakers
        self._clock = clock
        self._wake = {router: asyncio.Event() for router in speakers}
        self._listed_s: dict[str, float] = {}
        reconciler.on_work = lambda router: self._wake[router].set()

    async def run(self) -> None:
        """Run until cancelled: do work as it comes up, and list each speaker every `list_every_s` seconds."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick())
            for router in self._speakers:
                tasks.create_task(self._drive(router))

    async def converge(self, router: str) -> None:
        """List the routes of a speaker if that is due, then withdraw what must go, then announce what is missing."""
        speaker = self._speakers[router]
        try:
            if self._is_due(router):
                self._reconciler.listed(router, await speaker.routes())
                self._listed_s[router] = self._clock.monotonic_s()
            if prefixes := self._reconciler.work(router).withdraw:
                await speaker.withdraw(prefixes)
                self._reconciler.withdrawn(router, prefixes)
            if routes := self._reconciler.work(router).announce:
                await speaker.announce(routes)
                self._reconciler.announced(router, routes)
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
