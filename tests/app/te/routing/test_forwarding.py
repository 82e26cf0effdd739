"""Traces over random rings and meshes, and the losses that a partly applied override would cause."""

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.inventory import Pop
from app.contract.schemas import Exit
from app.te.routing.forwarding import DEAD_END, LOOP, Igp, fault, trace
from app.te.routing.natural import NaturalRouting
from tests.app.te.world import natural_of, path
from tests.pops import link, pop, router

PREFIX = "203.0.113.0/24"
Edges = Mapping[tuple[int, int], int]  # cost by pair of routers, lower number first


def network(count: int, edges: Edges) -> Pop:
    """Routers r1..r<count> with one link each; IGP costs are the shortest distances."""
    cost = {(a, b): 0 if a == b else 10**6 for a in range(count) for b in range(count)}
    for (a, b), weight in edges.items():
        cost[a, b] = cost[b, a] = min(weight, cost[a, b])
    for via in range(count):
        for a, b in cost:
            cost[a, b] = min(cost[a, b], cost[a, via] + cost[via, b])
    routers = tuple(
        router(
            a + 1,
            core={f"r{b + 1}": b for b in range(count) if (min(a, b), max(a, b)) in edges and a != b},
            igp_cost={f"r{b + 1}": cost[a, b] for b in range(count) if a != b},
        )
        for a in range(count)
    )
    made = pop(*(link(f"r{a + 1}/x", a + 1) for a in range(count)))
    return msgspec.structs.replace(made, router=routers)


@st.composite
def networks(draw: st.DrawFn) -> Pop:
    """A ring of 2 to 6 routers with random chords."""
    count = draw(st.integers(2, 6))
    weights = st.integers(1, 20)
    ring = {(min(a, b), max(a, b)): draw(weights) for a in range(count) for b in [(a + 1) % count]}
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    chords = {pair: draw(weights) for pair in draw(st.lists(st.sampled_from(pairs)))}
    return network(count, chords | ring)


def leaves(of_pop: Pop, name: str) -> Exit:
    return Exit(name, f"p/{name}/x", f"10.0.0.{name[1:]}", f"10.0.0.{name[1:]}")


@given(networks(), st.data())
def test_one_exit_for_all_is_reached_by_all(of_pop: Pop, data: st.DataObject) -> None:
    egress = leaves(of_pop, data.draw(st.sampled_from(list(of_pop.routers))))
    exits = dict.fromkeys(of_pop.routers, egress)
    assert {trace(name, exits, Igp(of_pop)) for name in of_pop.routers} == {egress.link}


@given(networks(), st.data())
def test_trace_is_what_a_packet_with_a_ttl_meets(of_pop: Pop, data: st.DataObject) -> None:
    names = list(of_pop.routers)
    choices = st.one_of(st.none(), st.sampled_from(names))
    wanted = {name: data.draw(choices) for name in names}
    exits = {name: leaves(of_pop, chosen) for name, chosen in wanted.items() if chosen is not None}
    igp = Igp(of_pop)
    for start in names:
        here, outcome = start, LOOP
        for _ in range(64):  # the TTL
            chosen = wanted[here]
            if chosen is None or chosen == here:
                outcome = DEAD_END if chosen is None else f"p/{here}/x"
                break
            here = igp.next_router(here, chosen) or "nowhere"
        assert trace(start, exits, igp) == outcome


@given(networks(), st.data())
def test_a_move_without_fault_delivers_in_every_step(of_pop: Pop, data: st.DataObject) -> None:
    names = list(of_pop.routers)
    holders = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    lengths = {name: data.draw(st.integers(0, 2)) for name in holders}
    natural = natural_of(of_pop, {PREFIX: [path(int(name[1:]), *range(lengths[name])) for name in holders]})
    egress = leaves(of_pop, holders[0])
    inject_on = [egress.router, *data.draw(st.permutations([name for name in names if name != egress.router]))]
    found = fault(natural, Igp(of_pop), PREFIX, egress, inject_on)
    states = [set(inject_on[:step]) for step in range(1, len(inject_on) + 1)]
    lost = {name for state in states for name in names if lose(of_pop, natural, name, egress, state)}
    assert bool(found) == bool(lost)


