"""Composition root of `autopilot actuator`: decisions and BMP of a cell's PoPs in, routes on their injectors out."""

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import faust
import mode
from aiokafka.errors import KafkaError

from agents import decisions, routes
from app import metrics, topics
from app.bgp.core import Core, Timing
from app.bgp.driver import Driver
from app.bgp.dryrun import DryWitness
from app.bgp.gobgp import GobgpSpeaker
from app.bgp.journal import Journal
from app.bgp.liveness import Witness
from app.bgp.memory import MemorySpeaker
from app.bgp.speaker import BgpSpeaker
from app.clock import Clock, SystemClock
from app.control import Halts, follow_control
from app.inventory import Pop
from app.schemas import Actuation, Control, Decision
from app.settings import Deployment, Settings
from app.stream.fence import StallFence, die
from app.stream.publish import Publisher
from app.stream.worker import create_app, run
from app.te.rib import Rib
from app.web.state import StateServer, Views
from tables.rib import open_rib

log = logging.getLogger(__name__)
LOOK_EVERY_S = 1.0
SEND_EVERY_S = 0.1


class PopActuator:
    """One PoP: its judgement, and the drive that brings its speakers there."""

    def __init__(
        self, pop: Pop, settings: Settings, rib: Rib, journal: Journal, clock: Clock, ready: Callable[[], bool]
    ) -> None:
        self._pop = pop
        self._settings = settings
        self._clock = clock
        self._memory = {router: MemorySpeaker() for router in pop.routers}
        witness = Witness(pop, rib) if settings.mode == "auto" else DryWitness(pop, rib, self._memory)
        self.core = Core(witness, clock, journal, ready, Timing(hold_s=settings.pacing.hold_s))

    def decide(self, decision: Decision) -> None:
        """Follow it, unless one of us only observes, or it was not meant to be done."""
        meant = decision.mode == "auto" or self._settings.mode == "dry-run"
        if self._settings.mode != "observe" and decision.mode != "observe" and meant:
            self.core.decide(decision)

    def overrides(self) -> dict[str, object]:
        """What is ours now: the routes by router, and the state of every prefix."""
        entries = self.core.books.entries.values()
        return {
            "halts": sorted(self.core.halts),
            "routes": {router: sorted(view.held) for router, view in self.core.views.items()},
            "prefixes": {entry.prefix: {"state": entry.state, "reason": entry.reason} for entry in entries},
        }

    async def drive(self) -> None:
        """Until cancelled; speakers are opened here because gRPC wants the running loop."""
        marker = self._pop.marker_community
        speakers: Mapping[str, BgpSpeaker] = self._memory
        if self._settings.mode == "auto":
            routers = self._pop.routers.items()
            speakers = {name: GobgpSpeaker(router.injector.grpc, marker) for name, router in routers}
        try:
            await Driver(self.core, speakers, self._clock).run()
        finally:
            for speaker in speakers.values():
                await speaker.close()


class Actuating(mode.Service):
    """Runs beside the Faust app: drives, kill switches, and the sending of what was done."""

    def __init__(self, settings: Settings, actuators: Mapping[str, PopActuator], publisher: Publisher) -> None:
        super().__init__()
        self._settings = settings
        self._actuators = actuators
        self._publisher = publisher
        self._halts = Halts()

    async def on_start(self) -> None:
        for actuator in self._actuators.values():
            self.add_future(_or_die(actuator.drive()))
        for work in (self._watch_file(), self._follow_orders(), self._send()):
            self.add_future(_or_die(work))

    async def _watch_file(self) -> None:
        """The kill switch that needs no broker."""
        halt_file = Path(self._settings.halt_file)
        while not self.should_stop:
            for actuator in self._actuators.values():
                actuator.core.halt(f"file {halt_file}", halt_file.exists())
            await self.sleep(LOOK_EVERY_S)

    async def _follow_orders(self) -> None:
        while not self.should_stop:
            try:
                await follow_control(self._settings.kafka.broker, self._obey)
            except KafkaError as error:
                log.warning("control: %s; trying again", error)
                await self.sleep(LOOK_EVERY_S)

    def _obey(self, order: Control) -> None:
        self._halts.take(order)
        for pop, actuator in self._actuators.items():
            actuator.core.halt("control", self._halts.is_halted(pop))

    async def _send(self) -> None:
        """What was done goes out soon; a record that the broker refuses is logged, for routes do not wait for it."""
        while not self.should_stop:
            for send in self._publisher.take():
                try:
                    await (await send())
                except KafkaError as error:
                    log.error("actuations: a record was not taken: %s", error)
            await self.sleep(SEND_EVERY_S)


async def _or_die(work: Coroutine[Any, Any, None]) -> None:
    """A half-working actuator must not go on: whatever runs it starts it again."""
    try:
        await work
    except Exception as error:
        log.exception("actuator")
        die(f"{type(error).__name__}: {error}")


def build(deployment: Deployment, cell: str, clock: Clock) -> tuple[faust.App, Actuating, StateServer]:
    """The actuator app of a cell with what runs beside it, not started."""
    settings, pops = deployment.settings, deployment.cell(cell)
    app = create_app(f"autopilot-actuator-{cell}", settings)
    fence = StallFence(settings.kafka.session_timeout_s / 2, clock)
    publisher, rib_table = Publisher(app, clock), open_rib(app)
    actuators: dict[str, PopActuator] = {}

    def changed(pop: str, router: str, prefixes: Sequence[str]) -> None:
        actuators[pop].core.rib_changed(prefixes)

    state = routes.RoutesState(pops, rib_table, Publisher(app, clock), changed)
    reader = routes.attach(app, state, rib_table, fence, list(pops))

    def publish(actuation: Actuation) -> None:
        metrics.ACTUATIONS.labels(actuation.pop, actuation.router, actuation.action).inc()
        publisher.put(topics.ACTUATIONS.name, actuation.pop, actuation)

    for name, pop in pops.items():
        journal = Journal(name, clock, publish, dry=settings.mode != "auto")
        ready = partial(reader.read_to_end, topics.BMP.for_pop(name))
        actuators[name] = PopActuator(pop, settings, state.ribs[name], journal, clock, ready)

    def decide(decision: Decision) -> None:
        actuators[decision.pop].decide(decision)

    decisions.attach(app, list(pops), decide, publisher)
    views: Views = {
        "overrides": lambda: {name: actuator.overrides() for name, actuator in actuators.items()},
        "rib": lambda: {name: routes.summary(feed) for name, feed in state.feeds.items()},
    }
    fence.start()
    return app, Actuating(settings, actuators, publisher), StateServer(views, settings.actuator_port)


def main(deployment: Deployment, cell: str) -> None:
    """Run the actuator of one cell until a signal."""
    run(*build(deployment, cell, SystemClock()))
