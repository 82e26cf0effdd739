"""Composition root of `autopilot actuator`: decisions and routes from Kafka, overrides to the gobgpds.

Faust carries only the two readers. The PoPs' actuators and the control topic's reader start before it, and go on
while it recovers, stands still or waits for a broker.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import mode
from aiokafka.errors import KafkaError
from faust.exceptions import FaustError

from agents import decisions, routes
from app.bgp.pop_actuator import PopActuator
from app.clock import Clock, SystemClock
from app.config.settings import Deployment
from app.contract import topics
from app.contract.schemas import Actuation, Decision
from app.feeds.ribfeed import RibFeed
from app.gauges import watch_actuator, watch_routes
from app.kafka.orders import ControlReader, Orders
from app.stream.app import ExactApp
from app.stream.fence import StallFence, die
from app.stream.offsets import end_offset
from app.stream.publish import Publisher
from app.stream.watchdog import Watchdog
from app.stream.worker import create_app, run
from app.web.state import StateServer, Views
from tables.rib import open_rib

SEND_WITHIN_S = 10.0
WAITING_MAX = 10_000
BATCH = 500
RETRY_S = 1.0

log = logging.getLogger(__name__)


class Outbox:
    """Records on their way to Kafka, in order. A broker that is away delays them, and never who puts them.

    At most WAITING_MAX wait behind the batch on its way; what comes then takes the place of the oldest.
    """

    def __init__(self, publisher: Publisher, broker_answers: Callable[[], bool]) -> None:
        self._publisher = publisher
        self._broker_answers = broker_answers
        self._waiting: deque[Callable[[], Awaitable[Any]]] = deque(maxlen=WAITING_MAX)
        self._some = asyncio.Event()
        self._lost = 0

    def put(self, record: Actuation) -> None:
        """Queue one record; the oldest of WAITING_MAX makes room for it."""
        self._publisher.put(topics.ACTUATIONS.name, record.pop, record)
        if len(self._waiting) == WAITING_MAX:
            self._lost += 1
        self._waiting.extend(self._publisher.take())
        self._some.set()

    async def run(self) -> None:
        """Until cancelled. What was not confirmed is sent again: ids tell repeats apart."""
        while not self._broker_answers():  # Faust's producer, once it failed to start, never does
            await asyncio.sleep(RETRY_S)
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                while not await self._sent(batch):
                    await asyncio.sleep(RETRY_S)

    async def _sent(self, batch: Sequence[Callable[[], Awaitable[Any]]]) -> bool:
        try:
            async with asyncio.timeout(SEND_WITHIN_S):
                await asyncio.gather(*[await send() for send in batch])
        except (KafkaError, FaustError, TimeoutError) as error:
            waiting = len(batch) + len(self._waiting)
            log.warning(
                "actuations: %d records wait, %d were lost, %s", waiting, self._lost, error or type(error).__name__
            )
            return False
        return True


class RoutesRead:
    """Whether a PoP's BMP topic was read to where it ended when reading began, anew after each rebalance."""

    def __init__(self, feeds: Callable[[], Mapping[str, RibFeed]], end_offset: Callable[[str], int | None]) -> None:
        self._feeds = feeds
        self._end_offset = end_offset
        self._ends: dict[str, tuple[RibFeed, int]] = {}

    def __call__(self, pop: str) -> bool:
        feed = self._feeds()[pop]  # a rebalance or a recovery makes a new one
        known, end = self._ends.get(pop, (None, 0))
        if known is not feed:
            if (found := self._end_offset(topics.BMP.for_pop(pop))) is None:
                return False
            end = found
            self._ends[pop] = feed, end
        return feed.sessions.applied >= end - 1


class Background(mode.Service):
    """Coroutines that start before the Faust app and live as long; the end of one is the end of the process."""

    def __init__(self, *jobs: Callable[[], Coroutine[Any, Any, None]]) -> None:
        super().__init__()
        self._jobs = jobs
        self._running: list[asyncio.Task[None]] = []

    async def on_start(self) -> None:
        self._running = [asyncio.create_task(job()) for job in self._jobs]
        for task in self._running:
            task.add_done_callback(_died)

    async def on_stop(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


def build(deployment: Deployment, cell: str, clock: Clock) -> tuple[ExactApp, list[mode.Service]]:
    """The whole actuator of a cell with what runs beside it, not started."""
    settings, pops = deployment.settings, deployment.cell(cell)
    app = create_app(f"autopilot-actuator-{cell}", settings)
    fence = StallFence(settings.kafka.session_timeout_s / 2, clock)
    outbox = Outbox(Publisher(app, clock), broker_answers=lambda: bool(app.inputs.ids))
    actuators: dict[str, PopActuator] = {}

    def on_control(orders: Orders) -> None:
        for name, actuator in actuators.items():
            actuator.halt("control", orders.halted(name))

    def on_decision(decision: Decision) -> None:
        actuators[decision.pop].decide(decision)

    rib_table = open_rib(app)
    state = routes.RoutesState(
        pops, rib_table, Publisher(app, clock), lambda pop, router, prefixes: actuators[pop].rib_changed(prefixes)
    )
    control = ControlReader(settings.kafka, on_control)
    routes_read = RoutesRead(lambda: state.feeds, lambda topic: end_offset(app, topic))

    def new_actuator(name: str) -> PopActuator:
        return PopActuator(
            pops[name],
            state.ribs[name],
            clock,
            outbox.put,
            ready=lambda: control.caught_up and routes_read(name),
            mode=settings.mode,
            hold_s=settings.pacing.hold_s,
            halt_file=Path(settings.halt_file),
        )

    actuators.update({name: new_actuator(name) for name in pops})
    routes.attach(app, state, rib_table, fence, list(pops))
    decisions.attach(app, list(pops), on_decision, Publisher(app, clock))
    for name, pop in pops.items():
        watch_routes(app, clock, pop, state)
        watch_actuator(app, clock, name, actuators[name])
    fence.start()
    watchdog = Watchdog(app, fence, clock)
    services: list[mode.Service] = [
        watchdog,
        Background(outbox.run, control.run, *(actuator.run for actuator in actuators.values())),
    ]
    if settings.actuator_port:
        probes = {"/healthz": watchdog.alive, "/readyz": watchdog.ready}
        services.append(StateServer(views(actuators), settings.actuator_port, probes=probes))
    return app, services


def views(actuators: Mapping[str, PopActuator]) -> Views:
    """What the state server shows: every override with its state, and how each speaker stands."""
    return {
        "overrides": lambda: {name: actuator.core.overrides() for name, actuator in actuators.items()},
        "speakers": lambda: {name: actuator.core.speakers() for name, actuator in actuators.items()},
    }


def main(deployment: Deployment, cell: str) -> None:
    """Run the actuator of one cell until a signal."""
    app, services = build(deployment, cell, SystemClock())
    run(app, *services, patient=True)  # what an earlier run left in the routers has its end without Kafka, too


def _died(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.error("actuator: a job ended", exc_info=task.exception())
        die("actuator: a job ended, which none may")
