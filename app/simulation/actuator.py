"""The actuator of a simulated run: the code of production on in-memory speakers and a simulated clock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial

from agents.actuate import Following
from app.actuation.reaper import Reaper
from app.actuation.reconciler import Timing
from app.actuator import ActuatorPorts, assemble
from app.bgp.blocking import BlockingSpeaker
from app.bgp.speaker import BgpSpeaker, InjectedRoute
from app.config.inventory import Pop, Router
from app.config.settings import Settings
from app.contract.schemas import Actuation, Decision
from app.errors import SpeakerError
from app.simulation.network import SimulatedNetwork
from app.simulation.worker import Stream, Worker
from tables.rib import Pace

GROUP = "autopilot-actuator-p"
ANSWER_S = (0.001, 0.03)
GRACE_S = 10.0
TIMING = Timing(confirm_s=10.0, bar_s=15.0, reap_grace_s=GRACE_S, doubt_lease_s=10.0)
LOOK_S = 5.0
OnAnnounce = Callable[["SimulatedActuator", str, InjectedRoute, int], None]


class ProcessSpeaker:
    """One actuator's connection to a speaker. A call may take time, fail, or be applied and still report failure."""

    def __init__(
        self, actuator: "SimulatedActuator", network: SimulatedNetwork, router: str, on_announce: "OnAnnounce"
    ) -> None:
        self._actuator, self._network, self._router = actuator, network, router
        self._process, self._speaker, self._on_announce = actuator.process, network.speakers[router], on_announce

    async def probe(self) -> None:
        """Return after a moment, as a speaker that is alive does."""
        await self._wait()

    async def routes(self) -> dict[str, InjectedRoute]:
        """The routes in the speaker, by prefix."""
        await self._wait()
        return await self._speaker.routes()

    async def announce(self, routes: Iterable[InjectedRoute]) -> None:
        """Announce the routes, after calling `on_announce` for each; SpeakerError if it fails or the answer is lost."""
        offset = self._actuator.read_to
        await self._wait()
        for route in routes:
            if not self._speaker.down:
                self._on_announce(self._actuator, self._router, route, offset)
            await self._speaker.announce([route])
        self._changed()

    async def withdraw(self, prefixes: Iterable[str]) -> None:
        """Withdraw the prefixes; SpeakerError if it fails or the answer is lost."""
        await self._wait()
        await self._speaker.withdraw(prefixes)
        self._changed()

    async def notes(self) -> dict[str, bytes]:
        """The notes in the speaker, by key."""
        await self._wait()
        return await self._speaker.notes()

    async def put_note(self, key: str, value: bytes) -> None:
        """Write a note; SpeakerError if it fails or the answer is lost."""
        await self._wait()
        await self._speaker.put_note(key, value)
        self._changed()

    async def remove_note(self, key: str) -> None:
        """Remove a note; SpeakerError if it fails or the answer is lost."""
        await self._wait()
        await self._speaker.remove_note(key)
        self._changed()

    async def external_paths(self, prefixes: Iterable[str]) -> dict[str, frozenset[str]]:
        """The next hops of the external paths that the router sends, by prefix."""
        await self._wait()
        return await self._speaker.external_paths(prefixes)

    def watch_external(self) -> AsyncIterator[set[str]]:
        """The changes of these paths."""
        return self._speaker.watch_external()

    async def close(self) -> None:
        """Close the connection. The routes stay in the speaker."""

    async def _wait(self) -> None:
        await asyncio.sleep(self._process.world.rng.uniform(*ANSWER_S))
        self._process.check()

    def _changed(self) -> None:
        self._network.speaker_changed(self._router)
        if self._network.unsure and self._process.world.rng.random() < self._network.unsure:
            raise SpeakerError("the answer was lost")


class BlockingMemory:
    """A speaker through the blocking connection of the reaper's thread."""

    def __init__(self, network: SimulatedNetwork, router: str) -> None:
        self._network, self._router = network, router

    def routes(self) -> dict[str, InjectedRoute]:
        """The routes in the speaker, by prefix; SpeakerError while it is down."""
        speaker = self._network.speakers[self._router]
        if speaker.down:
            raise SpeakerError("it is down")
        return dict(speaker.held)

    def withdraw(self, prefixes: list[str]) -> None:
        """Remove the prefixes from the speaker."""
        for prefix in prefixes:
            self._network.speakers[self._router].held.pop(prefix, None)
        self._network.speaker_changed(self._router)

    def close(self) -> None:
        """Close the connection. The routes stay in the speaker."""


class NoOrders:
    """The control topic without any order: nothing is ever halted."""

    caught_up = True


class SimulatedActuator:
    """One actuator process from its recovery to its end.

    If `stuck`, its event loop stands still for good, but the reaper's thread still runs.
    """

    def __init__(
        self,
        worker: Worker,
        network: SimulatedNetwork,
        settings: Settings,
        on_announce: OnAnnounce,
        pace: Pace,
    ) -> None:
        self.worker, self.process, self.stuck = worker, worker.process, False
        self.started_s = worker.process.world.now_s
        self._network, self._on_announce = network, on_announce
        self.add_until_s: dict[str, float] = {}
        ports = ActuatorPorts(
            worker.app,
            worker.process.clock,
            worker.table,
            worker.read,
            self._follow_decisions,
            lambda on_change: NoOrders(),
            self._open_speaker,
            lambda: False,
            self._run_reaper,
            self._note_actuation,
            lambda status: None,
            TIMING,
            pace,
        )
        pop = network.pop.name
        actuator = assemble({pop: network.pop}, settings, ports)
        self.routes, self.reconciler = actuator.routes, actuator.pops[pop].reconciler
        self.ready = partial(actuator.ready, pop)
        actuator.pops[pop].open()
        for job in actuator.pops[pop].jobs():
            worker.process.spawn(job)

    @property
    def read_to(self) -> int:
        """The last offset of the BMP topic that this actuator has applied."""
        return next(iter(self.routes.feeds.values())).sessions.applied

    def _follow_decisions(self, following: Following) -> None:
        follow = following.on_decision

        def on_decision(decision: Decision) -> None:
            until_s = decision.add_until.timestamp()
            for override in decision.overrides:
                self.add_until_s[override.prefix] = max(until_s, self.add_until_s.get(override.prefix, 0.0))
            follow(decision)

        following.on_decision = on_decision
        [topic] = following.topics
        self.process.spawn(following.run(Stream(self.worker, topic)))

    def _open_speaker(self, _: Pop, router: Router) -> tuple[BgpSpeaker, BlockingSpeaker]:
        speaker = ProcessSpeaker(self, self._network, router.name, self._on_announce)
        return speaker, BlockingMemory(self._network, router.name)

    def _note_actuation(self, record: Actuation) -> None:
        self.process.world.note(f"{record.router} {record.action} {record.prefix} {record.next_hop}: {record.reason}")

    def _run_reaper(self, reaper: Reaper) -> None:
        """Stand in for the reaper's thread: it runs even if the event loop is stuck, but not in a frozen process."""

        def look() -> None:
            if self.process.alive:
                if self.stuck or not self.process.frozen:
                    for router, prefix in reaper.look():
                        self.process.world.note(f"{router} reaped {prefix}")
                self.process.world.after(LOOK_S, look)

        self.process.world.after(LOOK_S, look)
