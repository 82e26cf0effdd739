"""More situations of BMP paths like those in data/, each with its source and its right outcome."""

from typing import Any

import msgspec
import pytest

from app.te.routing.path import unfit
from tests.cases.bmp import Bmp, case_pop, folder, init, message, peer_up, records_of, update
from tests.pops import demo_pop

LINKS = {number: f"rhv1000/r1/et-0/0/{number}" for number in (1, 2, 3)}
P1 = "20.0.1.0/24"
UP = (init(), peer_up(), update())


# what cannot be read


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bgp_nexthop": ""}, "bgp_nexthop is empty"),
        ({"as_path": "64601 {65001"}, "never closed"),
        ({"as_path": None}, "as_path"),
        ({"med": -1}, "med"),
        ({"local_pref": 2**32}, "local_pref"),
        ({"comms": " ".join(f"64512:{number}" for number in range(7000))}, "a record of"),
    ],
)
def test_an_update_that_cannot_be_read_takes_the_old_path_with_it(changes: dict[str, Any], reason: str) -> None:
    """ruhex/BGPLite issue 288: the route of a rejected update stayed with its old next hop (RFC 7606, section 2). RFC
    8654 allows messages of 65,535 bytes, whose communities alone are records of more than 64 KiB.
    """
    bmp = Bmp([*UP, update(P1)])
    bmp.feed([update(**changes)])
    assert (bmp.paths(), len(bmp.paths(P1))) == ([], 1)
    [letter] = bmp.letters
    assert "treated as a withdraw of 20.0.0.0/24 by 127.0.0.31" in letter
    assert reason in letter
    bmp.feed([update()])
    assert bmp.targets() == [LINKS[1]], "the next update that can be read is the path again"


@pytest.mark.parametrize(
    "changes",
    [
        {"as_path": None},
        {"med": -1},
        {"origin": None},
        {"local_pref": 1.5},
        {"seq": 10**20},
        {"comms": "1:1 " * 20_000},
    ],
)
def test_a_withdraw_with_an_attribute_that_cannot_be_read_withdraws(changes: dict[str, Any]) -> None:
    """RFC 7606, section 2: whatever is wrong beside it, the path is gone."""
    bmp = Bmp([*UP, update(P1)])
    bmp.feed([update(log_type="withdraw", **changes)])
    assert (bmp.paths(), len(bmp.paths(P1))) == ([], 1)
    [letter] = bmp.letters
    assert "treated as a withdraw of 20.0.0.0/24 by 127.0.0.31" in letter


@pytest.mark.parametrize("changes", [{"peer_asn": -1}, {"local_pref": "x"}, {"bmp_init_info_sysname": 5}])
def test_a_peer_down_with_a_key_that_cannot_be_read_is_down(changes: dict[str, Any]) -> None:
    """The same of a whole neighbour: RFC 7854, section 4.9, needs no more than the peer."""
    bmp = Bmp(UP)
    bmp.feed([message("peer_down", **({"peer_ip": "127.0.0.31", "peer_type": 0} | changes))])
    assert (bmp.peers(), bmp.paths()) == ([], [])
    assert "treated as a peer_down of 127.0.0.31" in bmp.letters[0]


@pytest.mark.parametrize(
    "end", [message("term", peer_asn=-1), message("", seq=10**20) | {"event_type": "log_close"}], ids=["term", "close"]
)
def test_an_end_of_a_session_with_a_key_that_cannot_be_read_ends_it(end: dict[str, Any]) -> None:
    """The same of a whole router."""
    bmp = Bmp([*UP, end])
    assert "r1" in bmp.doubtful()
    assert "treated as the end of the session" in bmp.letters[0]


@pytest.mark.parametrize(
    "spelled", ["2001:DB8:9::/48", "2001:db8:9:0:0:0:0:0/48", "2001:db8:9::1/48", "2001:db8:9::0.0.0.1/48"]
)
def test_prefixes_are_compared_as_prefixes(spelled: str) -> None:
    """RFC 5952, section 2, and RFC 4271, section 4.3: the bits behind the length are irrelevant."""
    bmp = Bmp([*UP[:2], update(spelled, bgp_nexthop="2001:db8:0:1::1")])
    assert bmp.targets("2001:db8:9::/48") == [LINKS[1]]
    bmp.feed([update(spelled, log_type="withdraw")])
    assert (bmp.paths("2001:db8:9::/48"), bmp.letters) == ([], [])


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 10**20},
        {"seq": -(2**63) - 1},
        {"bmp_router_port": 10**20},
        {"bmp_router_port": -(2**63) - 1},
        {"writer_id": "x" * 60_000},
        {"bmp_router": "9" * 60_000},
        {"peer_asn": 10**20},
    ],
    ids=str,
)
@pytest.mark.parametrize("sysname", ["r1", "stranger"])
def test_numbers_and_words_that_no_row_can_keep_are_dead_letters(sysname: str, changes: dict[str, Any]) -> None:
    """JSON bounds neither, and a row that cannot be written would end the worker, then again at each start."""
    bmp = Bmp(UP)
    bmp.feed([init(sysname, **({"bmp_router_port": 4000} | changes)), peer_up("127.0.0.32", **changes)])
    for _ in range(3):
        bmp.state.write_rows()
        bmp.state.write_progress()
    assert len(bmp.letters) == 2
    assert bmp.peers() == ["127.0.0.31"]


