"""Composition root of `autopilot telemetry`: one Faust app a cell, three agents, four tables, a read-only server."""

import logging

import mode

from agents import counters, flows, routes
from agents.decide import PopDecider
from app import native
from app.clock import Clock, SystemClock
from app.config.inventory import Pop
from app.config.settings import Deployment
from app.feeds.placing import TableOf
from app.gauges import watch_inputs, watch_routes
from app.stream.app import ExactApp
from app.stream.exact import recovered
from app.stream.fence import StallFence
from app.stream.final_rows import Settling
from app.stream.offsets import committed
from app.stream.publish import Publisher
from app.stream.watchdog import Watchdog
from app.stream.worker import create_app, run
from app.te.routing.natural import NaturalRouting
from app.web.state import StateServer, Views
from tables.congestion import open_congestion
from tables.interfaces import open_interfaces
from tables.link_windows import open_link_windows
from tables.rib import open_rib

log = logging.getLogger(__name__)


def build(deployment: Deployment, cell: str, clock: Clock) -> tuple[ExactApp, list[mode.Service]]:
    """The whole telemetry app of a cell with its watchdog and state server, not started."""
    settings, pops = deployment.settings, deployment.cell(cell)
    app = create_app(f"autopilot-telemetry-{cell}", settings)
    fence = StallFence(settings.kafka.session_timeout_s / 2, clock)
    names = list(pops)

    rib_table, interfaces = open_rib(app), open_interfaces(app)
    routes_state = routes.RoutesState(pops, rib_table, Publisher(app, clock), lambda *_: None)
    counters_state = counters.CountersState(pops, interfaces, Publisher(app, clock))
    natural = {name: NaturalRouting(pop, routes_state.ribs[name]) for name, pop in pops.items()}
    publisher = Publisher(app, clock)
    tables = open_link_windows(app), open_congestion(app)

    deciders: dict[str, PopDecider] = {}

    def new_decider(pop: Pop) -> PopDecider:
        rib = routes_state.ribs[pop.name]
        decider = PopDecider(pop, settings, rib, natural[pop.name], counters_state.rates, publisher, clock)
        deciders[pop.name] = decider
        return decider

    def new_table_of(pop: Pop) -> TableOf:
        return natural[pop.name].table

    settling = Settling(2 * settings.kafka.session_timeout_s, clock.monotonic_s)
    flows_state = flows.FlowsState(
        pops,
        settings.windows,
        *tables,
        publisher,
        new_decider,
        new_table_of,
        lambda topic: committed(app, topic),
        settling,
    )
    routes.attach(app, routes_state, rib_table, fence, names)
    counters.attach(app, counters_state, interfaces, fence, names)
    flows.attach(app, flows_state, tables, fence, names)
    for pop in pops.values():
        watch_inputs(app, clock, pop, flows_state, counters_state)
        watch_routes(app, clock, pop, routes_state)
    views: Views = {
        "progress": lambda: {name: account.progress for name, account in flows_state.accounts.items()},
        "links": lambda: {name: decider.last.loads if decider.last else () for name, decider in deciders.items()},
        "congestion": lambda: {name: decider.cycle for name, decider in deciders.items()},
        "interfaces": lambda: counters_state.progress,
        "rib": lambda: {name: routes.summary(state) for name, state in routes_state.feeds.items()},
        "ready": lambda: {name: recovered(app) for name in pops},
    }

    def explain(name: str, of: str) -> object:
        if name not in deciders:
            raise LookupError(f"no PoP {name} here; known: {', '.join(deciders)}")
        return deciders[name].explain(of)

    fence.start()
    watchdog = Watchdog(app, fence, clock)
    probes = {"/healthz": watchdog.alive, "/readyz": watchdog.ready}
    return app, [watchdog, StateServer(views, settings.state_port, {"explain": explain}, probes)]


def main(deployment: Deployment, cell: str) -> None:
    """Run the worker of one cell until a signal."""
    if native.library is None:
        log.warning("app/native is not compiled: flows are read more slowly (install with a C compiler)")
    app, services = build(deployment, cell, SystemClock())
    run(app, *services)
