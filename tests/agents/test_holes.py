"""Offsets without a record, in every agent that counts them: the position moves on, a refused batch is one letter."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from faust.types import TP

from app.contract import topics
from app.contract.decoding import Rejected
from app.stream.fetching import Hole
from app.telemetry import TelemetryCell
from tests.fuzz.corpus import NOW_S, POP
from tests.fuzz.worlds import Telemetry


class Agent(NamedTuple):
    """The topic of an agent, and the last position that it counts."""

    topic: str
    applied: Callable[[TelemetryCell], int]


AGENTS = [
    Agent(topics.FLOWS.for_pop(POP), lambda cell: cell.flows.accounts[POP].progress.applied),
    Agent(topics.COUNTERS.for_pop(POP), lambda cell: cell.counters.progress[POP].applied),
    Agent(topics.BMP.for_pop(POP), lambda cell: cell.routes.feeds[POP].sessions.applied),
]
REFUSED = Hole(2, 6, NOW_S, Rejected(b"raw", "too large", records=4))


@pytest.fixture(params=AGENTS, ids=lambda agent: agent.topic)
def agent(request: pytest.FixtureRequest) -> Agent:
    assert isinstance(request.param, Agent)
    return request.param


def test_the_position_moves_on_behind_the_end_of_a_transaction(agent: Agent) -> None:
    """Else an actuator that waits until its topic is read would wait for ever, and the lag never be 0."""
    world = Telemetry()
    state, tp = world.readings[agent.topic].state, TP(agent.topic, 0)
    state.skip(tp, Hole(0, 2, NOW_S))
    assert agent.applied(world.cell) == 1
    assert list(state.publications()) == []


def test_a_refused_batch_is_one_dead_letter_however_often_it_comes(agent: Agent) -> None:
    world = Telemetry()
    state, tp = world.readings[agent.topic].state, TP(agent.topic, 0)
    state.skip(tp, REFUSED)
    assert agent.applied(world.cell) == 5
    assert len(state.publications()) == 1
    state.skip(tp, REFUSED)
    state.skip(tp, Hole(0, 2, NOW_S))
    assert agent.applied(world.cell) == 5, "a replay"
    assert list(state.publications()) == []


def test_the_position_is_kept(agent: Agent) -> None:
    world = Telemetry()
    state, tp = world.readings[agent.topic].state, TP(agent.topic, 0)
    for hole in (Hole(0, 2, NOW_S), REFUSED):  # the first flush of routes writes only its number
        state.skip(tp, hole)
        state.write_rows()
        state.publications()
        state.write_progress()
    state.load()
    assert agent.applied(world.cell) == 5


def test_rows_of_routes_are_complete_up_to_there() -> None:
    """Else flushes would go on for ever, and each start would read again from before the hole."""
    topic = topics.BMP.for_pop(POP)
    world = Telemetry()
    reading = world.readings[topic]
    for hole in (Hole(0, 2, NOW_S), REFUSED):
        reading.state.skip(TP(topic, 0), hole)
        reading.state.write_rows()
        reading.state.write_progress()
    assert reading.checkpoint() == {topic: 5}
