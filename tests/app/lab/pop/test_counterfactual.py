"""Plain BGP alone, beside a run by the same tables: the same drops to the byte."""

import numpy as np
import pytest

from app.lab.pop.counterfactual import NaturalNetwork, dropped_bytes
from app.lab.pop.engine import Engine
from app.lab.pop.scenario import Scenario
from tests.app.lab.pop.world import IXP_1, IXP_1_PEER, PNI_1, TRANSIT_1, natural, world

SURGE = Scenario(calm_s=2, ramp_s=1, surge_until_s=8)
DEATH_TICK = 5


def test_it_equals_a_run_whose_routers_hold_no_override() -> None:
    engine = Engine(world(), SURGE, tick_s=1.0)
    for tick in range(10):
        if tick == DEATH_TICK:
            engine.neighbour_died(IXP_1_PEER)
        engine.step(natural(0, IXP_1_PEER) if tick >= DEATH_TICK else natural(0))
    without = dropped_bytes(world(), SURGE, engine.deaths, 10, 1.0)
    assert engine.deaths == {IXP_1_PEER: DEATH_TICK}
    assert np.array_equal(without, np.array([loads.dropped for loads in engine.log]))
    assert without[:2].sum() == 0
    assert without[4:8, PNI_1] == pytest.approx(np.full(4, 25e9 / 8), rel=0.1)


def test_a_death_moves_the_natural_load_of_its_link() -> None:
    network, wanted = NaturalNetwork(world()), world().demand_bps
    before = network.offered_bytes(wanted)
    network.died(IXP_1_PEER)
    after = network.offered_bytes(wanted)
    assert after[IXP_1] == 0
    assert after[TRANSIT_1] > before[TRANSIT_1]
    assert after.sum() == pytest.approx(before.sum())
