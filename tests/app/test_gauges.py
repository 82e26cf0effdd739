"""What is computed at the scrape: ages grow while nothing comes, and nothing is invented before something came."""

from collections.abc import Callable
from functools import partial
from math import isnan
from types import SimpleNamespace
from typing import cast

from prometheus_client import REGISTRY

from app.actuation.pop_actuator import PopActuator, PopPorts
from app.actuation.timing import Timing
from app.actuator import open_gobgpd
from app.clock import ManualClock
from app.config.gobgp_settings import Gobgp
from app.gauges import watch_actuator, watch_inputs, watch_routes
from app.stream.app import ExactApp
from app.te.routing.rib import Rib
from tests.agents.test_counters import Rig as Counters
from tests.agents.test_flows import Rig as Flows
from tests.agents.test_routes import UP
from tests.agents.test_routes import Rig as Routes
from tests.app.actuation.routes import route
from tests.app.feeds.test_accounting import T0, flow, purge
from tests.app.web.records import decision
from tests.pops import demo_pop

POP, LINK = "rhv1000", "rhv1000/r1/et-0/0/1"
FLOWS, COUNTERS, BMP, DECISIONS = (
    "sfacctd-flows-rhv1000",
    "sfacctd-counters-rhv1000",
    "bmp-rhv1000",
    "decisions-rhv1000",
)


def value(name: str, **labels: str) -> float:
    found = REGISTRY.get_sample_value(name, labels)
    assert found is not None, f"{name} {labels} is not exposed"
    return found


def app_of(**ends: int) -> ExactApp:
    """An app whose consumer knows where topics end, and has committed up to 7."""
    consumer = SimpleNamespace(_committed_offset={Partition(topic): 7 for topic in ends})
    return cast(ExactApp, SimpleNamespace(consumer=consumer, end=ends.get, inputs=SimpleNamespace(bases={})))


class Partition(str):
    """A topic-partition as far as it is asked here."""

    @property
    def topic(self) -> str:
        return str(self)


def test_flows_and_counters_tell_their_lag_and_their_age() -> None:
    clock, flows, counters = ManualClock(T0 + 15.0), Flows(), Counters()
    watch_inputs(app_of(**{FLOWS: 100}), clock, demo_pop(), flows.state, counters.state)
    assert value("autopilot_consumer_lag_records", topic=FLOWS) == 100
    assert isnan(value("autopilot_consumer_lag_records", topic=COUNTERS)), "nobody knows where it ends"
    assert isnan(value("autopilot_watermark_age_seconds", pop=POP))
    assert isnan(value("autopilot_window_age_seconds", pop=POP))
    assert isnan(value("autopilot_counter_age_seconds", link=LINK))

    flows.feed([(T0 + 2.0, flow(T0 + 1)), *purge(T0 + 14)])
    counters.poll(0, T0 + 9.0)
    assert value("autopilot_consumer_lag_records", topic=FLOWS) == 97
    assert value("autopilot_watermark_age_seconds", pop=POP) == 3
    assert value("autopilot_window_age_seconds", pop=POP) == 5
    assert value("autopilot_counter_age_seconds", link=LINK) == 6
    clock.advance(60)
    assert value("autopilot_window_age_seconds", pop=POP) == 65, "nothing came, and it tells"
    assert value("autopilot_counter_age_seconds", link=LINK) == 66
    flows.state.reset()
    assert isnan(value("autopilot_window_age_seconds", pop=POP)), "what was revoked is not ours to tell"


def test_routes_tell_what_is_held_of_each_router() -> None:
    clock, routes = ManualClock(30.0), Routes()
    watch_routes(app_of(**{BMP: 6}), clock, demo_pop(), routes.state, {"r1": True, "r2": False}.__getitem__)
    assert value("autopilot_bmp_doubtful", pop=POP, router="r1") == 1
    assert value("autopilot_bmp_doubtful", pop=POP, router="r2") == 0
    assert value("autopilot_bmp_prefixes", pop=POP, router="r1") == 0
    assert isnan(value("autopilot_bmp_age_seconds", pop=POP, router="r1"))
    routes.feed(*UP)
    assert value("autopilot_bmp_prefixes", pop=POP, router="r1") == 1
    assert value("autopilot_bmp_peers", pop=POP, router="r2") == 1
    assert value("autopilot_bmp_age_seconds", pop=POP, router="r1") == 30
    assert value("autopilot_consumer_lag_records", topic=BMP) == 0


def test_an_actuator_tells_of_its_speakers_decisions_and_switches() -> None:
    clock, pop = ManualClock(T0 + 20.0), demo_pop()
    ignore: Callable[[object], None] = list[object]().append
    ports = PopPorts(
        clock, partial(open_gobgpd, clock, Gobgp(), pop), ignore, lambda: True, lambda: False, ignore, "me"
    )
    actuator = PopActuator(pop, Rib(), "auto", Timing(), ports)
    watch_actuator(app_of(**{DECISIONS: 9}), clock, POP, actuator)
    assert value("autopilot_consumer_lag_records", topic=DECISIONS) == 2
    assert isnan(value("autopilot_decision_age_seconds", pop=POP))
    assert value("autopilot_speaker_up", pop=POP, router="r1") == 0

    actuator.follow(decision(1, T0))
    actuator.reconciler.listed("r1", {"20.0.0.0/24": route("20.0.0.0/24", "198.51.100.2")})
    actuator.reconciler.tick()
    assert value("autopilot_decision_age_seconds", pop=POP) == 5.5
    assert value("autopilot_speaker_up", pop=POP, router="r1") == 1
    assert value("autopilot_routes_held", pop=POP, router="r1") == 1
    assert value("autopilot_routes_drift", pop=POP, router="r1") == 1, "it leads nowhere, and has to go"
    actuator.halt("control", True)
    assert value("autopilot_halted", pop=POP) == 1
    actuator.halt("control", False)
    assert value("autopilot_halted", pop=POP) == 0
