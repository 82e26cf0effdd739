"""The PoP without I/O: overrides relieve, deaths make black holes, nothing gets lost unbooked."""

import numpy as np
import pytest

from app.lab.pop.engine import Engine
from app.lab.pop.model import InstalledPath, RouterTable, Tables
from app.lab.pop.report import snapshot, summarize
from app.lab.pop.scenario import Scenario
from app.lab.pop.sender import Account
from tests.app.lab.pop.world import (
    IXP_1,
    IXP_1_PEER,
    LOOPBACK_1,
    LOOPBACK_2,
    MARKER,
    PNI_1,
    natural,
    path,
    surged_bps,
    world,
)

SURGE = Scenario(calm_s=0, ramp_s=1, surge_until_s=20)
IXP_HOP = "198.51.100.2"


def largest_of_the_cone(count: int) -> list[str]:
    sim = world()
    sizes = np.where((sim.home_link == PNI_1).all(axis=0), sim.demand_bps.sum(axis=0), 0)
    return [sim.prefixes.prefixes[index] for index in np.argsort(-sizes)[:count]]


def overridden(prefixes: list[str], dead: tuple[str, ...] = (), **next_hop: str) -> Tables:
    """Plain BGP with overrides of these prefixes; `next_hop` by router."""
    hops = {"r1": IXP_HOP, "r2": LOOPBACK_1} | next_hop

    def table(router: str) -> RouterTable:
        ours: dict[str, InstalledPath] = {prefix: path(hops[router], MARKER) for prefix in prefixes}
        return {**natural(0, *dead)[router], **ours}

    return {router: table(router) for router in hops}


def booked_bytes(engine: Engine) -> float:
    summary = summarize(engine, SURGE, Account(10), 0.0)
    carried = sum(float(loads.carried.sum()) for loads in engine.log)
    lost = summary.looped_bytes + summary.dead_end_bytes + summary.transient_bytes
    return carried + summary.dropped_bytes + summary.blackholed_bytes + lost


def test_overrides_move_natural_load_to_their_link() -> None:
    engine = Engine(world(), SURGE, tick_s=1.0)
    moved = largest_of_the_cone(40)
    for tables in (natural(0), natural(0), overridden(moved), overridden(moved)):
        engine.step(tables)
    where = [world().prefixes.prefixes.index(prefix) for prefix in moved]
    moved_bytes = surged_bps(world())[:, where].sum() / 8
    before, after = engine.log[1], engine.log[3]
    assert before.natural[PNI_1] == before.offered[PNI_1]
    assert after.natural[PNI_1] - after.offered[PNI_1] == pytest.approx(moved_bytes, rel=0.02)
    assert after.carried[IXP_1] - after.natural[IXP_1] == pytest.approx(moved_bytes, rel=0.02)
    summary = summarize(engine, SURGE, Account(10), 0.0)
    assert (summary.first_override_s, summary.overrides_max, summary.overrides_left) == (2.0, 40, 40)
    assert summary.dropped_bytes_before_first_override == round(engine.log[0].dropped.sum() + before.dropped.sum())
    assert summary.dropped_bytes < summary.dropped_bytes_without_overrides
    assert summary.peak_natural == pytest.approx(1.25, rel=0.02)
    assert summary.peak_carried == 1.0
    last = snapshot(engine)
    assert last is not None
    assert last.links[PNI_1].natural == pytest.approx(1.25, rel=0.02)
    assert (last.at_s, last.overrides, last.links[IXP_1].link) == (4.0, 40, "rhv1000/r1/et-0/0/2")


def test_an_override_that_outlives_its_neighbour_is_a_black_hole() -> None:
    engine = Engine(world(), SURGE, tick_s=1.0)
    moved = largest_of_the_cone(10)
    engine.step(overridden(moved))
    engine.neighbour_died(IXP_1_PEER)
    engine.step(overridden(moved, dead=(IXP_1_PEER,)))
    engine.step(natural(0, IXP_1_PEER))
    where = [world().prefixes.prefixes.index(prefix) for prefix in moved]
    rate_bps = surged_bps(world())[:, where].sum()
    summary = summarize(engine, SURGE, Account(10), 0.0)
    assert summary.blackholed_bps_max == pytest.approx(rate_bps, rel=0.02)
    assert summary.blackholed_bytes == pytest.approx(rate_bps / 8, rel=0.02)
    assert engine.log[1].natural[IXP_1] == 0
    assert engine.log[1].carried[IXP_1] == 0
    assert booked_bytes(engine) == pytest.approx(engine.wanted_bytes)


def test_a_lasting_loop_is_counted_by_router_and_prefix() -> None:
    engine = Engine(world(), SURGE, tick_s=1.0)
    looping = overridden(largest_of_the_cone(3), r1=LOOPBACK_2)
    engine.step(looping)
    assert engine.loops.count == 0
    engine.step(looping)
    assert engine.loops.count == 6
    engine.step(natural(0))
    assert summarize(engine, SURGE, Account(10), 0.0).looped_bytes > 0
    assert booked_bytes(engine) == pytest.approx(engine.wanted_bytes)


def test_no_route_at_all_is_a_dead_end() -> None:
    engine = Engine(world(), SURGE, tick_s=1.0)
    empty: Tables = {"r1": {}, "r2": {}}
    engine.step(empty)
    engine.step(empty)
    assert summarize(engine, SURGE, Account(10), 0.0).dead_ends == world().demand_bps.size
    assert booked_bytes(engine) == pytest.approx(engine.wanted_bytes)


def test_before_the_first_tick_there_is_no_snapshot() -> None:
    assert snapshot(Engine(world(), SURGE, tick_s=1.0)) is None
