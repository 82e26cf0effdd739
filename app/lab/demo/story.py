"""Plays the scenario's events at their times: the look at both edges, dying neighbours, foreign routes, bad input."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from operator import itemgetter

from app.lab.demo import badrecords, edges, forger
from app.lab.demo.context import RunContext
from app.lab.demo.evidence import Injected, Kill, Planted
from app.lab.demo.intruder import loop, stray
from app.lab.demo.killer import kill
from app.lab.pop.scenario import ScenarioEvent


class Story:
    """Runs beside the traffic, plays one event after the other, and keeps what it did and saw for the evidence."""

    def __init__(
        self, context: RunContext, window_closed: Callable[[], Awaitable[None]], note: Callable[[str], None]
    ) -> None:
        """`window_closed` waits until telemetry has closed a window; `note` shows a line to the user."""
        self.kills: list[Kill] = []
        self.planted: list[Planted] = []
        self.injected = Injected({}, 0, 0)
        self.during: list[edges.MarkedLines] = []
        self._context, self._window_closed, self._note = context, window_closed, note

    async def run(self) -> None:
        """Play every event at its time, counted from now; DaemonError if a daemon refuses."""
        moments: list[tuple[float, Callable[[], Awaitable[None]]]] = [(self._context.scenario.look_s, self._look)]
        moments += [(event.at_s, partial(self._strike, event)) for event in self._context.scenario.event]
        began_s = self._context.clock.monotonic_s()
        for at_s, play in sorted(moments, key=itemgetter(0)):
            await asyncio.sleep(max(0.0, began_s + at_s - self._context.clock.monotonic_s()))
            await play()

    async def _look(self) -> None:
        self.during = await edges.show(self._context.stack)
        for shown in self.during:
            example = f", the first: {' '.join(shown.lines[0].split())}" if shown.lines else ""
            self._note(f"{shown.router} shows {len(shown.lines)} routes of Autopilot{example}")

    async def _strike(self, event: ScenarioEvent) -> None:
        if event.kill is not None:
            await self._kill(event.kill)
        elif event.plant == "stray":
            await self._plant_stray(event.for_s or 0.0)
        elif event.plant == "loop":
            await self._plant_loop(event.for_s or 0.0)
        elif event.inject == "bad-records":
            await self._inject()
        elif event.inject == "forgeries":
            await self._forge(event.for_s or 0.0)

    async def _kill(self, target: str) -> None:
        killed = await kill(self._context, target)
        if killed is None:
            self._note("no neighbour is killed, because there are no overrides")
            return
        self.kills.append(killed)
        gone_s = killed.gone_s - killed.peer_down_s
        outcome = (
            f"its {killed.overrides} overrides were gone {gone_s:.2f} s later"
            if killed.overrides
            else "it carried no override"
        )
        self._note(f"neighbour {killed.peer} was killed; {outcome}")

    async def _plant_stray(self, within_s: float) -> None:
        planted = await stray(self._context, within_s)
        self.planted.append(planted)
        remover = "the demo, because Autopilot had not done so" if planted.taken_out else "Autopilot"
        stood_s = planted.gone_s - planted.from_s
        self._note(
            f"foreign override for {planted.prefix} in r1's injector: withdrawn after {stood_s:.2f} s by {remover}"
        )

    async def _plant_loop(self, for_s: float) -> None:
        self._note(f"for {for_s:g} s a foreign route makes r2 send traffic back to r1: a loop")
        planted = await loop(self._context, for_s)
        self.planted.append(planted)
        self._note(f"{planted.prefix} looped between r1 and r2 for {planted.gone_s - planted.from_s:.2f} s")

    async def _inject(self) -> None:
        await self._window_closed()  # until a window is closed, nothing is late
        injected = await badrecords.inject(self._context.stack, self._routed(), self._context.clock.now_s())
        self.injected = self.injected.with_more(injected)
        size = f"{injected.total_bytes:,} bytes of traffic and {injected.dead_letters} unreadable lines"
        self._note(f"bad input was sent beside the traffic: {size}")

    async def _forge(self, for_s: float) -> None:
        await self._window_closed()  # until a window is closed, nobody knows which sampling rates are usual
        self._note(f"for {for_s:g} s somebody forges counters, flows and a BMP session of a router")
        forged = await forger.forge(self._context.stack, self._routed(), for_s)
        self.injected = self.injected.with_more(Injected(forged, 0, 0))

    def _routed(self) -> str:
        """An address that has a route."""
        return next(hosts[0] for hosts in self._context.sim_pop.prefixes.hosts if ":" not in hosts[0])
