"""Brings each speaker to its target, with tasks per router: a gobgpd that hangs or is missing delays no other."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence

from app.actuation.ownership import KEY, RENEW_S, Claim
from app.actuation.reaper_note import ReaperWatch
from app.actuation.reconciler import Reconciler
from app.bgp.speaker import RESET_ABOVE, BgpSpeaker
from app.clock import Clock
from app.errors import SpeakerError
from app.tasks import lasting

LISTED_PER_S = 500  # routes that are looked at, on average: looking must not cost what acting needs
TOGETHER_S = 0.05  # what is announced waits so long for more
# A router may send a path anew by taking it back first. Only what is missing this much later, too, is lost.
SURE_S = 0.2

log = logging.getLogger(__name__)
Open = Callable[[], BgpSpeaker]


class SpeakerDriver:
    """Carries out the work of a Reconciler at the speaker of one router; with `owner` None it needs no claim."""

    def __init__(self, reconciler: Reconciler, router: str, open_: Open, clock: Clock, owner: str | None) -> None:
        self._reconciler = reconciler
        self._router = router
        self._state = reconciler.speakers[router]
        self._context = {"pop": reconciler.overrides.pop.name, "router": router}
        self._open = open_
        self._clock = clock
        self._speaker: BgpSpeaker | None = None
        self._claim = Claim(clock, owner) if owner is not None else None
        self._reaper = ReaperWatch(clock)
        self._wake = asyncio.Event()
        self._listed_s = self._claimed_s = -1e9
        self._is_told = False
        self._unasked: set[str] = set()  # prefixes of which the router may have changed its paths
        self._has_unasked = asyncio.Event()
        if self._claim is None:
            reconciler.owns(router, True, None)

    def wake(self) -> None:
        """There may be work."""
        self._wake.set()

    async def run(self) -> None:
        """Run until cancelled: do work as it comes up, look at the speaker regularly, and follow the router's paths."""
        async with asyncio.TaskGroup() as tasks:
            for job in (self._drive, self._watch, self._ask):
                tasks.create_task(lasting(job))

    async def converge(self) -> None:
        """Withdraw what must go, without waiting for anything; then look, and announce what is missing."""
        try:
            speaker = self._speaker = self._speaker or self._open()
            await self._withdraw(speaker)
            await self._look(speaker)
            await self._withdraw(speaker)
            await self._announce(speaker)
            self._is_told = False
        except Exception as error:  # whatever it is, it must not reach another router
            self._note_failure("it cannot be written to", error)
            self._failed(error)

    async def close(self) -> None:
        """Give up the claim and the connection."""
        if self._speaker is not None:
            if self._claim is not None and self._claim.is_mine:
                with contextlib.suppress(SpeakerError):
                    await self._speaker.remove_note(KEY)
            await self._speaker.close()

    async def _withdraw(self, speaker: BgpSpeaker) -> None:
        if prefixes := self._reconciler.work(self._router).withdraw:
            if self._reconciler.halts and len(prefixes) > RESET_ABOVE:
                await self._reset(speaker)
            await speaker.withdraw(prefixes)
            self._reconciler.withdrawn(self._router, prefixes)

    async def _reset(self, speaker: BgpSpeaker) -> None:
        """End the session, so that the router drops all routes at once; without it they go one by one."""
        try:
            await speaker.reset(f"autopilot: {self._reconciler.halted_by}")
        except SpeakerError as error:
            self._warn(error)

    async def _announce(self, speaker: BgpSpeaker) -> None:
        routes = self._reconciler.work(self._router).announce
        if not routes:
            return
        try:
            await speaker.announce(routes)
        except Exception:
            self._reconciler.failed(self._router, routes)
            raise
        self._reconciler.announced(self._router, routes)
        self._follow([route.prefix for route in routes])
        if self._reconciler.work(self._router).announce:
            self._wake.set()  # there are more than are announced at once

    async def _look(self, speaker: BgpSpeaker) -> None:
        """Look whose the speaker is, and what it holds if that is due or it restarted, which its notes show."""
        now_s = self._clock.monotonic_s()
        if now_s - self._claimed_s >= self._look_every_s():
            notes = await speaker.notes()
            self._state.guarded = self._reaper.guards(notes)
            if self._claim is not None:
                await self._look_at_claim(speaker, self._claim, notes.get(KEY))
            self._claimed_s = now_s
        every_s = max(self._reconciler.timing.list_every_s, len(self._state.held) / LISTED_PER_S)
        if now_s - self._listed_s >= every_s or not self._state.certain:
            self._reconciler.listed(self._router, await speaker.routes())
            self._listed_s = now_s

    def _look_every_s(self) -> float:
        timing = self._reconciler.timing
        return RENEW_S if self._state.owned else min(timing.tick_s, RENEW_S)

    async def _look_at_claim(self, speaker: BgpSpeaker, claim: Claim, seen: bytes | None) -> None:
        was_mine, before = claim.is_mine, claim.holder
        note = claim.look(seen, self._reconciler.ready())
        if claim.holder is not None and claim.holder != before:
            text = "router %s: its gobgpd belongs to %s, so this process leaves it alone: stop one of the two"
            log.warning(text, self._router, claim.holder, extra=self._context)
        if was_mine is not claim.is_mine:
            self._listed_s = -1e9  # it restarted, or somebody else wrote there
        self._reconciler.owns(self._router, claim.is_mine, claim.holder)
        if note is not None:
            await speaker.put_note(KEY, note)
            claim.written()

    def _note_failure(self, what: str, error: Exception) -> None:
        """Log what is not simply a speaker that does not answer."""
        if not isinstance(error, SpeakerError):
            log.error("router %s: %s", self._router, what, exc_info=error, extra=self._context)

    def _warn(self, error: Exception) -> None:
        log.warning("router %s: %s", self._router, error, extra=self._context)

    def _failed(self, error: Exception) -> None:
        if not self._is_told:
            self._warn(error)
        self._is_told = True
        self._claimed_s = -1e9
        self._reconciler.failed(self._router)

    async def _drive(self) -> None:
        while True:
            await self.converge()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_every_s()):
                    await self._wake.wait()
                if not self._reconciler.work(self._router).withdraw:
                    await asyncio.sleep(TOGETHER_S)
            self._wake.clear()

    # the router's own paths

    def _follow(self, prefixes: Sequence[str]) -> None:
        """Ask the router soon about those of these prefixes that leave the PoP there; if none is given, about all."""
        if prefixes:
            self._unasked |= {prefix for prefix in prefixes if self._reconciler.leaves_at(self._router, prefix)}
        else:
            self._unasked |= self._reconciler.exits_at(self._router)
        if self._unasked:
            self._has_unasked.set()

    async def _watch(self) -> None:
        while True:
            try:
                if self._speaker is not None:
                    async for prefixes in self._speaker.watch_external():
                        self._follow(list(prefixes))
            except Exception as error:
                self._note_failure("its paths cannot be watched", error)
            await asyncio.sleep(self._reconciler.timing.list_every_s)

    async def _ask(self) -> None:
        while True:
            await self._has_unasked.wait()
            self._has_unasked.clear()
            prefixes, self._unasked = self._unasked, set()
            try:
                await self.ask(prefixes)
            except Exception as error:
                self._note_failure("its paths cannot be read", error)
                self._unasked |= prefixes
                self._has_unasked.set()
                await asyncio.sleep(self._reconciler.timing.tick_s)

    async def ask(self, prefixes: set[str]) -> None:
        """Ask the router which external paths it has for these prefixes; SpeakerError if the speaker fails."""
        if self._speaker is None:
            return
        paths = await self._speaker.external_paths(prefixes)
        if self._reconciler.sessions.would_lose(self._router, paths, self._state.held):
            await asyncio.sleep(SURE_S)
            paths = await self._speaker.external_paths(prefixes)
        self._reconciler.sent_by(self._router, prefixes, paths)


class Driver:
    """The drivers of all speakers of a PoP, and the time that passes."""

    def __init__(
        self, reconciler: Reconciler, speakers: Mapping[str, Open], clock: Clock, owner: str | None = None
    ) -> None:
        self._reconciler = reconciler
        self.routers = {name: SpeakerDriver(reconciler, name, open_, clock, owner) for name, open_ in speakers.items()}
        reconciler.on_work = self._on_work

    async def run(self) -> None:
        """Run until cancelled, then give up the claims; the routes stay."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for job in (self._tick, *(driver.run for driver in self.routers.values())):
                    tasks.create_task(lasting(job))
        except asyncio.CancelledError:
            for driver in self.routers.values():
                await driver.close()
            raise

    def _on_work(self, router: str) -> None:
        if router in self.routers:
            self.routers[router].wake()

    async def _tick(self) -> None:
        while True:
            self._reconciler.tick()
            await asyncio.sleep(self._reconciler.timing.tick_s)
