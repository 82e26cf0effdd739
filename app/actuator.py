"""Composition root of `autopilot actuator`: decisions and routes from Kafka, overrides to the gobgpds.

Faust carries only the two readers. The PoPs' actuators and the control topic's reader start before it, and go on
while it recovers, stands still or waits for a broker.
"""

from collections.abc import Mapping
from pathlib import Path

import mode

from agents import actuate as decisions
from agents import routes
from app.actuation.pop_actuator import PopActuator
from app.clock import Clock, SystemClock
from app.config.settings import Deployment
from app.contract.schemas import Decision
from app.gauges import watch_actuator, watch_routes
from app.kafka.orders import ControlReader, Orders
from app.stream.app import ExactApp
from app.stream.fence import StallFence
from app.stream.offsets import end_offset
from app.stream.outbox import Outbox
from app.stream.publish import Publisher
from app.stream.watchdog import Watchdog
from app.stream.worker import Background, create_app, run
from app.web.state import StateServer, Views
from tables.rib import open_rib


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
    routes_read = routes.RoutesRead(lambda: state.feeds, lambda topic: end_offset(app, topic))

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
