"""The generated PoP: its calm loads, and whether there is room for the surge whoever dies."""

import numpy as np
import pytest

from app.config.thresholds import Thresholds
from app.lab.pop.exits import Ints, per_link
from app.lab.pop.natural import natural_tables
from app.lab.pop.pop import SimPop, generate
from tests.app.lab.pop.world import (
    IXP_1,
    IXP_1_PEER,
    PNI_1,
    TRANSIT_1_PEER,
    TRANSIT_2_PEER,
    inventory,
    natural_exits,
    surged_bps,
    world,
)

SEEDS = range(3)
THRESHOLDS = Thresholds()


@pytest.mark.parametrize("seed", SEEDS)
def test_calm_loads_are_the_ones_meant(seed: int) -> None:
    sim = world(seed)
    assert sim.base_share == pytest.approx([0.70, 0.37, 0.25, 0.50, 0.45, 0.25])
    assert sim.demand_bps.shape == (2, 2500)


def test_both_routers_send_the_cone_of_r1_private_peering_there() -> None:
    sim = world()
    cone = [route.prefix for route in sim.announcements["127.0.0.31"]]
    where = [sim.prefixes.prefixes.index(prefix) for prefix in cone]
    assert len(cone) == 1000
    assert (sim.home_link[:, where] == PNI_1).all()


def test_what_the_neighbours_announce() -> None:
    sim = world()
    announced = {peer: {route.prefix: route.as_path for route in routes} for peer, routes in sim.announcements.items()}
    assert len(announced[TRANSIT_1_PEER]) == len(announced[TRANSIT_2_PEER]) == 2500
    shared = announced["127.0.0.31"].keys() & announced[IXP_1_PEER].keys()
    assert 400 < len(shared) < 1000, "part of the cone, not all of it"
    for link in sim.pop.link:
        for session in link.sessions:
            assert {path[0] for path in announced[session.peer].values()} == {session.asn}
            assert {route.next_hop for route in sim.announcements[session.peer]} == set(session.next_hops)
    origins = {(prefix, path[-1]) for routes in announced.values() for prefix, path in routes.items()}
    assert len(origins) == 2500, "one origin for each prefix, whoever announces it"


@pytest.mark.parametrize("seed", SEEDS)
def test_no_prefix_is_too_large_to_be_moved_finely(seed: int) -> None:
    assert surged_bps(world(seed)).sum(axis=0).max() < 3e9


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dead", [(), (IXP_1_PEER,), (TRANSIT_1_PEER,), (TRANSIT_2_PEER,)], ids=str)
def test_the_surge_fits_on_what_is_left(seed: int, dead: tuple[str, ...]) -> None:
    sim = world(seed)
    wanted_bps, exits = surged_bps(sim), natural_exits(seed, *dead).link
    load = per_link(wanted_bps, exits, 6) / sim.capacity_bps
    assert load[PNI_1] == pytest.approx(1.25)
    others = np.delete(load, PNI_1)
    assert others.max() < THRESHOLDS.leave, "a death alone congests no other link"
    moved = greedy(sim, wanted_bps.sum(axis=0), load, exits, dead)
    assert load[PNI_1] - moved.sum() <= THRESHOLDS.shed_to_saturated
    assert (load + moved)[1:].max() <= THRESHOLDS.fill_to


def greedy(sim: SimPop, wanted_bps: np.ndarray, load: np.ndarray, exits: Ints, dead: tuple[str, ...]) -> np.ndarray:
    """Share of capacity moved to each link: largest prefix first, to the emptiest link that has it and room."""
    moved = np.zeros(6)
    alternatives = {
        (route.prefix, index)
        for index, link in enumerate(sim.pop.link)
        for session in link.sessions
        if session.peer not in dead and index != PNI_1
        for route in sim.announcements[session.peer]
    }
    for prefix in sorted(np.flatnonzero((exits == PNI_1).all(axis=0)), key=lambda p: -wanted_bps[p]):
        if load[PNI_1] - moved.sum() <= THRESHOLDS.shed_to_saturated:
            break
        after = load + moved + wanted_bps[prefix] / sim.capacity_bps
        fits = [
            link
            for link in range(6)
            if (sim.prefixes.prefixes[prefix], link) in alternatives and after[link] <= THRESHOLDS.fill_to
        ]
        # Only links as large as the congested one: shares of different capacities must not be added up.
        fits = [link for link in fits if sim.capacity_bps[link] == sim.capacity_bps[PNI_1]]
        if fits:
            moved[min(fits, key=lambda link: after[link])] += wanted_bps[prefix] / sim.capacity_bps[PNI_1]
    return moved


def test_r1_exchange_alone_can_take_what_must_move() -> None:
    sim = world()
    at_exchange = {route.prefix for route in sim.announcements[IXP_1_PEER]}
    movable = [i for i, prefix in enumerate(sim.prefixes.prefixes) if prefix in at_exchange]
    both = np.where(sim.home_link == PNI_1, surged_bps(sim), 0)[:, movable].sum()
    assert both > 40e9
    assert sim.base_share[IXP_1] + 0.40 <= THRESHOLDS.fill_to


def test_a_seed_gives_the_same_pop_again() -> None:
    again = generate(inventory(), 0)
    assert again.announcements == world().announcements
    assert np.array_equal(again.demand_bps, world().demand_bps)
    assert natural_tables(again.pop, again.announcements) == natural_tables(world().pop, world().announcements)
