"""Stories in virtual time: steady states that must not move, a surge that must, and its end."""

from collections.abc import Mapping

import pytest

from app.config.inventory import Budgets, Pop
from app.te.decision.cycle import CycleState
from app.te.routing.rib import Rib
from tests.app.te.loop import Loop, PairKey, Truth, changes, exits
from tests.app.te.world import WINDOW_S, path, rib_of
from tests.pops import G, capacity_bps, link, pop

PREFIXES = 120


def demo(budgets: Budgets | None = None) -> tuple[Pop, Rib]:
    """Two routers; everything prefers r1's private peering, most can also leave by an exchange, all by transits."""
    made = pop(
        link("r1/pni", 1),
        link("r1/ixp", 2, cost=0.1, kind="ixp"),
        link("r1/transit", 3, cost=1.0, kind="transit"),
        link("r2/small", 4, capacity_g=10, kind="ixp"),
        link("r2/transit", 5, cost=1.2, kind="transit"),
        budgets=budgets,
    )
    paths = {}
    for i in range(PREFIXES):
        announced = [path(1), path(3, 7, 8, 9), path(5, 7, 8, 9)]
        announced += [path(2, 7)] if i % 3 else []
        announced += [path(4)] if i % 10 == 0 else []
        paths[f"{40 + i}.0.0.0/16"] = announced
    return made, rib_of(made, paths)


def load(of_pni: Mapping[int, float] | float, small: float = 0.5) -> Truth:
    """Demand whose natural load on the private peering is this share of its 100 Gb/s, a constant or from a second."""
    weights = [1 / (10 + i) for i in range(PREFIXES)]
    levels = {0: of_pni} if isinstance(of_pni, float) else of_pni

    def truth(at_s: int) -> dict[PairKey, float]:
        share = levels[max(since for since in levels if since <= at_s)]
        demand: dict[PairKey, float] = {}
        on_small = [i for i in range(PREFIXES) if i % 10 == 0]
        total = sum(weight * (1 if i in on_small else 2) for i, weight in enumerate(weights))
        for i, weight in enumerate(weights):
            demand["r1", f"{40 + i}.0.0.0/16"] = 100 * share * weight / total
            if i in on_small:
                demand["r2", f"{40 + i}.0.0.0/16"] = 10 * small * weight / sum(weights[i] for i in on_small)
            else:
                demand["r2", f"{40 + i}.0.0.0/16"] = 100 * share * weight / total
        return demand

    return truth


@pytest.mark.parametrize("share", [0.70, 0.89])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_steady_load_below_the_mark_moves_nothing(share: float, seed: int) -> None:
    loop = Loop(*demo(), load(share), seed)
    for step in loop.run(120):
        assert not step.result.overrides
        assert not step.result.congestion


