"""The actuator of a simulated run: the code of production on in-memory speakers and a simulated clock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial

from agents.actuate import Following
from app.actuation.timing import Timing
from app.actuator import ActuatorPorts, assemble
from app.bgp.memory import MemorySpeaker
from app.bgp.speaker import BgpSpeaker, InjectedRoute
from app.config.inventory import Pop, Router
from app.config.settings import Settings
from app.contract.schemas import Actuation, Decision
from app.contract.signing import Keyring, Untrusted
from app.errors import SpeakerError
from app.reaper import EVERY_S, Daemon, RouteReaper
from app.simulation.loop import SkewedClock, Violation
from app.simulation.network import SimulatedNetwork
from app.simulation.worker import Stream, Worker
from tables.rib import Pace

GROUP = "autopilot-actuator-p"
ANSWER_S = (0.001, 0.03)
TIMING = Timing(confirm_s=10.0, bar_s=15.0, doubt_lease_s=10.0)
OnWrite = Callable[["SimulatedActuator", str], None]
OnAnnounce = Callable[["SimulatedActuator", str, InjectedRoute, int], None]


class ProcessSpeaker:
    """One actuator's connection to a speaker. A call may take time, fail, or be applied and still report failure."""

    def __init__(
        self,
        actuator: "SimulatedActuator",
        network: SimulatedNetwork,
        router: str,
        on_announce: OnAnnounce,
        on_write: OnWrite,
    ) -> None:
        self._actuator, self._network, self._router = actuator, network, router
        self._process, self._speaker = actuator.process, network.speakers[router]
        self._on_announce, self._on_write = on_announce, on_write

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
        self._on_write(self._actuator, self._router)
        for route in routes:
            if not self._speaker.down:
                self._on_announce(self._actuator, self._router, route, offset)
            await self._speaker.announce([route])
        self._changed()

    async def withdraw(self, prefixes: Iterable[str]) -> None:
        """Withdraw the prefixes; SpeakerError if it fails or the answer is lost."""
        await self._wait()
        self._on_write(self._actuator, self._router)
        await self._speaker.withdraw(prefixes)
        self._changed()

    async def reset(self, reason: str) -> None:
        """End the session with the router; no run has as many routes as that takes."""
        raise NotImplementedError(reason)

    async def notes(self) -> dict[str, bytes]:
        """The notes in the speaker, by key."""
        await self._wait()
        return await self._speaker.notes()

    async def put_note(self, key: str, value: bytes) -> None:
        """Write a note; SpeakerError if it fails or the answer is lost."""
        await self._wait()
        before = self._network.owner(self._router)
        await self._speaker.put_note(key, value)
        if self._network.owner(self._router) != before:
            self._network.owned_s[self._router] = self._process.world.now_s
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
        self._process.check()  # what a dead process does when it is buried takes no time
        await asyncio.sleep(self._process.world.rng.uniform(*ANSWER_S))
        self._process.check()

    def _changed(self) -> None:
        self._network.speaker_changed(self._router)
        if self._network.unsure and self._process.world.rng.random() < self._network.unsure:
            raise SpeakerError("the answer was lost")


class BlockingMemory:
    """A speaker through the blocking connection of its reaper, which is a process of its own."""

    def __init__(self, network: SimulatedNetwork, router: str) -> None:
        self._network, self._router = network, router

    def routes(self) -> dict[str, InjectedRoute]:
        """The routes in the speaker, by prefix; SpeakerError while it is down."""
        return dict(self._speaker().held)

    def withdraw(self, prefixes: list[str]) -> None:
        """Remove the prefixes from the speaker."""
        for prefix in prefixes:
            self._speaker().held.pop(prefix, None)
            self._network.world.note(f"{self._router} reaped {prefix}")
        self._network.speaker_changed(self._router)

    def reset(self, reason: str) -> None:
        """End the session with the router; no run has as many routes as that takes."""
        raise NotImplementedError(reason)

    def put_note(self, key: str, value: bytes) -> None:
        """Write a note into the speaker."""
        self._speaker().noted[key] = value

    def close(self) -> None:
        """Close the connection. The routes stay in the speaker."""

    def _speaker(self) -> MemorySpeaker:
        speaker = self._network.speakers[self._router]
        if speaker.down:
            raise SpeakerError("it is down")
        return speaker


class SimulatedDaemon(Daemon):
    """The process of a speaker; a supervisor starts it again at once."""

    def __init__(self, network: SimulatedNetwork, router: str) -> None:
        self._network, self._router = network, router

    def cpu_s(self) -> float:
        """It never works while it does not answer."""
        return 0.0

    def end(self) -> None:
        """End it; its routes are lost."""
        self._network.restart_speaker(self._router)


def start_reaper(network: SimulatedNetwork, router: str, skew_s: float) -> None:
    """Let a reaper look after the speaker of a router until the end of the run. It ends a speaker that is down."""
    world, lease_s = network.world, network.lease_s
    reaper = RouteReaper(
        BlockingMemory(network, router),
        SimulatedDaemon(network, router),
        SkewedClock(world, skew_s),
        lease_s,
        lambda: False,
        world.note,
    )
    world.every(EVERY_S, reaper.look)


class NoOrders:
    """The control topic without any order: nothing is ever halted."""

    caught_up = True

    def obey(self, trust: Keyring) -> None:
        """There is nothing to judge."""


class SimulatedActuator:
    """One actuator process from its recovery to its end."""

    def __init__(
        self,
        worker: Worker,
        network: SimulatedNetwork,
        settings: Settings,
        checks: tuple[OnAnnounce, OnWrite],
        pace: Pace,
    ) -> None:
        self.worker, self.process = worker, worker.process
        self.started_s = worker.process.world.now_s
        self.owner = f"{self.process.name}-{next(network.numbers)}"
        self._network, self._checks = network, checks
        self.add_until_s: dict[str, float] = {}
        self.lost_s: dict[tuple[str, str, str | None], float] = {}  # when a decided override lost its path
        ports = ActuatorPorts(
            worker.app,
            worker.process.clock,
            worker.table,
            worker.read,
            self._follow_decisions,
            lambda on_change: NoOrders(),
            self._open_speaker,
            lambda: False,
            self._note_actuation,
            lambda status: None,
            self._note_refused,
            self.owner,
            TIMING,
            pace,
        )
        pop = network.pop.name
        actuator = assemble({pop: network.pop}, settings, ports)
        self.routes, self.reconciler = actuator.routes, actuator.pops[pop].reconciler
        self.ready = partial(actuator.ready, pop)
        for job in actuator.pops[pop].jobs():
            worker.process.spawn(job())

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

    def _note_refused(self, topic: str, record: Untrusted, at_s: float) -> None:
        """Only what telemetry sends again long after it was decided may be refused: all of it is signed."""
        self.process.world.note(f"{topic}: refused: {record.cause}")
        if record.cause != "replayed":
            self.process.world.violation = Violation(f"I0 a true decision was refused: {record.reason}")

    def _open_speaker(self, _: Pop, router: Router) -> BgpSpeaker:
        return ProcessSpeaker(self, self._network, router.name, *self._checks)

    def _note_actuation(self, record: Actuation) -> None:
        if (record.action, record.reason) == ("withdrawn", "source-path-lost") and record.epoch:
            self.lost_s[record.router, record.prefix, record.next_hop] = self.process.world.now_s
        self.process.world.note(f"{record.router} {record.action} {record.prefix} {record.next_hop}: {record.reason}")
