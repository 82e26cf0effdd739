"""What counts as a live source path, and as a sight of our own route."""

import pytest

from app.actuation.bmp_witness import BmpWitness
from app.te.routing.path import Path
from app.te.routing.rib import Rib
from tests.app.actuation.pop import POP, PREFIX, exit_at

ET2 = exit_at(2)
LIVE = Path(ET2.peer, ET2.next_hop, (64602, 65010))


def witness(*paths: Path, router: str = "r1", up: tuple[str, ...] = (ET2.peer,)) -> BmpWitness:
    rib = Rib()
    for peer in up:
        rib.peer_up(router, peer, 64602)
    for path in paths:
        rib.update(router, PREFIX, path)
    return BmpWitness(POP, rib)


def test_a_live_path() -> None:
    assert witness(LIVE).exit_path(PREFIX, ET2)
    assert witness(LIVE).alive("r1", PREFIX, ET2.next_hop)


def test_a_path_whose_session_is_not_up_is_dead() -> None:
    assert not witness(LIVE, up=()).exit_path(PREFIX, ET2)


@pytest.mark.parametrize("community", ["65535:0", "65535:666", "65535:6"])
def test_graceful_shutdown_blackhole_and_llgr_stale_are_dead(community: str) -> None:
    path = Path(ET2.peer, ET2.next_hop, (64602,), communities=("64602:1", community))
    assert not witness(path).exit_path(PREFIX, ET2)


@pytest.mark.parametrize("path", [Path(ET2.peer, ET2.next_hop, (64602, 65001), hops=1), Path(ET2.peer, "fe80::1", ())])
def test_a_path_that_cannot_be_copied_any_more_is_dead(path: Path) -> None:
    assert not witness(path).alive("r1", PREFIX, path.next_hop)


def test_a_session_with_another_as_than_the_inventory_has_is_dead() -> None:
    seen = witness(LIVE)
    seen.rib.peer_up("r1", ET2.peer, 64699)
    assert not seen.exit_path(PREFIX, ET2)
    seen.rib.peer_up("r1", ET2.peer, 64602)
    assert seen.exit_path(PREFIX, ET2)


def test_another_next_hop_prefix_router_or_an_ibgp_path_does_not_count() -> None:
    assert not witness(Path(ET2.peer, "198.51.100.77", (64602,))).exit_path(PREFIX, ET2)
    assert not witness(LIVE).exit_path("203.0.113.0/25", ET2)
    assert not witness(LIVE, router="r2").exit_path(PREFIX, ET2)
    assert not witness(Path(ET2.peer, ET2.next_hop, (64602,), ebgp=False)).exit_path(PREFIX, ET2)


def test_a_peer_that_is_no_session_of_the_inventory_does_not_count() -> None:
    stranger = Path("127.0.0.99", ET2.next_hop, (64602,))
    assert not witness(stranger, up=("127.0.0.99",)).alive("r1", PREFIX, ET2.next_hop)


def test_our_route_is_known_by_injector_and_marker() -> None:
    ours = Path("127.0.0.21", "198.51.100.2", (64602,), communities=("64512:911",), large_communities=("64512:7:41",))
    assert witness(ours).shown("r1", PREFIX) == "198.51.100.2"
    unmarked = Path("127.0.0.21", "198.51.100.2", (64602,))
    assert witness(unmarked).shown("r1", PREFIX) is None
    elsewhere = Path("127.0.0.22", "198.51.100.2", (64602,), communities=("64512:911",))
    assert witness(elsewhere).shown("r1", PREFIX) is None


def test_of_several_paths_by_a_session_the_one_with_the_decisions_as_path_is_copied() -> None:
    other = Path(ET2.peer, ET2.next_hop, (64602, 65099), path_id=2)
    assert witness(LIVE, other).exit_path(PREFIX, ET2, (64602, 65099)) == other
    assert witness(LIVE, other).exit_path(PREFIX, ET2, (64602, 65010)) == LIVE


def test_holders_have_an_external_path_of_their_own() -> None:
    assert witness(LIVE).holders(PREFIX) == {"r1"}
    assert witness(Path("127.0.0.21", "192.0.2.12", (64602,), ebgp=False)).holders(PREFIX) == set()