@pytest.mark.parametrize(
    ("hot", "truth"),
    [
        pytest.param("p/r1/pni", load(0.945), id="just above the mark"),
        pytest.param("p/r1/pni", load(1.25), id="far above"),
        pytest.param("p/r2/small", load(0.5, small=0.945), id="a 10G link: a prefix has a handful of samples"),
        pytest.param("p/r2/small", load(0.5, small=1.4), id="a 10G link far above"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_steady_load_above_the_mark_settles(hot: str, truth: Truth, seed: int) -> None:
    loop = Loop(*demo(), truth, seed)
    loop.run(5)
    later = loop.run(100)
    assert later[0].result.overrides
    assert changes(later) == 0
    share = max(step.offered_g[hot] for step in later) * G / capacity_bps(loop.pop.links[hot])
    assert 0.7 < share < 0.935


def test_a_surge_from_onset_to_the_last_release() -> None:
    loop = Loop(*demo(), load({0: 0.70, 60: 1.25, 400: 0.70}))
    calm, surge, after = loop.run(6), loop.run(34), loop.run(20)
    assert all(not step.result.overrides for step in calm)

    assert [event.state for event in surge[0].result.congestion] == ["opened"], "in the first window of the surge"
    assert changes(surge) == 0, "moved once, just enough, and held"
    assert all(80 <= step.offered_g["p/r1/pni"] <= 90 for step in surge[2:])
    assert [sum(step.dropped_g.values()) > 0 for step in surge[:4]] == [True, True, False, False]
    assert all(sum(step.dropped_g.values()) == 0 for step in surge[2:])
    assert all(step.offered_g["p/r2/small"] <= 8 + 0.5 for step in surge), "filled to 80 %, give or take the samples"

    assert [event.state for event in after[0].result.congestion] == ["closed"]
    assert all(not step.result.congestion and sum(step.dropped_g.values()) == 0 for step in after[1:])
    given_back = [len(step.result.released) for step in after]
    assert sum(given_back) == len(surge[0].result.overrides)
    assert not any(given_back[4:]), "all home within four cycles"
    assert {one.reason for step in after for one in step.result.released} == {"natural-load-fits"}
    assert loop.state == CycleState()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_prefixes_that_surge_are_those_that_go(seed: int) -> None:
    """Three grow by 40 Gb/s: the shares of a minute ago, when they were small, would move twice what is needed."""
    calm = load(0.7)

    def truth(at_s: int) -> Mapping[PairKey, float]:
        more = {("r1", f"{40 + i}.0.0.0/16"): 40 / 3 for i in (5, 6, 7)} if at_s >= 150 else {}
        return {pair: gbps + more.get(pair, 0.0) for pair, gbps in calm(at_s).items()}

    loop = Loop(*demo(), truth, seed)
    loop.run(15)
    [first, *_, last] = loop.run(10)
    assert first.dropped_g["p/r1/pni"] > 0
    moved_g = sum(one.bps for one in last.result.overrides) / G
    assert 110 - 85 - 5 <= moved_g <= 110 - 85 + 13.3, "down to 85, and at most one of them too much"


def test_demand_that_hides_behind_a_full_link_is_found_step_by_step() -> None:
    """Senders back off, so the link shows 103 % where 140 % is wanted; each relief lets more of it out."""
    loop = Loop(*demo(), load(1.4))
    loop.elastic = True
    steps = loop.run(40)
    assert 2 <= sum(step.dropped_g["p/r1/pni"] > 0 for step in steps) <= 8
    assert all(sum(step.dropped_g.values()) == 0 for step in steps[8:])
    assert changes(steps[12:]) == 0


def test_nothing_is_given_back_before_the_minimum_hold() -> None:
    loop = Loop(*demo(), load({0: 1.25, 100: 0.70}))
    steps = loop.run(50)
    first_release = next(step for step in steps if step.result.released)
    assert first_release.at_s + WINDOW_S == 310, "made at 10 s, held for 300"
    assert not exits(steps[-1].result)


def test_the_pace_of_giving_back() -> None:
    """Demand falls slowly, so that what was moved is still as large as at its peak when the link closes."""
    loop = Loop(*demo(), load({0: 1.25, 320: 0.80}))
    steps = loop.run(60)
    peak_g = max(sum(one.bps for one in step.result.overrides) for step in steps) / G
    before = {one.prefix: one.bps / G for one in steps[0].result.overrides}
    for step in steps:
        given_g = [before[one.prefix] for one in step.result.released]
        assert sum(given_g) <= 0.25 * peak_g * 1.05 or len(given_g) == 1
        before = {one.prefix: one.bps / G for one in step.result.overrides}
    assert all(step.offered_g["p/r1/pni"] <= 80.5 for step in steps[40:])


def test_a_ramp_is_followed_before_anything_drops() -> None:
    loop = Loop(*demo(), load({0: 0.7} | {20 * i: 0.7 + 0.05 * i for i in range(1, 12)}))
    steps = loop.run(40)
    assert all(sum(step.dropped_g.values()) == 0 for step in steps)
    assert changes(steps) < 40


def test_a_lost_source_path_is_replaced_at_once_where_there_is_room() -> None:
    loop = Loop(*demo(), load(1.25))
    before = exits(loop.run(10)[-1].result)
    lost = {prefix for prefix, link_id in before.items() if link_id == "p/r1/ixp"}
    assert lost
    loop.rib.peer_down("r1", "10.0.0.2")
    [now] = loop.run(1)
    assert exits(now.result).keys() <= before.keys(), "the same prefixes go elsewhere, no other has to move"
    assert {one.prefix for one in now.result.released} == before.keys() - exits(now.result).keys()
    assert {one.reason for one in now.result.released} == {"source-path-lost"}
    assert len(lost & exits(now.result).keys()) > len(lost) / 2
    assert "p/r1/ixp" not in exits(now.result).values()
    later = loop.run(20)
    assert changes(later) == 0
    assert all(sum(step.dropped_g.values()) == 0 for step in later[2:])


def test_a_plan_that_nobody_carries_out_does_not_grow() -> None:
    """Dry-run: the link stays full, the plan stays the plan."""
    loop = Loop(*demo(), load(1.25))
    loop.actuated = False
    steps = loop.run(60)
    assert steps[0].result.overrides
    assert changes(steps) == 0


def test_a_wrong_guess_of_the_tie_breaker_does_not_flap() -> None:
    """Two equal paths: the routers took the older one at the exchange, we predict the private peering."""
    made, _ = demo()
    paths = {f"{40 + i}.0.0.0/16": [path(1), path(2), path(3, 7), path(5, 7)] for i in range(PREFIXES)}
    loop = Loop(made, rib_of(made, paths), load({0: 0.7, 60: 1.1, 500: 0.7}))
    loop.really = "p/r1/ixp"
    surge = loop.run(50)
    assert surge[-1].result.overrides
    assert changes(surge[8:]) == 0
    assert surge[-1].offered_g["p/r1/ixp"] < 93.5
    after = loop.run(30)
    assert not after[-1].result.overrides
    assert changes([surge[-1], *after]) == len(surge[-1].result.overrides)