def lose(of_pop: Pop, natural: NaturalRouting, start: str, egress: Exit, injected: set[str]) -> bool:
    """Whether a packet from `start` comes to nothing while only `injected` routers have the override."""
    exits = natural.exits(PREFIX, hidden=injected) | dict.fromkeys(injected, egress)
    return trace(start, exits, Igp(of_pop)) in (LOOP, DEAD_END)


def test_the_loop_seen_on_real_daemons() -> None:
    """An override on r1 alone towards r2, while r2 still prefers r1's private peering."""
    exits = {"r1": Exit("r2", "p/r2/x", "", ""), "r2": Exit("r1", "p/r1/x", "", "")}
    assert trace("r1", exits, Igp(network(2, {(0, 1): 1}))) == LOOP


def test_exit_first_makes_no_loop_between_two_routers() -> None:
    of_pop = network(2, {(0, 1): 1})
    natural = natural_of(of_pop, {PREFIX: [path(1), path(2, 7)]})
    assert fault(natural, Igp(of_pop), PREFIX, leaves(of_pop, "r2"), ["r2", "r1"]) is None


def test_a_router_that_lives_on_what_the_exit_router_withdraws() -> None:
    of_pop = network(2, {(0, 1): 1})
    of_pop = msgspec.structs.replace(of_pop, link=(*of_pop.link, link("r1/y", 9)))
    natural = natural_of(of_pop, {PREFIX: [path(1), path(9, 7)]})
    egress = Exit("r1", "p/r1/y", "10.0.0.9", "10.0.0.9")
    assert fault(natural, Igp(of_pop), PREFIX, egress, ["r1", "r2"]) == DEAD_END


def test_outwards_from_the_exit_makes_no_loop_on_a_line() -> None:
    """r4 - r1 - r2 - r3, the exit at r3. Were r1 told before r2, r2 would still send its packets back to r4."""
    of_pop = network(4, {(0, 3): 1, (0, 1): 1, (1, 2): 1})
    natural = natural_of(of_pop, {PREFIX: [path(4), path(3, 7)]})
    igp, egress = Igp(of_pop), leaves(of_pop, "r3")
    assert fault(natural, igp, PREFIX, egress, ["r3", "r1", "r2", "r4"]) == LOOP
    assert igp.order("r3", ["r1", "r2", "r3", "r4"]) == ("r3", "r2", "r1", "r4")
    assert fault(natural, igp, PREFIX, egress, igp.order("r3", of_pop.routers)) is None


@given(networks(), st.data())
def test_outwards_from_the_exit_never_makes_a_loop(of_pop: Pop, data: st.DataObject) -> None:
    """Whatever the others do meanwhile; dead ends remain possible where a router has no path of its own."""
    igp, names = Igp(of_pop), list(of_pop.routers)
    natural = natural_of(of_pop, {PREFIX: [path(number, 7) for number in range(1, len(names) + 1)]})
    egress = leaves(of_pop, data.draw(st.sampled_from(names)))
    assert fault(natural, igp, PREFIX, egress, igp.order(egress.router, names)) is None


@pytest.mark.parametrize(
    ("core", "igp_cost", "expected"),
    [({}, {}, "r2"), ({"r2": 2}, {}, "r2"), ({"r3": 2}, {}, None), ({"r3": 2}, {"r3": 5}, "r3")],
    ids=["no topology", "neighbour without costs", "no way known", "by the neighbour's cost"],
)
def test_igp_with_little_inventory(core: dict[str, int], igp_cost: dict[str, int], expected: str | None) -> None:
    three = network(3, {(0, 1): 1, (1, 2): 1})
    first = msgspec.structs.replace(three.router[0], core=core, igp_cost=igp_cost)
    changed = msgspec.structs.replace(three, router=(first, *three.router[1:]))
    assert Igp(changed).next_router("r1", "r2") == expected
