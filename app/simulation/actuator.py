"""The actuator of a simulated run: the real judgement, driver, reaper and readers over speakers in memory."""

import asyncio
from collections.abc import Callable, Iterable
from typing import cast

from agents.actuate import follow
from agents.routes import RoutesRead, RoutesState
from app.actuation.bmp_witness import Witness
from app.actuation.driver import Driver
from app.actuation.journal import Journal
from app.actuation.reaper import BlockingGobgp, Reaper
from app.actuation.reconciler import Core, Timing
from app.bgp.speaker import InjectedRoute
from app.contract import topics
from app.contract.schemas import Actuation, Decision
from app.errors import SpeakerError
from app.simulation.broker import Broker
from app.simulation.loop import Process
from app.simulation.network import Network
from app.simulation.worker import Disk, Stream, Worker
from app.stream.exact import ExactReader
from app.stream.publish import Publisher
from tables.rib import Pace, RibTable

GROUP = "autopilot-actuator-p"
ANSWER_S = (0.001, 0.03)
GRACE_S = 10.0
LOOK_S = 5.0
OnAnnounce = Callable[["Actuator", str, InjectedRoute, int], None]


class ProcessSpeaker:
    """One actuator's connection to a speaker; a call may hang, fail, or be applied and fail all the same."""

    def __init__(self, actuator: "Actuator", network: Network, router: str, on_announce: "OnAnnounce") -> None:
        self._actuator, self._network, self._router = actuator, network, router
        self._process, self._speaker, self._on_announce = actuator.process, network.speakers[router], on_announce

    async def probe(self) -> None:
        await self._wait()

    async def routes(self) -> dict[str, InjectedRoute]:
        await self._wait()
        return await self._speaker.routes()

    async def announce(self, routes: Iterable[InjectedRoute]) -> None:
        offset = self._actuator.read_to
        await self._wait()
        for route in routes:
            if not self._speaker.down:
                self._on_announce(self._actuator, self._router, route, offset)
            await self._speaker.announce([route])
        self._changed()

    async def withdraw(self, prefixes: Iterable[str]) -> None:
        await self._wait()
        await self._speaker.withdraw(prefixes)
        self._changed()

    async def close(self) -> None:
        """Routes stay."""

    async def _wait(self) -> None:
        await asyncio.sleep(self._process.world.rng.uniform(*ANSWER_S))
        self._process.check()

    def _changed(self) -> None:
        self._network.speaker_changed(self._router)
        if self._network.unsure and self._process.world.rng.random() < self._network.unsure:
            raise SpeakerError("the answer was lost")


class _Blocking:
    """A speaker as the reaper's thread has it."""

    def __init__(self, network: Network, router: str) -> None:
        self._network, self._router = network, router

    def routes(self) -> dict[str, InjectedRoute]:
        speaker = self._network.speakers[self._router]
        if speaker.down:
            raise SpeakerError("it is down")
        return dict(speaker.held)

    def withdraw(self, prefixes: list[str]) -> None:
        for prefix in prefixes:
            self._network.speakers[self._router].held.pop(prefix, None)
        self._network.speaker_changed(self._router)


class Actuator:
    """One process from its recovery to its end. `stuck` ones have an event loop that stands, and a reaper's thread."""

    def __init__(
        self,
        process: Process,
        broker: Broker,
        disk: Disk,
        network: Network,
        hold_s: float,
        flaky: bool,
        on_announce: OnAnnounce,
        pace: Pace,
    ) -> None:
        self.process, self.stuck = process, False
        self.worker = worker = Worker(process, broker, GROUP, disk, flaky)
        pop, app, clock = network.pop, worker.app, process.clock
        rib_table = RibTable(worker.table("rib"))
        self.routes = RoutesState(
            {pop.name: pop},
            rib_table,
            Publisher(app, clock),
            lambda _, router, prefixes: self.core.rib_changed(prefixes),
            pace,
        )
        topic = topics.BMP.for_pop(pop.name)
        self._routes_read = RoutesRead(
            lambda: self.routes.feeds, lambda _: len(broker.topics[topic]) if broker.up else None
        )
        timing = Timing(hold_s=hold_s, confirm_s=10.0, bar_s=15.0)
        journal = Journal(pop.name, clock, self._tell, dry=False)
        self.core = Core(Witness(pop, self.routes.ribs[pop.name]), clock, journal, self.ready, timing)
        speakers = {router: ProcessSpeaker(self, network, router, on_announce) for router in pop.routers}
        blocking = {router: cast(BlockingGobgp, _Blocking(network, router)) for router in pop.routers}
        self.reaper = Reaper(pop, blocking, clock, hold_s, lambda: False, GRACE_S)
        self.add_until_s: dict[str, float] = {}
        kept = [rib_table.table]
        makings, whole_to = worker.makings(topic, kept), self.routes.whole_to
        reader = ExactReader(app, self.routes, kept, makings, worker.fence, worker.end, whole_to)
        reader.load()
        process.spawn(reader.run(Stream(worker, topic)))
        decisions = topics.DECISIONS.for_pop(pop.name)
        process.spawn(follow(Stream(worker, decisions), {decisions: pop.name}, self._decide, Publisher(app, clock)))
        process.spawn(Driver(self.core, speakers, clock).run())
        process.spawn(self._watch())
        process.world.after(LOOK_S, self._look)

    def ready(self) -> bool:
        """The BMP topic was read to where it ended at the start."""
        return self._routes_read(self.core.books.pop.name)

    @property
    def read_to(self) -> int:
        """The last offset of the BMP topic that was applied."""
        return next(iter(self.routes.feeds.values())).sessions.applied

    def _decide(self, decision: Decision) -> None:
        until_s = decision.add_until.timestamp()
        for override in decision.overrides:
            self.add_until_s[override.prefix] = max(until_s, self.add_until_s.get(override.prefix, 0.0))
        self.core.decide(decision)

    def _tell(self, record: Actuation) -> None:
        self.process.world.note(f"{record.router} {record.action} {record.prefix} {record.next_hop}: {record.reason}")

    async def _watch(self) -> None:
        while True:
            self.reaper.deadlines = self.core.deadlines()
            await asyncio.sleep(self.core.timing.tick_s)

    def _look(self) -> None:
        """The reaper's thread: it lives while the event loop stands still, but not when the process is stopped."""
        if self.process.alive:
            if self.stuck or not self.process.frozen:
                for router, prefix in self.reaper.look():
                    self.process.world.note(f"{router} reaped {prefix}")
            self.process.world.after(LOOK_S, self._look)