def test_what_is_no_update_withdraws_nothing() -> None:
    """A record whose path is not known, or that is none, changes nothing: it is only a dead letter."""
    bmp = Bmp(UP)
    bmp.feed([update(log_type="surprise"), update("20.0.0.0/33"), update(peer_ip="somebody"), update(is_post=2)])
    assert len(bmp.paths()) == 1
    assert len(bmp.letters) == 3


def test_end_of_rib_of_a_newer_pmacct_is_in_order() -> None:
    """pmacct 1.7.8 writes it (src/bgp/bgp_logdump.c); RFC 4724, section 2."""
    marker = {"log_type": "end-of-rib", "is_in": 1, "is_post": 1, "afi": 1, "safi": 1, "peer_ip": "127.0.0.31"}
    bmp = Bmp([*UP, message("route_monitor", **marker)])
    assert (len(bmp.paths()), bmp.letters) == (1, [])


def test_an_ipv6_next_hop_of_an_ipv4_prefix_is_read_and_not_copied() -> None:
    """bgptools/issues issue 198 (RFC 8950), as pmacct prints it since pull 685: the natural exit is known by the next
    hop, and the injector's session may lack the capability that a copy needs.
    """
    bmp = Bmp([*UP[:2], update(bgp_nexthop="2001:db8:0:1::1")])
    assert [path.next_hop for path in bmp.paths()] == ["2001:db8:0:1::1"]
    assert (bmp.natural_link(), bmp.targets(), bmp.letters) == (LINKS[1], [], [])


def test_addresses_are_compared_as_addresses() -> None:
    """RFC 5952, section 2: one IPv6 address has many spellings; and a dual-stack socket has IPv4 in IPv6."""
    spelled = "2001:0DB8:0:0001:0:0:0:1"
    bmp = Bmp([init(bmp_router="::ffff:192.0.2.254"), peer_up(), update("2001:db8:9::/48", bgp_nexthop=spelled)])
    bmp.feed([init(), peer_up(peer_ip="::ffff:127.0.0.31"), update("2001:db8:9::/48", bgp_nexthop=spelled)])
    assert bmp.peers() == ["127.0.0.31"]
    assert bmp.targets("2001:db8:9::/48") == [LINKS[1]]


# AS paths


@pytest.mark.parametrize(
    ("as_path", "natural"),
    [
        ("64601 {65001,65002,65003}", 1),
        ("64601 65001 {65002,65003}", 2),
        ("(65501 65502) [65503,65504] 64601 65001", 1),
        ("64601 65001 65002 65003", 2),
    ],
)
def test_a_set_counts_one_and_a_confederation_none(as_path: str, natural: int) -> None:
    """Exa-Networks/exabgp pull 218 and yasuhironet/bgpdump2 issue 8 (sets). RFC 4271, section 9.1.2.2: a set counts 1;
    RFC 5065, section 5.3: a confederation segment counts 0. The other path has length 3, and on equal length the lower
    peer address wins unless the origin decides: it is `incomplete` for the first path.
    """
    first = update(as_path=as_path, origin="u")
    bmp = Bmp([*UP[:2], peer_up("127.0.0.32"), first, update(peer="127.0.0.32", as_path="64602 65002 65003")])
    assert bmp.natural_link() == LINKS[natural]
    assert LINKS[2] in bmp.targets()
    assert (LINKS[1] in bmp.targets()) == as_path.replace(" ", "").isdecimal(), "only a plain sequence is copied"


def test_meds_are_compared_within_the_neighbouring_as_behind_a_confederation() -> None:
    """RFC 4271, section 9.1.2.2 (c), with RFC 5065: the neighbouring AS is the first outside the confederation, so the
    two paths have the same neighbour, and the lower MED wins over the lower address.
    """
    first = update(as_path="(65501) 64601 65001", med=20)
    bmp = Bmp([*UP[:2], peer_up("127.0.0.32"), first, update(peer="127.0.0.32", as_path="64601 65002", med=10)])
    assert bmp.natural_link() == LINKS[2]


@pytest.mark.parametrize("segment", ["(64999)", "[64999,64998]"])
def test_a_path_from_inside_the_confederation_is_no_exit(segment: str) -> None:
    """RFC 5065, sections 4 and 5.3: the peer of a member AS passes on what its own neighbour sent, whatever its
    local-pref is. A link's own neighbour is external also if its router puts a segment in front.
    """
    inner = update(peer_ip="10.9.9.9", bgp_nexthop="198.51.100.6", as_path=f"{segment} 64606 65001", local_pref=300)
    bmp = Bmp([*UP, peer_up("10.9.9.9", peer_asn=64999), inner])
    assert [path.ebgp for path in bmp.paths()] == [False, True]
    assert (bmp.natural_link(), bmp.targets()) == (LINKS[1], [LINKS[1]])


