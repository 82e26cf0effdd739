"""One tick: line rate, tail drop, black holes, and the counters that follow."""

import numpy as np
import pytest

from app.lab.pop.exits import NO_LINK, Exits
from app.lab.pop.packets import FRAME_BYTES_MEAN
from app.lab.pop.scenario import Scenario
from app.lab.pop.traffic import NOISE, Carried, PortCounters, Workload, carry
from tests.app.lab.pop.world import PNI_1, natural_exits, world

CAPACITY = np.array([100.0, 100.0])


def exits(link: list[list[int]], blackholed: list[list[bool]] | None = None) -> Exits:
    where = np.array(link)
    return Exits(
        where, np.array(blackholed) if blackholed else np.zeros(where.shape, bool), np.zeros(where.shape, bool)
    )


def test_a_full_link_drops_the_same_share_of_everything() -> None:
    tick = carry(np.array([[90.0, 60.0], [50.0, 10.0]]), exits([[0, 1], [0, 0]]), CAPACITY)
    assert tick.offered.tolist() == [150, 60]
    assert tick.carried.tolist() == [100, 60]
    assert tick.dropped.tolist() == [50, 0]
    assert tick.by_pair == pytest.approx(np.array([[60.0, 60.0], [100 / 3, 20 / 3]]))


def test_what_a_dead_neighbour_is_sent_is_on_no_port() -> None:
    tick = carry(np.array([[40.0, 30.0]]), exits([[0, 0]], [[True, False]]), CAPACITY)
    assert tick.blackholed.tolist() == [40, 0]
    assert tick.offered.tolist() == tick.carried.tolist() == [30, 0]
    assert tick.by_pair.tolist() == [[0, 30]]


def test_what_has_no_exit_is_on_no_link() -> None:
    tick = carry(np.array([[40.0, 30.0]]), exits([[NO_LINK, 1]]), CAPACITY)
    assert tick.offered.tolist() == [0, 30]
    assert tick.by_pair.tolist() == [[0, 30]]


def test_demand_follows_the_scenario_and_is_the_same_again() -> None:
    sim = world()
    demand = Workload(sim, Scenario(), tick_s=0.5)
    top = carry(demand.wanted_bytes(200), natural_exits(), sim.capacity_bps * 0.5 / 8)
    assert top.offered[PNI_1] * 8 / 0.5 == pytest.approx(125e9, rel=0.02)
    assert top.carried[PNI_1] * 8 / 0.5 == pytest.approx(100e9)
    assert np.array_equal(Workload(sim, Scenario(), 0.5).wanted_bytes(200), demand.wanted_bytes(200))
    calm = demand.wanted_bytes(0) * 8 / 0.5 / sim.demand_bps
    assert calm.std() == pytest.approx(NOISE, rel=0.2)
    assert calm.mean() == pytest.approx(1, abs=0.01)


def test_a_day_swings_the_demand_of_every_prefix() -> None:
    sim = world()
    calm, busy = (Workload(sim, Scenario(peak_share=0, daily_share=share, day_s=400), 0.5) for share in (0.0, 0.3))
    assert busy.wanted_bytes(0) == pytest.approx(calm.wanted_bytes(0))
    assert busy.wanted_bytes(200) == pytest.approx(1.3 * calm.wanted_bytes(200))


def test_counters_add_up_octets_and_discarded_packets() -> None:
    sim = world()
    counters = PortCounters(sim.pop.link)
    tick = Carried(
        offered=np.full(6, 1.5e9),
        carried=np.full(6, 1e9),
        dropped=np.full(6, 0.5e9),
        blackholed=np.zeros(6),
        by_pair=np.zeros((2, 500)),
    )
    for _ in range(3):
        counters.add(tick)
    reading = counters.poll()[0]
    assert reading.out_octets == 3_000_000_000
    assert reading.out_packets == int(3e9 / FRAME_BYTES_MEAN)
    assert reading.out_discards == int(1.5e9 / FRAME_BYTES_MEAN)
    assert reading.ifindex == 101
    assert reading.speed_bps == 100_000_000_000
    assert [each.sequence for each in counters.poll()] == [2] * 6
