"""Following next hops: every fate, longest match on each hop, and that it always ends."""

from hypothesis import given
from hypothesis import strategies as st

from app.lab.pop.forwarding import DEAD_END, LOOP, PacketFate, trace
from app.lab.pop.model import Tables
from tests.app.lab.pop.world import IXP_1_PEER, LOOPBACK_1, LOOPBACK_2, inventory, natural_exits, path, world

INNER, OUTER = "8.8.8.0/24", "8.8.0.0/20"
PNI, IXP = "rhv1000/r1/et-0/0/1", "rhv1000/r1/et-0/0/2"
PNI_HOP, IXP_HOP, R2_HOP = "198.51.100.1", "198.51.100.2", "198.51.100.4"


def fate(tables: Tables, ingress: str = "r2", dead_hops: frozenset[tuple[str, str]] = frozenset()) -> PacketFate:
    return trace(inventory(), tables, ingress, (INNER, OUTER), dead_hops)


def test_own_link_and_over_the_core() -> None:
    tables = {"r1": {INNER: path(PNI_HOP)}, "r2": {INNER: path(LOOPBACK_1)}}
    assert fate(tables, "r1") == fate(tables, "r2") == PacketFate("link", PNI)


def test_a_dead_next_hop_swallows_what_arrives_at_its_router() -> None:
    tables = {"r1": {INNER: path(PNI_HOP)}, "r2": {INNER: path(LOOPBACK_1)}}
    assert fate(tables, dead_hops=frozenset({("r1", PNI_HOP)})) == PacketFate("black-hole", PNI)
    assert fate(tables, dead_hops=frozenset({("r2", PNI_HOP)})) == PacketFate("link", PNI)


def test_two_routers_that_point_at_each_other_loop() -> None:
    assert fate({"r1": {INNER: path(LOOPBACK_2)}, "r2": {INNER: path(LOOPBACK_1)}}) == LOOP
    assert fate({"r2": {INNER: path(LOOPBACK_2)}}) == LOOP, "its own loopback"


def test_dead_ends() -> None:
    assert fate({}) == DEAD_END
    assert fate({"r1": {}, "r2": {INNER: path(LOOPBACK_1)}}) == DEAD_END, "the other router has no route"
    assert fate({"r2": {INNER: path(PNI_HOP)}}) == DEAD_END, "a next hop on another router's link"


def test_longest_match_is_made_anew_on_every_router() -> None:
    tables = {
        "r1": {OUTER: path(IXP_HOP)},
        "r2": {INNER: path(LOOPBACK_1), OUTER: path(R2_HOP)},
    }
    assert fate(tables, "r2") == PacketFate("link", IXP), "r2 goes by the /24, r1 has only the /20"
    assert fate({"r1": {INNER: path(PNI_HOP), OUTER: path(IXP_HOP)}}, "r1") == PacketFate("link", PNI)


HOPS = st.sampled_from([PNI_HOP, IXP_HOP, R2_HOP, LOOPBACK_1, LOOPBACK_2, "203.0.113.9"])
TABLE = st.dictionaries(st.sampled_from([INNER, OUTER]), st.builds(path, HOPS))


@given(st.fixed_dictionaries({"r1": TABLE, "r2": TABLE}), st.frozensets(st.tuples(st.just("r1"), HOPS)))
def test_every_packet_has_one_fate_and_a_link_only_where_one_is_meant(
    tables: Tables, dead_hops: frozenset[tuple[str, str]]
) -> None:
    for ingress in ("r1", "r2"):
        outcome = fate(tables, ingress, dead_hops)
        assert (outcome.link in inventory().links) == (outcome.fate in {"link", "black-hole"})
        if not dead_hops:
            assert outcome.fate != "black-hole"


def test_plain_bgp_reaches_a_link_for_everything_also_after_a_death() -> None:
    for dead in ((), (IXP_1_PEER,)):
        exits = natural_exits(0, *dead)
        assert not exits.looped.any()
        assert not exits.dead_end.any()
    assert natural_exits(0).link.shape == world(0).demand_bps.shape