@pytest.mark.parametrize(("numbers", "is_target"), [(64, True), (65, False), (255, False), (272, False), (1100, False)])
def test_paths_beyond_a_bound_are_no_targets(numbers: int, is_target: bool) -> None:
    """nanog 2009-02, "very long AS paths"; FRRouting/frr pull 2992 (1,000 numbers). The longest paths in use have about
    40 numbers; one of more than 255 reset the injector's session.
    """
    bmp = Bmp([*UP[:2], update(as_path=" ".join(["64601", *["65001"] * (numbers - 1)]))])
    assert bmp.targets() == ([LINKS[1]] if is_target else [])


@pytest.mark.parametrize("as_path", ["", "64601 64512 65001", "64601 0", "64601 23456 65001", "64601 65535"])
def test_paths_that_the_actuator_would_refuse_are_no_targets(as_path: str) -> None:
    """RFC 7607 (AS 0), 6793 (AS_TRANS) and 7300; RFC 4271, section 9 (our own AS); an empty one seems to be ours."""
    bmp = Bmp([*UP[:2], update(as_path=as_path)])
    assert (len(bmp.paths()), bmp.targets()) == (1, [])


@pytest.mark.parametrize(
    "word", ["graceful-shutdown", "llgr-stale", "blackhole", "Blackhole", "LLGR_STALE", "0xFFFF029A", "4294902426"]
)
@pytest.mark.parametrize("separator", [" ", ", "])
def test_words_for_communities_that_bar_a_path(separator: str, word: str) -> None:
    """FRR and others print names for 65535:0, 65535:6 and 65535:666 (RFC 8326, 9494 and 7999)."""
    bmp = Bmp([*UP[:2], update(comms=f"64512:20{separator}{word}")])
    assert (len(bmp.paths()), bmp.targets()) == (1, [])


@pytest.mark.parametrize("kind", ["comms", "lcomms"])
def test_a_path_with_more_communities_than_are_kept_is_no_target(kind: str) -> None:
    """RFC 8654 allows thousands. A row keeps a bounded number, and nobody knows what the others ask for."""
    words = [f"64512:20:{number}" if kind == "lcomms" else f"64512:{number}" for number in range(500)]
    bmp = Bmp([*UP[:2], update(**{kind: " ".join(words[:64])})])
    assert bmp.targets() == [LINKS[1]]
    bmp.feed([update(**{kind: " ".join(words)})])
    [path] = bmp.paths()
    assert (len(path.communities) + len(path.large_communities), bmp.targets()) == (65, [])


def test_of_too_many_communities_that_which_bars_is_kept() -> None:
    """The reason that people read is the one that matters."""
    bmp = Bmp([*UP[:2], update(comms=" ".join([*(f"64512:{number}" for number in range(500)), "blackhole"]))])
    [path] = bmp.paths()
    assert unfit(path) == "barred-community"


def test_of_a_very_long_as_path_the_length_is_kept() -> None:
    """What plain BGP does with it depends on the length alone, and no override copies it."""
    bmp = Bmp([*UP[:2], update(as_path="64601 " * 1100)])
    [path] = bmp.paths()
    assert (len(path.as_path), path.length, bmp.targets()) == (255, 1100, [])


# who is there


def test_as_trans_stands_for_any_as_number_of_four_bytes() -> None:
    """RFC 6793: a router without them reports AS 23456 for such a neighbour; that contradicts nothing."""
    pop = case_pop()
    links = list(pop.link)
    session = msgspec.structs.replace(links[0].sessions[0], asn=4_200_000_007)
    links[0] = msgspec.structs.replace(links[0], sessions=(session,))
    pop = msgspec.structs.replace(pop, link=tuple(links))
    assert Bmp([init(), peer_up(peer_asn=23456), update()], pop).targets() == [LINKS[1]]
    assert Bmp([init(), peer_up(peer_asn=64601), update()], pop).targets() == []


def test_a_neighbour_that_comes_back_with_the_right_as_is_a_target_again() -> None:
    """The inventory was right, and the neighbour's typing error was mended."""
    bmp = Bmp(records_of(folder(36)))
    down = message("peer_down", peer_ip="127.0.0.31", peer_type=0)
    bmp.feed([down, peer_up(), update()])
    assert (bmp.targets(), bmp.kinds()) == ([LINKS[1]], set())


def test_the_demo_knows_its_routers_by_loopback_and_name() -> None:
    """Both routers of the demo send BMP from 127.0.0.1."""
    bmp = Bmp([{**line, "bmp_router": "127.0.0.1"} for line in UP], demo_pop())
    assert bmp.targets() == [LINKS[1]]
