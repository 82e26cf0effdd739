"""Demand that reacts: it backs off to what is carried, comes back at its pace, and no byte is forgotten."""

import numpy as np
import pytest

from app.lab.pop.counterfactual import dropped_bytes
from app.lab.pop.elastic import RAMP_S_MAX, RAMP_S_MIN, Elasticity
from app.lab.pop.engine import Engine
from app.lab.pop.exits import NO_LINK, Exits
from app.lab.pop.report import summarize
from app.lab.pop.scenario import Scenario
from app.lab.pop.sender import Account
from app.lab.pop.traffic import Workload, carry
from tests.app.lab.pop.test_engine import booked_bytes, largest_of_the_cone, overridden
from tests.app.lab.pop.world import IXP_1_PEER, PNI_1, natural, natural_exits, world

SURGE = Scenario(calm_s=2, ramp_s=1, surge_until_s=20)
ELASTIC = Scenario(calm_s=2, ramp_s=1, surge_until_s=20, elastic_share=1.0)
HALF = Scenario(calm_s=2, ramp_s=1, surge_until_s=20, elastic_share=0.5)


def ran(scenario: Scenario, ticks: int, relieved_from: int = 10**6) -> Engine:
    """Plain BGP, with overrides of the largest prefixes from that tick on."""
    engine, moved = Engine(world(), scenario, tick_s=1.0), overridden(largest_of_the_cone(45))
    for tick in range(ticks):
        engine.step(moved if tick >= relieved_from else natural(0))
    return engine


def everything(link: int = PNI_1) -> Exits:
    shape = world().demand_bps.shape
    return Exits(np.full(shape, link), np.zeros(shape, bool), np.zeros(shape, bool))


def test_a_share_of_0_sends_every_byte_as_before() -> None:
    sim, demand = world(), Workload(world(), SURGE, 1.0)
    engine = ran(SURGE, 12)
    for tick, loads in enumerate(engine.log):
        plain = carry(demand.wanted_bytes(tick), natural_exits(), sim.capacity_bps / 8)
        assert np.array_equal(loads.offered, plain.offered)
        assert np.array_equal(loads.dropped, plain.dropped)
    assert engine.withheld_bytes == 0


def test_elastic_demand_backs_off_to_what_is_carried() -> None:
    sim, elastic = world(), Elasticity(world(), 1.0, 1.0)
    wished = sim.demand_bps * 2
    first = carry(elastic.sent_bytes(wished), everything(), sim.capacity_bps)
    elastic.learn(wished, first.by_pair, everything())
    again = carry(elastic.sent_bytes(wished), everything(), sim.capacity_bps)
    assert first.dropped[PNI_1] > 0
    assert again.offered[PNI_1] == pytest.approx(first.carried[PNI_1])


def test_the_part_that_is_not_elastic_goes_on_being_dropped() -> None:
    tenth = ran(Scenario(calm_s=2, ramp_s=1, surge_until_s=60, elastic_share=0.1), 40)
    assert tenth.log[-1].dropped[PNI_1] * 8 / 100e9 == pytest.approx(0.9 * 1.25 - 1, abs=0.02)


@pytest.mark.parametrize("scenario", [ELASTIC, HALF], ids=["all", "half"])
def test_where_enough_backs_off_little_is_dropped(scenario: Scenario) -> None:
    reacting, plain = (summarize(ran(each, 20), each, Account(10), 0.0) for each in (scenario, SURGE))
    assert 0 < reacting.dropped_bytes < 0.6 * plain.dropped_bytes
    assert reacting.withheld_bytes > 0


@pytest.mark.parametrize("scenario", [ELASTIC, HALF], ids=["all", "half"])
def test_what_is_wanted_is_carried_lost_or_held_back(scenario: Scenario) -> None:
    engine = ran(scenario, 10)
    engine.neighbour_died(IXP_1_PEER)
    for _ in range(3):
        engine.step(overridden(largest_of_the_cone(80), dead=(IXP_1_PEER,)))
    assert engine.withheld_bytes > 0
    assert booked_bytes(engine) + engine.withheld_bytes == pytest.approx(engine.wanted_bytes)


def test_natural_load_stays_the_wish() -> None:
    reacting, plain = ran(ELASTIC, 15), ran(SURGE, 15)
    for one, other in zip(reacting.log, plain.log, strict=True):
        assert np.array_equal(one.natural, other.natural)
    assert reacting.log[12].offered[PNI_1] < reacting.log[12].natural[PNI_1]


def test_after_relief_it_comes_back_within_5_to_20_seconds() -> None:
    sim, tick_s = world(), 0.5
    elastic, wished = Elasticity(sim, 1.0, tick_s), np.ones(sim.demand_bps.shape)
    elastic.learn(wished, np.zeros_like(wished), everything())
    assert elastic.sent_bytes(wished).sum() == 0
    back_s = np.full(wished.shape, np.inf)
    for tick in range(1, 60):
        sent = elastic.sent_bytes(wished)
        elastic.learn(sent, sent, everything())
        back_s = np.where(elastic.sent_bytes(wished) >= 1 - 1e-9, np.minimum(back_s, tick * tick_s), back_s)
    assert back_s.min() == pytest.approx(RAMP_S_MIN, abs=tick_s)
    assert back_s.max() == pytest.approx(RAMP_S_MAX, abs=tick_s)
    assert back_s.std() > 3, "each at its own pace"


def test_a_run_that_is_relieved_sends_its_wish_again() -> None:
    engine = ran(Scenario(calm_s=2, ramp_s=1, surge_until_s=60, elastic_share=0.5), 50, relieved_from=20)
    sent = [sum((loads.offered + loads.blackholed).sum() for loads in engine.log[tick : tick + 5]) for tick in (15, 45)]
    wished = [sum(loads.natural.sum() for loads in engine.log[tick : tick + 5]) for tick in (15, 45)]
    assert sent[0] < 0.97 * wished[0]
    assert sent[1] == pytest.approx(wished[1])


def test_a_contradiction_between_tables_makes_nobody_back_off() -> None:
    elastic, wished = Elasticity(world(), 1.0, 1.0), np.ones(world().demand_bps.shape)
    elastic.learn(wished, np.zeros_like(wished), everything(NO_LINK))
    assert np.array_equal(elastic.sent_bytes(wished), wished)


@pytest.mark.parametrize("scenario", [ELASTIC, HALF, SURGE], ids=["all", "half", "none"])
def test_plain_bgp_beside_a_run_reacts_by_the_same_rule(scenario: Scenario) -> None:
    engine = Engine(world(), scenario, tick_s=1.0)
    for tick in range(12):
        if tick == 5:
            engine.neighbour_died(IXP_1_PEER)
        engine.step(natural(0, IXP_1_PEER) if tick >= 5 else natural(0))
    without = dropped_bytes(world(), scenario, engine.deaths, 12, 1.0)
    assert np.array_equal(without, np.array([loads.dropped for loads in engine.log]))
    for loads in engine.log:
        assert loads.natural_sent == pytest.approx(loads.offered), "nothing was moved"
        assert (loads.natural_sent <= loads.natural * (1 + 1e-9)).all()
