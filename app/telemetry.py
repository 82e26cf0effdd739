"""Composition root of `autopilot telemetry`: one Faust app per cell, three agents, four tables, a read-only server.

The simulation runs `assemble`, too: what differs between the two worlds comes in as TelemetryPorts.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import mode

from agents import counters, flows, routes
from agents.decide import CycleInputs, PopDecider
from agents.sources import sources
from app import native
from app.clock import BrokerClock, Clock, SystemClock
from app.config.inventory import Pop
from app.config.settings import Deployment, Settings
from app.contract.schemas import Sources
from app.gauges import watch_clock, watch_inputs, watch_routes
from app.kafka.broker_time import ClockWatch
from app.stream.app import ExactApp
from app.stream.exact import Reading, recovered
from app.stream.fence import StallFence
from app.stream.final_rows import FinalRows
from app.stream.offsets import committed, end_offset
from app.stream.publish import Publisher
from app.stream.reading import attach_reader
from app.stream.watchdog import Watchdog
from app.stream.worker import Background, create_app, run
from app.te.routing.natural import NaturalRouting
from app.te.traffic.windows import ClosedWindow
from app.web.state_server import StateServer, Views
from tables.congestion import open_congestion
from tables.interfaces import open_interfaces
from tables.link_windows import open_link_windows
from tables.rib import Pace, open_rib
from tables.store import OpenTable, open_table

log = logging.getLogger(__name__)


class TelemetryPorts(NamedTuple):
    """What telemetry needs from outside: its app, its clock, tables by name, and a way to read topics exactly."""

    app: ExactApp
    clock: Clock
    open_table: OpenTable
    read: Callable[[Reading], None]
    pace: Pace = Pace()


class TelemetryCell(NamedTuple):
    """The states of the agents of one cell."""

    routes: routes.RoutesState
    counters: counters.CountersState
    flows: flows.FlowsState[PopDecider]


def assemble(pops: Mapping[str, Pop], settings: Settings, ports: TelemetryPorts) -> TelemetryCell:
    """Make all agents of a cell and let them read."""
    app, clock = ports.app, ports.clock
    rib_table, interfaces = open_rib(ports.open_table), open_interfaces(ports.open_table)
    link_windows, congestion = open_link_windows(ports.open_table), open_congestion(ports.open_table)
    routes_state = routes.RoutesState(
        pops, rib_table, Publisher(app, clock), lambda *_: None, partial(end_offset, app), ports.pace
    )
    counters_state = counters.CountersState(pops, interfaces, Publisher(app, clock))
    natural = {name: NaturalRouting(pop, routes_state.ribs[name]) for name, pop in pops.items()}
    publisher = Publisher(app, clock)

    def new_decider(pop: Pop) -> PopDecider:
        inputs = CycleInputs(counters_state.rates, sources_of, routes_state.doubtful)
        return PopDecider(pop, settings, natural[pop.name], inputs, publisher, clock)

    def sources_of(pop: Pop, window: ClosedWindow) -> Sources:
        return sources(pop, window, flows_state, counters_state, routes_state)

    final_rows = FinalRows(2 * settings.kafka.session_timeout_s, clock.monotonic_s)
    tables = flows.FlowTables(link_windows, congestion, final_rows, partial(committed, app))
    flows_state = flows.FlowsState(
        pops, settings.windows, tables, publisher, new_decider, lambda pop: natural[pop.name].table
    )
    ports.read(routes.reading(routes_state, rib_table))
    ports.read(counters.reading(counters_state, interfaces))
    ports.read(flows.reading(flows_state))
    return TelemetryCell(routes_state, counters_state, flows_state)


def build(deployment: Deployment, cell: str, system: Clock) -> tuple[ExactApp, list[mode.Service]]:
    """The whole telemetry app of a cell with its watchdog and state server, not started."""
    settings, pops, clock = deployment.settings, deployment.cell(cell), BrokerClock(system)
    app = create_app(f"autopilot-telemetry-{cell}", settings)
    fence = StallFence(settings.kafka.session_timeout_s / 2, clock)
    ports = TelemetryPorts(app, clock, partial(open_table, app), partial(attach_reader, app, fence=fence))
    telemetry = assemble(pops, settings, ports)
    for pop in pops.values():
        watch_inputs(app, clock, pop, telemetry.flows, telemetry.counters)
        watch_routes(app, clock, pop, telemetry.routes, partial(is_doubtful, telemetry.routes, pop, clock))
    watch_clock(clock)
    fence.start()
    watchdog = Watchdog(app, fence, clock)
    probes = {"/healthz": watchdog.alive, "/readyz": watchdog.ready}
    answers = {"explain": partial(explain, telemetry)}
    server = StateServer(views(app, telemetry), settings.state_port, "state_port", answers, probes)
    return app, [watchdog, Background(ClockWatch(settings.kafka, clock).run), server]


def is_doubtful(state: routes.RoutesState, pop: Pop, clock: Clock, router: str) -> bool:
    """Whether no move may lead to a router now, because BMP has not shown its whole table for too long."""
    return router in state.doubtful(pop, clock.now_s())


def views(app: ExactApp, telemetry: TelemetryCell) -> Views:
    """The pages of the state server, each of which shows one value per PoP."""
    return {
        "progress": lambda: {name: account.progress for name, account in telemetry.flows.accounts.items()},
        "links": lambda: {
            name: decider.last.loads if decider.last else () for name, decider in telemetry.flows.deciders.items()
        },
        "congestion": lambda: {name: decider.cycle for name, decider in telemetry.flows.deciders.items()},
        "interfaces": lambda: telemetry.counters.progress,
        "rib": lambda: {name: routes.summary(feed) for name, feed in telemetry.routes.feeds.items()},
        "ready": lambda: dict.fromkeys(telemetry.flows.deciders, recovered(app)),
    }


def explain(telemetry: TelemetryCell, name: str, of: str) -> object:
    """Explain a link or a prefix in the PoP `name`; LookupError if there is no story of it."""
    deciders = telemetry.flows.deciders
    if name not in deciders:
        raise LookupError(f"no PoP {name} here; known: {', '.join(deciders)}")
    return deciders[name].explain(of)


def main(deployment: Deployment, cell: str) -> None:
    """Run the worker of one cell until a signal."""
    if native.library is None:
        log.warning("app/native is not compiled, so flows are read more slowly; reinstall with a C compiler")
    app, services = build(deployment, cell, SystemClock())
    run(app, *services)
