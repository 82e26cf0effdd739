"""A move that the routers took over and that the traffic does not follow: told, taken back, not repeated blindly."""

from collections.abc import Mapping

import pytest

from app.config.thresholds import Pacing, Thresholds
from app.contract.schemas import Exit, Override, SourcePath
from app.te.cycle_state import StandingOverride
from app.te.evidence.effect import SETTLING_WINDOWS, ineffective
from app.te.traffic.observed import observe
from tests.app.te.decision.test_cycle import POP, A, B
from tests.app.te.decision.test_loop import demo, load
from tests.app.te.loop import Loop, Step, exits
from tests.app.te.world import WINDOW_S, natural_of, window


def loop_at(share: Mapping[int, float] | float, **pacing: float) -> Loop:
    made = Loop(*demo(), load(share))
    made.shows_routes = True
    made.pacing = Pacing(**pacing)
    return made


def released(steps: list[Step]) -> list[tuple[int, str, str]]:
    """(window, prefix, reason)."""
    return [(at, one.prefix, one.reason) for at, step in enumerate(steps) for one in step.result.released]


def test_what_works_is_confirmed_and_stays() -> None:
    loop = loop_at(1.1)
    steps = loop.run(30)
    assert exits(steps[0].result)
    assert not released(steps)
    made_s = steps[0].at_s + WINDOW_S
    first = [loop.state.held[prefix] for prefix in exits(steps[0].result)]
    assert {one.since_s for one in first} == {made_s}
    assert {one.confirmed_s for one in first} == {made_s + WINDOW_S}, "in the cycle after, BMP shows it"
    assert not loop.state.quarantine


def test_traffic_that_does_not_follow_is_told_and_given_back_and_others_go() -> None:
    loop = loop_at(0.96)
    [first] = loop.run(1)
    deaf = min(exits(first.result), key=lambda prefix: int(prefix.split(".")[0]))
    loop.mute = {deaf}
    steps = loop.run(20)
    [(at, prefix, reason)] = released(steps)
    assert (prefix, reason) == (deaf, "ineffective")
    assert at == SETTLING_WINDOWS + 1, "confirmed, settled for two windows, and one whole window that shows it"
    assert all(deaf not in exits(step.result) for step in steps[at:]), "not again"
    assert exits(steps[-1].result), "others relieve the link"
    assert steps[-1].offered_g["p/r1/pni"] < 93.5


def test_it_is_tried_again_after_a_quarantine() -> None:
    loop = loop_at({0: 1.3, 150: 1.7}, quarantine_s=100.0)
    [first] = loop.run(1)
    loop.mute = set(exits(first.result))
    steps = loop.run(4)
    useless = {prefix for _, prefix, reason in released(steps) if reason == "ineffective"}
    assert useless
    assert useless <= loop.mute
    refused = {one.prefix for one in steps[-1].result.refused if one.reason == "ineffective"}
    assert refused, "as long as they are wanted it is told that they stay"
    assert refused <= useless
    loop.mute = set()
    waiting, later = loop.run(9), loop.run(3)
    assert not any(useless & exits(step.result).keys() for step in waiting)
    assert useless & exits(later[-1].result).keys()
    assert not loop.state.quarantine


@pytest.mark.parametrize("shows", [True, False])
def test_nothing_is_said_of_a_plan_that_the_routers_do_not_show(shows: bool) -> None:
    """Dry-run, or an actuator that is late: not confirmed, so not judged."""
    loop = loop_at(1.1)
    loop.actuated, loop.shows_routes = False, shows
    assert not released(loop.run(30))
    assert all(one.confirmed_s is None for one in loop.state.held.values())


@pytest.mark.parametrize(
    ("elsewhere", "samples", "useless"),
    [
        pytest.param(("r1", 6.0), 15, True, id="most of it leaves elsewhere"),
        pytest.param(("r1", 4.0), 15, False, id="most of it follows"),
        pytest.param(("r1", 6.0), 14, False, id="28 samples say nothing"),
        pytest.param(("r3", 6.0), 30, False, id="a router that is not steered"),
    ],
)
def test_where_its_bytes_are_seen(elsewhere: tuple[str, float], samples: int, useless: bool) -> None:
    prefix, (ingress, gbps) = "203.0.113.0/24", elsewhere
    override = Override(prefix, Exit("r1", B, "10.0.0.2", "10.0.0.2"), ("r1", "r2"), (), SourcePath((), "igp"), 0.0, "")
    history = [
        {
            A: window(POP, A, 1020, 10, {(ingress, prefix): gbps}, samples),
            B: window(POP, B, 1020, 10, {("r1", prefix): 5.0}, samples),
        }
    ]
    for confirmed_s, judged in ((1000, useless), (1001, False), (None, False)):
        held = {prefix: StandingOverride(override, 990, confirmed_s=confirmed_s)}
        assert ineffective(held, observe(history, natural_of(POP, {})), Thresholds()) == ({prefix} if judged else set())


def test_a_route_that_is_gone_for_a_while_is_confirmed_anew() -> None:
    loop = loop_at(1.1)
    loop.run(10)
    loop.shows_routes = False
    for router in loop.pop.router:
        loop.rib.peer_down(router.name, router.injector.address)
    loop.run(1)
    assert all(one.confirmed_s is None for one in loop.state.held.values())
    loop.shows_routes = True
    loop.run(2)
    assert {one.confirmed_s for one in loop.state.held.values()} == {loop.now_s}
