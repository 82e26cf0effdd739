"""Composition root of `autopilot actuator`: decisions and routes from Kafka, overrides to the gobgpds.

Faust runs only the two readers. The PoPs' actuators and the reader of the control topic start before it, and go on
while it recovers, stalls, waits for a broker or is cut off from it. The simulation runs `assemble`, too: what differs
between the two worlds comes in as ActuatorPorts.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import mode
import msgspec

from agents import actuate, routes
from app.actuation import pop_actuator
from app.actuation.describe import describe_overrides, describe_speakers
from app.actuation.halt_file import is_halted
from app.actuation.ownership import new_owner
from app.actuation.pop_actuator import PopActuator
from app.actuation.timing import Timing
from app.bgp.gobgp import GobgpSpeaker
from app.bgp.speaker import BgpSpeaker
from app.bgp.tls import SECURE_IT, is_exposed, tls_to
from app.clock import BrokerClock, Clock, SystemClock
from app.config.gobgp_settings import Gobgp
from app.config.inventory import Pop, Router
from app.config.settings import Deployment, Settings
from app.config.trusted_keys import ANYBODY, trust_of
from app.contract import topics
from app.contract.schemas import Actuation, ActuatorStatus, Decision
from app.contract.signing import Keyring
from app.errors import SpeakerError
from app.feeds.rib_feed import RibFeed
from app.gauges import watch_actuator, watch_clock, watch_orders, watch_routes
from app.kafka.broker_time import ClockWatch
from app.kafka.direct import DirectPublisher
from app.kafka.orders import ControlReader, Orders
from app.kafka.untrusted import RefusalLog
from app.reload import Read, Reload
from app.stream.app import ExactApp, between_events
from app.stream.cut_off import CutOff
from app.stream.exact import Reading
from app.stream.fence import StallFence
from app.stream.offsets import end_offset
from app.stream.outbox import Outbox
from app.stream.publish import Publisher
from app.stream.reading import attach_reader
from app.stream.watchdog import Watchdog
from app.stream.worker import Background, create_app, run
from app.web.state_server import StateServer, Views
from tables.rib import Pace, open_rib
from tables.store import OpenTable, open_table

log = logging.getLogger(__name__)


class FollowedOrders(Protocol):
    """A reader of the control topic; until it has `caught_up`, an order to halt may be missing."""

    caught_up: bool

    def obey(self, trust: Keyring) -> None:
        """Judge what comes from now on by other keys."""


class ActuatorPorts(NamedTuple):
    """What the actuator needs from outside: what telemetry needs, and decisions, orders, routers and the journal.

    `open_speaker`, `halted`, `report` and `owner` go to each PopActuator (see PopPorts). `refused` is called with the
    topic, the record and its Kafka time of each decision whose signature is not good.
    """

    app: ExactApp
    clock: Clock
    open_table: OpenTable
    read: Callable[[Reading], None]
    follow_decisions: Callable[[actuate.Following], None]
    follow_orders: Callable[[Callable[[Orders], None]], FollowedOrders]
    open_speaker: Callable[[Pop, Router], BgpSpeaker]
    halted: Callable[[], bool]
    publish: Callable[[Actuation], None]
    report: Callable[[ActuatorStatus], None]
    refused: actuate.OnRefused
    owner: str
    timing: Timing = Timing()
    pace: Pace = Pace()


class ActuatorCell(NamedTuple):
    """What runs for one cell. The PoPs' actuators are not open yet; `ready(pop)` returns whether one may act.

    `reconfigure` makes them go on with other settings, and other inventories of the same PoPs and routers; call it
    between two events.
    """

    routes: routes.RoutesState
    pops: Mapping[str, PopActuator]
    ready: Callable[[str], bool]
    reconfigure: Callable[[Mapping[str, Pop], Settings], None]


def assemble(pops: Mapping[str, Pop], settings: Settings, ports: ActuatorPorts) -> ActuatorCell:
    """Make both agents of a cell, let them read, and make an actuator for each PoP."""
    app, clock = ports.app, ports.clock
    actuators: dict[str, PopActuator] = {}
    rib_table = open_rib(ports.open_table)

    def on_orders(orders: Orders) -> None:
        for name, actuator in actuators.items():
            actuator.halt("control", orders.halted(name))

    def on_decision(decision: Decision) -> None:
        actuators[decision.pop].follow(decision)

    def on_change(pop: str, _: str, prefixes: Sequence[str]) -> None:
        actuators[pop].rib_changed(prefixes)

    state = routes.RoutesState(pops, rib_table, Publisher(app), on_change, partial(end_offset, app), ports.pace)
    orders = ports.follow_orders(on_orders)
    routes_read = routes.RoutesRead(lambda: state.feeds, partial(end_offset, app))

    def feed_of(pop: str) -> RibFeed:
        return state.feeds[pop]

    def ready(pop: str) -> bool:
        return orders.caught_up and routes_read(pop)

    timing = msgspec.structs.replace(ports.timing, lease_s=settings.pacing.lease_s)
    for name, pop in pops.items():
        pop_ports = pop_actuator.PopPorts(
            clock,
            partial(ports.open_speaker, pop),
            ports.publish,
            partial(ready, name),
            ports.halted,
            ports.report,
            ports.owner,
            routes.BmpHearing(partial(feed_of, name), partial(routes_read, name), clock),
        )
        actuators[name] = PopActuator(pop, state.ribs[name], settings.mode, timing, pop_ports)
    ports.read(routes.reading(state, rib_table))
    following = actuate.Following(list(pops), trust_of(settings.trust), on_decision, ports.refused, Publisher(app))
    ports.follow_decisions(following)

    def reconfigure(new_pops: Mapping[str, Pop], new_settings: Settings) -> None:
        state.reconfigure(new_pops)
        following.trust = trust_of(new_settings.trust)
        orders.obey(following.trust)
        for name, pop in new_pops.items():
            actuators[name].reconfigure(pop, new_settings.mode)

    return ActuatorCell(state, actuators, ready, reconfigure)


def build(deployment: Deployment, cell: str, read: Read, system: Clock) -> tuple[ExactApp, list[mode.Service]]:
    """The whole actuator of a cell with what runs beside it, not started. `read` is for a reload."""
    settings, pops, clock = deployment.settings, deployment.cell(cell), BrokerClock(system)
    app = create_app(topics.app_id("actuator", cell), settings)
    fence = StallFence(settings.kafka.session_timeout_s / 2, clock)
    outbox = Outbox(DirectPublisher(settings.kafka))
    cut_off = CutOff(settings.kafka, outbox.drained)
    readers: list[ControlReader] = []
    refusals = RefusalLog()
    if not settings.trust.demands:
        log.warning("no signatures are asked for: %s", ANYBODY)

    def follow_orders(on_change: Callable[[Orders], None]) -> FollowedOrders:
        readers.append(ControlReader(settings.kafka, trust_of(settings.trust), on_change, refusals.note))
        return readers[-1]

    async def apply(_: Deployment, new: Deployment) -> None:
        async with between_events(app.readers):
            assembled.reconfigure(new.cell(cell), new.settings)

    def report(status: ActuatorStatus) -> None:
        of = refusals.of((topics.DECISIONS.for_pop(status.pop), topics.CONTROL.name))
        outbox.report(msgspec.structs.replace(status, worker=reload.state(), refusals=of))

    reload = Reload("actuator", cell, deployment, read, apply, clock)
    ports = ActuatorPorts(
        app,
        clock,
        partial(open_table, app),
        partial(attach_reader, app, fence=fence, end=cut_off),
        partial(actuate.attach, app, cut_off),
        follow_orders,
        partial(open_gobgpd, clock, settings.gobgp),
        partial(is_halted, Path(settings.halt_file)),
        outbox.put,
        report,
        refusals.note,
        new_owner(),
    )
    assembled = assemble(pops, settings, ports)
    for name, pop in pops.items():
        watch_routes(app, clock, pop, assembled.routes, partial(is_doubtful, assembled.pops[name]))
        watch_actuator(app, clock, name, assembled.pops[name])
    for reader in readers:
        watch_orders(reader)
    watch_clock(clock)
    fence.start()
    watchdog = Watchdog(app, fence, clock)
    jobs = (
        cut_off.run,
        ClockWatch(settings.kafka, clock).run,
        reload.run,
        *(reader.run for reader in readers),
        *(actuator.run for actuator in assembled.pops.values()),
    )
    services: list[mode.Service] = [watchdog, Background(outbox.run, *jobs)]
    if settings.actuator_port:
        probes = {"/healthz": watchdog.alive, "/readyz": watchdog.ready}
        services.append(
            StateServer(
                {**views(assembled.pops), "reload": reload.preview},
                settings.http,
                settings.actuator_port,
                "actuator_port",
                probes=probes,
            )
        )
    return app, services


def is_doubtful(actuator: PopActuator, router: str) -> bool:
    """Whether nothing new is announced on a router, because BMP has not shown its whole table for too long."""
    return actuator.heard(router).doubtful


def open_gobgpd(clock: Clock, gobgp: Gobgp, pop: Pop, router: Router) -> BgpSpeaker:
    """A connection to the gobgpd beside a router; SpeakerError if anybody on the way could write there, too."""
    target = router.injector.grpc
    if is_exposed(target, gobgp):
        raise SpeakerError(f"{target}: nothing is announced over TCP without TLS: {SECURE_IT}")
    tls = tls_to(target, gobgp)
    return GobgpSpeaker(target, pop.marker_community, router=router.ibgp_address, clock=clock, tls=tls)


def views(actuators: Mapping[str, PopActuator]) -> Views:
    """The pages of the state server: every override with its state, and the state of each speaker, per PoP."""
    return {
        "overrides": lambda: {name: describe_overrides(actuator.reconciler) for name, actuator in actuators.items()},
        "speakers": lambda: {name: describe_speakers(actuator.reconciler) for name, actuator in actuators.items()},
    }


def main(deployment: Deployment, cell: str, read: Read) -> None:
    """Run the actuator of one cell until a signal; at SIGHUP it takes over what `read` returns."""
    app, services = build(deployment, cell, read, SystemClock())
    run(app, *services, wait_for_broker=True)  # routes left by an earlier run expire even without Kafka
