"""The BGP decision step by step, what counts as natural, and which paths may be targets."""

from typing import Any

import msgspec
import pytest

from app.te.routing.natural import NaturalRouting
from app.te.routing.path import Path
from tests.app.te.world import natural_of, path, rib_of
from tests.pops import ASN, link, pop, router

PREFIX = "203.0.113.0/24"
TWO_ROUTERS = pop(link("r1/a", 1), link("r1/b", 2), link("r2/c", 3), link("r2/d", 4))


def exits(paths: list[Path]) -> dict[str, str]:
    """Link of each router's natural exit, without the PoP's name."""
    return {name: egress.link[2:] for name, egress in natural_of(TWO_ROUTERS, {PREFIX: paths}).exits(PREFIX).items()}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        pytest.param([path(1), path(4, local_pref=200)], {"r1": "r2/d", "r2": "r2/d"}, id="local-pref"),
        pytest.param([path(1, 7), path(4)], {"r1": "r2/d", "r2": "r2/d"}, id="as-path-length"),
        pytest.param([path(1, origin="egp"), path(4)], {"r1": "r2/d", "r2": "r2/d"}, id="origin"),
        pytest.param([path(1), path(3)], {"r1": "r1/a", "r2": "r2/c"}, id="ebgp-over-ibgp"),
        pytest.param([path(2), path(1)], {"r1": "r1/a", "r2": "r1/a"}, id="lowest-peer"),
        pytest.param(
            [path(1, med=5), path(3, as_path=(64601,), med=0)], {"r1": "r2/c", "r2": "r2/c"}, id="med-of-one-as"
        ),
        pytest.param([path(1, med=5), path(3, med=0)], {"r1": "r1/a", "r2": "r2/c"}, id="med-of-two-ases"),
        pytest.param([path(1, med=5), path(2, as_path=(64601,))], {"r1": "r1/b", "r2": "r1/b"}, id="no-med-is-0"),
        pytest.param([], {}, id="no-path"),
    ],
)
def test_decision(paths: list[Path], expected: dict[str, str]) -> None:
    assert exits(paths) == expected


def test_peers_are_compared_as_numbers() -> None:
    many = pop(link("r1/a", 9), link("r1/b", 10))
    assert natural_of(many, {PREFIX: [path(9), path(10)]}).exits(PREFIX)["r1"].link == "p/r1/a"


def test_nearest_exit_by_igp_cost() -> None:
    three = pop(link("r1/a", 1), link("r2/b", 2), link("r3/c", 3))
    far = router(3, ["r1", "r2", "r3"], igp_cost={"r1": 30, "r2": 20})
    three = msgspec.structs.replace(three, router=(*three.router[:2], far))
    natural = natural_of(three, {PREFIX: [path(1), path(2)]})
    assert natural.exits(PREFIX)["r3"].link == "p/r2/b"


@pytest.mark.parametrize(
    "ignored",
    [
        path(1, communities=(f"{ASN}:911",)),
        path(1, peer="127.0.0.21"),
        path(1, peer="127.0.0.12"),
        path(1, ebgp=False),
    ],
    ids=["our marker", "an injector", "an iBGP peer", "iBGP-learned"],
)
def test_ignores_what_our_overrides_distort(ignored: Path) -> None:
    rib = rib_of(TWO_ROUTERS, {PREFIX: [path(3, 7, 8)]})
    rib.update("r1", PREFIX, ignored)
    natural = NaturalRouting(TWO_ROUTERS, rib)
    assert {egress.link for egress in natural.exits(PREFIX).values()} == {"p/r2/c"}
    assert [one.exit.link for one in natural.alternates(PREFIX)] == ["p/r2/c"]


def test_a_route_of_ours_marks_the_prefix_overridden() -> None:
    rib = rib_of(TWO_ROUTERS, {PREFIX: [path(3)]})
    natural = NaturalRouting(TWO_ROUTERS, rib)
    assert not natural.routes(PREFIX).overridden
    rib.update("r1", PREFIX, path(1, peer="127.0.0.21", communities=(f"{ASN}:911",)))
    assert natural.routes(PREFIX).overridden


