"""Who is sent to a neighbour by routes of ours, by the routers' own tables."""

import pytest

from app.lab.demo.killer import held_through, still_sent
from app.lab.pop.model import InstalledPath
from tests.app.lab.pop.world import IXP_1_PEER, LOOPBACK_1, MARKER, inventory, path

P, Q = "20.0.0.0/24", "20.0.1.0/24"
IXP, TRANSIT = "198.51.100.2", "198.51.100.3"
Table = dict[str, InstalledPath]


def test_only_routes_of_ours_to_that_neighbour_count() -> None:
    tables = {"r1": {P: path(IXP, MARKER), Q: path(IXP), "20.0.2.0/24": path(TRANSIT, MARKER)}, "r2": {}}
    assert held_through(inventory(), tables, IXP_1_PEER) == {P}


def test_a_next_hop_means_its_neighbour_at_its_own_router_only() -> None:
    assert held_through(inventory(), {"r1": {}, "r2": {P: path(IXP, MARKER)}}, IXP_1_PEER) == set()


@pytest.mark.parametrize(
    ("r1", "r2", "still"),
    [
        ({P: path(IXP, MARKER)}, {P: path(LOOPBACK_1, MARKER)}, True),
        ({P: path(TRANSIT)}, {P: path(LOOPBACK_1, MARKER)}, True),  # r1 has let go, r2 has not
        ({}, {P: path(LOOPBACK_1, MARKER)}, True),
        ({P: path(TRANSIT, MARKER)}, {P: path(LOOPBACK_1, MARKER)}, False),  # placed again
        ({P: path(TRANSIT)}, {P: path(LOOPBACK_1)}, False),  # plain BGP
        ({}, {}, False),
    ],
)
def test_an_override_is_gone_when_no_router_follows_it(r1: Table, r2: Table, still: bool) -> None:
    assert still_sent(inventory(), {"r1": r1, "r2": r2}, IXP_1_PEER, {P}) is still
