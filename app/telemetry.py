"""Composition root of `autopilot telemetry`: one Faust app per cell, three agents, four tables, a read-only server.

The simulation runs `assemble`, too: what differs between the two worlds comes in as TelemetryPorts.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import mode
import msgspec

from agents import counters, flows, routes
from agents.decide import CycleInputs, PopDecider
from agents.sources import sources
from app import native
from app.clock import BrokerClock, Clock, SystemClock
from app.config.inventory import Pop
from app.config.key_files import signer_of
from app.config.settings import Deployment, Settings
from app.contract.schemas import Sources, WorkerState
from app.contract.signing import Signer
from app.contract.topics import app_id
from app.gauges import forget_links, watch_clock, watch_inputs, watch_routes
from app.kafka.broker_time import ClockWatch
from app.reload import Read, Reload
from app.stream.app import ExactApp, between_events
from app.stream.exact import Reading
from app.stream.fence import StallFence
from app.stream.final_rows import FinalRows
from app.stream.offsets import committed, end_offset
from app.stream.publish import Publisher
from app.stream.reading import attach_reader
from app.stream.recovery import recovered
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
    """What telemetry needs from outside: its app, its clock, tables by name, and a way to read topics exactly.

    Decisions are signed by `signer`.
    """

    app: ExactApp
    clock: Clock
    open_table: OpenTable
    read: Callable[[Reading], None]
    pace: Pace = Pace()
    signer: Signer | None = None
    worker: Callable[[], WorkerState | None] = lambda: None


class TelemetryCell(NamedTuple):
    """The states of the agents of one cell.

    `reconfigure` makes all of them go on with other settings, and other inventories of the same PoPs and routers; call
    it between two events.
    """

    routes: routes.RoutesState
    counters: counters.CountersState
    flows: flows.FlowsState[PopDecider]
    reconfigure: Callable[[Mapping[str, Pop], Settings], None]


def assemble(pops: Mapping[str, Pop], settings: Settings, ports: TelemetryPorts) -> TelemetryCell:
    """Make all agents of a cell and let them read."""
    app, clock = ports.app, ports.clock
    rib_table, interfaces = open_rib(ports.open_table), open_interfaces(ports.open_table)
    link_windows, congestion = open_link_windows(ports.open_table), open_congestion(ports.open_table)
    routes_state = routes.RoutesState(
        pops, rib_table, Publisher(app), lambda *_: None, partial(end_offset, app), ports.pace
    )
    counters_state = counters.CountersState(pops, interfaces, Publisher(app))
    natural = {name: NaturalRouting(pop, routes_state.ribs[name]) for name, pop in pops.items()}
    publishers = flows.Publishers(Publisher(app), {name: Publisher(app, ports.signer) for name in pops})

    def new_decider(pop: Pop) -> PopDecider:
        inputs = CycleInputs(counters_state.rates, sources_of, routes_state.doubtful)
        return PopDecider(pop, settings, natural[pop.name], inputs, publishers.windows[pop.name], clock)

    def sources_of(pop: Pop, window: ClosedWindow) -> Sources:
        record = sources(pop, window, flows_state, counters_state, routes_state)
        return msgspec.structs.replace(record, worker=ports.worker())

    def reconfigure(new_pops: Mapping[str, Pop], new_settings: Settings) -> None:
        nonlocal settings
        settings = new_settings
        routes_state.reconfigure(new_pops)
        counters_state.reconfigure(new_pops)
        flows_state.reconfigure(new_pops, settings.windows)
        for name, pop in new_pops.items():
            natural[name] = natural[name].with_pop(pop)
            flows_state.deciders[name].reconfigure(pop, settings, natural[name])

    final_rows = FinalRows(2 * settings.kafka.session_timeout_s + settings.kafka.answer_s, clock.monotonic_s)
    tables = flows.FlowTables(link_windows, congestion, final_rows, partial(committed, app))
    flows_state = flows.FlowsState(
        pops, settings.windows, tables, publishers, new_decider, lambda pop: natural[pop.name].table
    )
    ports.read(routes.reading(routes_state, rib_table))
    ports.read(counters.reading(counters_state, interfaces))
    ports.read(flows.reading(flows_state))
    return TelemetryCell(routes_state, counters_state, flows_state, reconfigure)


def build(deployment: Deployment, cell: str, read: Read, system: Clock) -> tuple[ExactApp, list[mode.Service]]:
    """The whole telemetry app of a cell with its watchdog and state server, not started. `read` is for a reload."""
    settings, clock = deployment.settings, BrokerClock(system)
    app = create_app(app_id("telemetry", cell), settings)
    fence = StallFence(settings.kafka.session_timeout_s / 2, clock)

    async def apply(old: Deployment, new: Deployment) -> None:
        async with between_events(app.readers):
            telemetry.reconfigure(new.cell(cell), new.settings)
        forget_links(old.cell(cell), new.cell(cell))
        watch(new.cell(cell))

    def watch(pops: Mapping[str, Pop]) -> None:
        for pop in pops.values():
            watch_inputs(app, clock, pop, telemetry.flows, telemetry.counters)
            watch_routes(app, clock, pop, telemetry.routes, partial(is_doubtful, telemetry.routes, pop, clock))

    reload = Reload("telemetry", cell, deployment, read, apply, clock)
    ports = TelemetryPorts(
        app,
        clock,
        partial(open_table, app),
        partial(attach_reader, app, fence=fence),
        signer=signer_of(settings, "decisions", deployment.cell(cell)),
        worker=reload.state,
    )
    telemetry = assemble(deployment.cell(cell), settings, ports)
    watch(deployment.cell(cell))
    watch_clock(clock)
    fence.start()
    watchdog = Watchdog(app, fence, clock)
    probes = {"/healthz": watchdog.alive, "/readyz": watchdog.ready}
    answers = {"explain": partial(explain, telemetry)}
    pages = {**views(app, telemetry), "reload": reload.preview}
    server = StateServer(pages, settings.http, settings.state_port, "state_port", answers, probes)
    return app, [watchdog, Background(ClockWatch(settings.kafka, clock).run, reload.run), server]


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


def main(deployment: Deployment, cell: str, read: Read) -> None:
    """Run the worker of one cell until a signal; at SIGHUP it takes over what `read` returns."""
    if native.library is None:
        log.warning("app/native is not compiled, so flows are read more slowly; reinstall with a C compiler")
    app, services = build(deployment, cell, read, SystemClock())
    run(app, *services)