def test_link_by_next_hop_then_by_session() -> None:
    natural = natural_of(
        TWO_ROUTERS, {PREFIX: [path(1, next_hop="10.0.0.2")], "192.0.0.0/8": [path(1, next_hop="10.9.9.9")]}
    )
    assert natural.exits(PREFIX)["r1"].link == "p/r1/b"
    assert natural.exits("192.0.0.0/8")["r1"].link == "p/r1/a"


def test_recomputes_when_the_rib_changes() -> None:
    rib = rib_of(TWO_ROUTERS, {PREFIX: [path(1), path(2, 7)]})
    natural = NaturalRouting(TWO_ROUTERS, rib)
    assert natural.exits(PREFIX)["r1"].link == "p/r1/a"
    rib.peer_down("r1", "10.0.0.1")
    assert natural.exits(PREFIX)["r1"].link == "p/r1/b"


def test_hidden_routers_show_the_mesh_nothing() -> None:
    natural = natural_of(TWO_ROUTERS, {PREFIX: [path(1), path(3, 7)]})
    assert natural.exits(PREFIX, hidden={"r1"}).keys() == {"r2"}
    assert natural.exits(PREFIX, hidden={"r1"})["r2"].link == "p/r2/c"


@pytest.mark.parametrize(
    ("changes", "eligible"),
    [
        ({}, True),
        ({"communities": ("65535:0",)}, False),
        ({"communities": ("65535:666",)}, False),
        ({"communities": ("1:1", "65535:6")}, False),
        ({"communities": ("65535:1",)}, True),
        ({"next_hop": "10.9.9.9"}, False),
        ({"next_hop": "10.0.0.3"}, False),  # a next hop of the other router
        ({"next_hop": "10.0.0.2"}, False),  # a next hop of another link: the actuator's last check refuses it, too
        ({"peer": "10.9.9.9"}, False),
    ],
)
def test_alternates_by_path(changes: dict[str, Any], eligible: bool) -> None:
    rib = rib_of(TWO_ROUTERS, {})
    rib.peer_up("r1", "10.9.9.9", 64999)
    rib.update("r1", PREFIX, path(1, **changes))
    assert bool(NaturalRouting(TWO_ROUTERS, rib).alternates(PREFIX)) is eligible


def test_alternates_need_a_session_that_is_up() -> None:
    rib = rib_of(TWO_ROUTERS, {PREFIX: [path(1), path(4)]})
    rib.peer_down("r2", "10.0.0.4")
    rib.update("r2", PREFIX, path(4))
    assert [one.exit.link for one in NaturalRouting(TWO_ROUTERS, rib).alternates(PREFIX)] == ["p/r1/a"]


def test_alternates_are_neither_drained_nor_on_a_router_that_exports_what_it_learned() -> None:
    drained = pop(link("r1/a", 1, drain=True), link("r1/b", 2), link("r2/c", 3))
    fabric = msgspec.structs.replace(drained.router[1], exports_learned_routes=True)
    drained = msgspec.structs.replace(drained, router=(drained.router[0], fabric))
    natural = natural_of(drained, {PREFIX: [path(1), path(2), path(3)]})
    assert [one.exit.link for one in natural.alternates(PREFIX)] == ["p/r1/b"]


def test_table_holds_what_any_router_holds() -> None:
    rib = rib_of(TWO_ROUTERS, {"203.0.0.0/16": [path(1)], PREFIX: [path(4)]})
    natural = NaturalRouting(TWO_ROUTERS, rib)
    addresses = ["203.0.113.7", "203.0.114.7", "192.0.2.7"]
    assert natural.table().match(addresses) == [PREFIX, "203.0.0.0/16", None]
    table = natural.table()
    rib.update("r1", PREFIX, path(1))
    assert natural.table() is table, "another path of a known prefix needs no new table"
    rib.withdraw("r1", "203.0.0.0/16", "10.0.0.1")
    assert natural.table().match(addresses) == [PREFIX, None, None]


def test_holders_by_any_path_and_by_the_mesh() -> None:
    rib = rib_of(TWO_ROUTERS, {PREFIX: [path(1)]})
    assert NaturalRouting(TWO_ROUTERS, rib).holders(PREFIX) == {"r1", "r2"}
    rib = rib_of(TWO_ROUTERS, {})
    rib.update("r2", PREFIX, path(3, ebgp=False))
    assert NaturalRouting(TWO_ROUTERS, rib).holders(PREFIX) == {"r2"}
