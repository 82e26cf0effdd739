"""Gauges computed at each scrape: ages from the clock, lags from the consumer, counts from what is in memory."""

from collections.abc import Callable, Mapping
from functools import partial
from math import nan
from typing import Any, get_args

from prometheus_client import Gauge

from agents.counters import CountersState
from agents.flows import FlowsState
from agents.routes import RoutesState
from app import metrics
from app.actuation.pop_actuator import PopActuator
from app.actuation.speaker_state import SpeakerState
from app.clock import BrokerClock, Clock
from app.config.inventory import Pop
from app.contract import topics
from app.contract.schemas import Feed
from app.kafka.orders import ControlReader
from app.stream.app import ExactApp
from app.stream.offsets import committed, end_offset


def watch_inputs(app: ExactApp, clock: Clock, pop: Pop, flows: FlowsState[Any], counters: CountersState) -> None:
    """Set up the gauges for flows and counters of one PoP: how far they were read, and how old they are."""
    name = pop.name
    _lag(app, topics.FLOWS.for_pop(name), lambda: flows.accounts[name].progress.applied + 1)
    _lag(app, topics.COUNTERS.for_pop(name), lambda: counters.progress[name].applied + 1)
    # A stream that has had no purge marker yet has the watermark 0.
    _age(metrics.WATERMARK_AGE.labels(name), clock.now_s, lambda: flows.accounts[name].progress.watermark_s or None)
    _age(metrics.WINDOW_AGE.labels(name), clock.now_s, lambda: flows.accounts[name].progress.closed_up_to_s)
    for link in pop.links:
        _watch_link(clock, pop, link, counters)


def forget_links(before: Mapping[str, Pop], after: Mapping[str, Pop]) -> None:
    """Take links that left the inventory out of the metrics, whose last values would stand for ever."""
    known, left = ({link for pop in pops.values() for link in pop.links} for pops in (before, after))
    for link in known - left:
        for gauge in (metrics.COUNTER_AGE, *metrics.OF_LINKS):
            gauge.remove(link)
        for state in get_args(Feed):
            metrics.LINK_FEED.remove(link, state)


def _watch_link(clock: Clock, pop: Pop, link: str, counters: CountersState) -> None:
    _age(metrics.COUNTER_AGE.labels(link), clock.now_s, lambda: counters.last_reading_s(pop, link))


def watch_routes(
    app: ExactApp, clock: Clock, pop: Pop, routes: RoutesState, is_doubtful: Callable[[str], bool]
) -> None:
    """Set up the gauges for BMP of one PoP: its lag; prefixes, peers, last record and doubt of each router."""
    _lag(app, topics.BMP.for_pop(pop.name), lambda: routes.feeds[pop.name].sessions.applied + 1)
    metrics.BMP_MISSING.labels(pop.name).set_function(lambda: routes.feeds[pop.name].sessions.missing)
    metrics.BMP_STEPS_BACK.labels(pop.name).set_function(lambda: routes.feeds[pop.name].sessions.steps_back)
    for router in pop.routers:
        _watch_router(clock, pop.name, router, routes)
        metrics.BMP_DOUBTFUL.labels(pop.name, router).set_function(partial(is_doubtful, router))


def _watch_router(clock: Clock, pop: str, router: str, routes: RoutesState) -> None:
    rib = routes.ribs[pop]
    metrics.BMP_PREFIXES.labels(pop, router).set_function(lambda: len(rib.prefixes(router)))
    metrics.BMP_PEERS.labels(pop, router).set_function(lambda: len(rib.peers(router)))
    _age(metrics.BMP_AGE.labels(pop, router), clock.now_s, lambda: routes.feeds[pop].sessions.heard.get(router))


def watch_actuator(app: ExactApp, clock: Clock, pop: str, actuator: PopActuator) -> None:
    """Set up the gauges for decisions, kill switches, reapers and speakers of one PoP."""
    topic = topics.DECISIONS.for_pop(pop)
    _lag(app, topic, lambda: committed(app, topic))
    _age(metrics.DECISION_AGE.labels(pop), clock.now_s, lambda: actuator.decided_s)
    metrics.HALTED.labels(pop).set_function(lambda: bool(actuator.reconciler.halts))
    for router, speaker in actuator.reconciler.speakers.items():
        _watch_speaker(pop, router, speaker)


def watch_clock(clock: BrokerClock) -> None:
    """Set up the gauge for the clock of this host; NaN until the broker has said its time."""

    def ahead_s() -> float:
        ahead = clock.host_ahead_s
        return nan if ahead is None else ahead

    metrics.CLOCK_OFFSET.set_function(ahead_s)


def watch_orders(reader: ControlReader) -> None:
    """Set up the gauge for orders that could not be read."""
    metrics.UNREADABLE.labels(topics.CONTROL.name).set_function(lambda: reader.unreadable)


def _watch_speaker(pop: str, router: str, speaker: SpeakerState) -> None:
    metrics.SPEAKER_UP.labels(pop, router).set_function(lambda: speaker.reachable)
    metrics.SPEAKER_OWNED.labels(pop, router).set_function(lambda: speaker.owned)
    metrics.REAPER_UP.labels(pop, router).set_function(lambda: speaker.guarded is True)
    metrics.ROUTES_HELD.labels(pop, router).set_function(lambda: len(speaker.held))
    metrics.ROUTES_DRIFT.labels(pop, router).set_function(lambda: len(speaker.differing))


def _lag(app: ExactApp, topic: str, next_offset: Callable[[], int]) -> None:
    """Set up a topic's lag in records; NaN until a fetch has shown where the topic ends."""

    def lag() -> float:
        end = end_offset(app, topic)
        return nan if end is None else max(0, end - next_offset())

    metrics.LAG.labels(topic).set_function(lag)


def _age(gauge: Gauge, now_s: Callable[[], float], at_s: Callable[[], float | None]) -> None:
    """Set up an age in seconds since `at_s()`; NaN while that is None."""

    def age() -> float:
        at = at_s()
        return nan if at is None else now_s() - at

    gauge.set_function(age)
