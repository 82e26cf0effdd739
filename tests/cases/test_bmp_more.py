"""More situations of BMP like those in data/, at least two of each kind, each with its source and its right outcome."""

from typing import Any

import msgspec
import pytest

from app.feeds.bmp_sessions import WAITING_MAX, WAITING_S
from tests.cases.bmp import ROUTERS_ADDRESS, Bmp, case_pop, folder, init, message, peer_up, records_of, update
from tests.pops import demo_pop

LINKS = {number: f"rhv1000/r1/et-0/0/{number}" for number in (1, 2, 3)}
STRANGER = "203.0.113.66"
P0, P1 = "20.0.0.0/24", "20.0.1.0/24"
UP = (init(), peer_up(), update())
AGAIN: dict[str, Any] = {"bmp_router_port": 50009}  # another session of r1
SECOND: dict[str, Any] = {"bmp_router_port": 50077, "writer_id": "default/9"}  # one with another collector


def stats(at: float, **more: Any) -> dict[str, Any]:
    return message("stats", peer_ip="127.0.0.31", counter_type=7, counter_value=1, at=at, **more)


def log_close(at: float, **more: Any) -> dict[str, Any]:
    return message("", event_type="log_close", at=at, **more)


# a peer is its type, distinguisher and address


@pytest.mark.parametrize(
    "instance",
    [
        {"peer_type": 1, "rd": "0:65000:8", "rd_origin": "bmp"},
        {"peer_type": 2, "rd": "0:0:5", "rd_origin": "bmp"},
        {"peer_type": 2},
        {"peer_type": 3, "is_loc": 1},
    ],
)
def test_what_happens_to_another_instance_of_the_same_address_changes_nothing(instance: dict[str, Any]) -> None:
    """FRRouting/frr pull 17001 (peer_up and peer_down of the Loc-RIB of a VRF), NLnetLabs/rotonda issue 124 (entries of
    several VRFs mixed up). RFC 7854, section 4.2: types 1 to 3 are other instances, whatever their address.
    """
    bmp = Bmp(UP)
    withdraw = {"log_type": "withdraw", **instance}
    bmp.feed([peer_up(**instance), update(**withdraw), message("peer_down", peer_ip="127.0.0.31", **instance)])
    assert (bmp.peers(), bmp.targets()) == (["127.0.0.31"], [LINKS[1]])
    assert bmp.letters == []


def test_a_distinguisher_of_zeros_is_none() -> None:
    """RFC 7854, section 4.2: for a global instance peer the distinguisher is all zeros, which some print."""
    bmp = Bmp([init(), peer_up(rd="0:0:0"), update(rd="0:0")])
    assert bmp.targets() == [LINKS[1]]


def test_peer_down_is_of_the_bgp_session_also_if_it_is_marked_as_of_the_adj_rib_out() -> None:
    """RFC 8671, section 6.1: the state of the session does not depend on which of its RIBs are reported, and a station
    should ignore the flag in peer_up and peer_down.
    """
    bmp = Bmp(UP)
    bmp.feed([message("peer_down", peer_ip="127.0.0.31", peer_type=0, is_out=1, is_in=0)])
    assert (bmp.peers(), bmp.paths()) == ([], [])


# who speaks


def test_a_stranger_who_says_to_be_a_router_changes_nothing_and_is_named() -> None:
    """A session from another address with the sysName of r1, as anybody can open who reaches the collector's port: its
    records are ignored, r1's table stands, and r1 is still heard after the stranger has gone.
    """
    bmp = Bmp([{**line, "at": 0} for line in UP])
    stranger: dict[str, Any] = {"bmp_router": STRANGER, "bmp_router_port": 4000, "at": 5}
    bmp.feed([init(**stranger), message("peer_down", peer_ip="127.0.0.31", **stranger)])
    bmp.feed([update(P1, **stranger), log_close(6, bmp_router=STRANGER, bmp_router_port=4000), stats(29)])
    bmp.feed([update("20.0.2.0/24", at=30)])
    assert bmp.sessions.ignored == {"wrong-bmp-address": 3}
    assert [bmp.targets(prefix) for prefix in (P0, P1, "20.0.2.0/24")] == [[LINKS[1]], [], [LINKS[1]]]
    text = bmp.notices()["bmp-name-taken", "r1"]
    assert STRANGER in text
    assert "set its bmp_address" in text


def test_a_stranger_is_not_the_router_either_while_that_is_away() -> None:
    """The name alone never suffices: r1 has not connected yet, and comes later."""
    stranger = {"bmp_router": STRANGER}
    bmp = Bmp([init(**stranger), peer_up(**stranger), update(P1, **stranger)])
    assert (bmp.paths(P1), bmp.doubtful()) == ([], {"r1", "r2"})
    bmp.feed(UP)
    assert (bmp.targets(), bmp.targets(P1)) == ([LINKS[1]], [])


def test_a_second_session_of_a_live_router_is_an_alarm_and_takes_nothing() -> None:
    """One initiation message over another TCP connection from the router's own address, in the same collector. A router
    that only connected again would not be heard on the first session any more.
    """
    bmp = Bmp([{**line, "at": 0} for line in UP])
    bmp.feed([init(at=3, **AGAIN)])
    bmp.feed(stats(float(at)) for at in range(5, 95, 10))
    assert (bmp.peers(), bmp.targets()) == (["127.0.0.31"], [LINKS[1]])
    assert "has not ended" in bmp.notices()["bmp-name-taken", "r1"]


def test_one_router_may_use_two_sessions_for_its_peers() -> None:
    """wobcom/fernglas issue 18: Nokia routers have one session for the Internet's VRF and one for the base router, from
    one address. Both make the router's table.
    """
    other = peer_up("127.0.0.32", at=2, **AGAIN), update(P1, "127.0.0.32", at=2, **AGAIN)
    bmp = Bmp([*({**line, "at": 0} for line in UP), init(at=1, **AGAIN), *other])
    bmp.feed(stats(float(at), **session) for at in range(10, 70, 10) for session in ({}, AGAIN))
    assert sorted(bmp.peers()) == ["127.0.0.31", "127.0.0.32"]
    assert (bmp.targets(P0), bmp.targets(P1)) == ([LINKS[1]], [LINKS[2]])


def test_two_routers_behind_one_address_are_told_apart_by_name() -> None:
    """ruhex/BGPLite issue 18: peers behind one NAT took each other's place."""
    r2 = {"bmp_router_port": 50002}
    neighbour = {"peer_ip": "127.0.0.34", "peer_asn": 64604}
    bmp = Bmp([init(), init("r2", **r2), message("peer_up", **neighbour, **r2), peer_up(), update()])
    assert (bmp.peers("r1"), bmp.peers("r2")) == (["127.0.0.31"], ["127.0.0.34"])
    assert bmp.kinds() == set()


@pytest.mark.parametrize("sysname", ["", None, "edge1.new-name.example"])
def test_a_session_from_a_routers_own_address_begins_whatever_its_name_is(sysname: str | None) -> None:
    """osrg/gobgp issue 2003 (GoBGP sent no sysName before 2.2) and routers that were renamed: the address is known."""
    r1 = {"bmp_router": case_pop().routers["r1"].ibgp_address}
    old = [{**line, **r1, "at": 0} for line in (*UP, update(P1))]
    new = [{**line, **r1, **AGAIN, "at": 100} for line in (init(sysname), peer_up(), update())]
    bmp = Bmp([*old, *new])
    bmp.feed([stats(111, **r1, **AGAIN)])
    assert (len(bmp.paths(P0)), bmp.paths(P1)) == (1, []), "what the new session does not report is gone"
    assert bmp.targets() == [LINKS[1]]
    assert bmp.kinds() == ({"bmp-renamed"} if sysname else set())


def test_a_name_and_an_address_that_no_inventory_has_are_named() -> None:
    """A router that was installed before somebody added it, or a scanner on the collector's port."""
    bmp = Bmp([init("core9", bmp_router=STRANGER), peer_up(bmp_router=STRANGER), update(bmp_router=STRANGER)])
    assert bmp.sessions.ignored == {"unknown-sysname": 3}
    assert "'core9'" in bmp.notices()["bmp-stranger", "core9"]
    assert bmp.letters == []


def test_a_strangers_name_is_shown_short_and_printable() -> None:
    """RFC 7854, section 4.4: the string is free; it may hold 65,535 bytes."""
    bmp = Bmp([init("x\n\x1b[31m" * 5000, bmp_router=STRANGER)])
    [(_, where)] = [key for key in bmp.notices() if key[0] == "bmp-stranger"]
    assert len(where) <= 80
    assert where.isprintable()


def test_many_strangers_make_a_bounded_number_of_notices_and_rows() -> None:
    """Connection after connection, each with another name, also from addresses of nobody without a name."""
    bmp = Bmp(init(f"name{number}", bmp_router=STRANGER, bmp_router_port=number) for number in range(1, 500))
    bmp.feed(peer_up(bmp_router=STRANGER, bmp_router_port=1000 + number) for number in range(2000))
    assert sum(kind == "bmp-stranger" for kind, _ in bmp.notices()) == 20
    assert len(bmp.sessions.sessions) <= 64


# sessions begin and end


def test_records_that_come_before_their_initiation_message_wait_for_it() -> None:
    """pmbmpd without an idempotent producer: a batch of records 2 and up was written before that with 0 and 1."""
    numbered = [{**line, "seq": seq} for seq, line in enumerate((init(), peer_up(), update(), update(P1)), 1)]
    bmp = Bmp([*reversed(numbered[1:]), numbered[0]])
    assert bmp.peers() == ["127.0.0.31"]
    assert (bmp.targets(P0), bmp.targets(P1)) == ([LINKS[1]], [LINKS[1]])
    assert bmp.sessions.ignored == {}


def test_an_initiation_message_that_comes_late_makes_nothing_stale_that_its_session_has_sent() -> None:
    """The same, of a router that is known by its address."""
    r1 = {"bmp_router": case_pop().routers["r1"].ibgp_address}
    bmp = Bmp([{**line, **r1, "at": 0} for line in (peer_up(), update(), init())])
    bmp.feed([stats(20, **r1)])
    assert bmp.targets() == [LINKS[1]]


def test_records_of_a_session_that_never_says_who_it_is_are_counted_and_named() -> None:
    """FRRouting/frr issue 6568, a comment: after the station was away, FRR sent no start-up sequence, and the station
    dropped everything that followed.
    """
    bmp = Bmp([peer_up(at=0), update(at=0)])
    bmp.feed([init("r2", bmp_router_port=50002, at=WAITING_S + 1)])
    assert bmp.sessions.ignored == {"unknown-router": 2}
    assert "let it connect again" in bmp.notices()["bmp-unnamed", ROUTERS_ADDRESS]


def test_what_waits_is_bounded() -> None:
    """A whole table without an initiation message must not fill the memory."""
    bmp = Bmp(update(f"20.{number >> 8}.{number & 255}.0/24") for number in range(WAITING_MAX + 1))
    assert bmp.sessions.ignored == {"unknown-router": WAITING_MAX + 1}
    assert bmp.state.checkpoint() == {"bmp-rhv1000": -1}, "nothing was written yet"


def test_a_termination_message_ends_a_session() -> None:
    """RFC 7854, section 4.5: the router says that it closes the session, for example for good (reason 3)."""
    bmp = Bmp([*UP, message("term", bmp_term_info_reason="Session permanently administratively closed")])
    assert bmp.targets() == []
    assert "r1" in bmp.doubtful()


def test_the_end_of_one_of_two_collectors_is_no_doubt() -> None:
    """RFC 7854, section 3.2. The other collector has the whole table: it began when the first had it."""
    bmp = Bmp([{**line, **session, "at": at} for at, session in ((0, {}), (1, SECOND)) for line in UP])
    bmp.feed([stats(10), stats(10, **SECOND), log_close(20, **SECOND)])
    assert bmp.targets() == [LINKS[1]]


def test_a_path_that_was_lost_while_bmp_was_away_goes_once_the_dump_is_over() -> None:
    """SNAS/openbmp issue 65: what was up before a router went away stayed up for ever."""
    bmp = Bmp([{**line, "at": 0} for line in (*UP, update(P1))])
    bmp.feed([log_close(20), *({**line, **AGAIN, "at": 30} for line in UP)])
    assert len(bmp.paths(P1)) == 1, "the dump may still go on"
    bmp.feed([stats(41, **AGAIN)])
    assert (len(bmp.paths(P0)), bmp.paths(P1)) == (1, [])
    assert bmp.targets() == [LINKS[1]]


def test_so_it_does_if_nobody_reported_the_end() -> None:
    """A collector that was killed writes no log_close. Its session may be live for as long as a router may be silent;
    nothing that the new one does not report is removed before.
    """
    bmp = Bmp([{**line, "at": 0} for line in (*UP, update(P1))])
    bmp.feed([{**line, **SECOND, "at": 5} for line in UP])
    bmp.feed([stats(20, **SECOND)])
    assert len(bmp.paths(P1)) == 1
    bmp.feed([stats(31, **SECOND)])
    assert (bmp.paths(P1), bmp.doubtful()) == ([], {"r2"})


def test_a_dump_that_breaks_off_removes_nothing() -> None:
    """The session ends amid its dump; what it had not come to yet is not lost, but not known either."""
    bmp = Bmp([{**line, "at": 0} for line in (*UP, update(P1))])
    bmp.feed([log_close(5), init(at=6, **AGAIN), peer_up(at=6, **AGAIN), log_close(7, **AGAIN)])
    bmp.feed([init("r2", bmp_router_port=50002, at=100)])
    assert (len(bmp.paths(P0)), len(bmp.paths(P1))) == (1, 1)
    assert bmp.targets() == []


def test_silence_is_doubt_and_the_notice_says_what_to_do() -> None:
    """osrg/gobgp pull 1332: statistics reports every 15 s at least. Without them a quiet router is silent, too."""
    bmp = Bmp([{**line, "at": 0} for line in UP])
    bmp.feed([stats(10), stats(25), init("r2", bmp_router_port=50002, at=54)])
    assert bmp.doubtful() == set()
    bmp.feed([stats(56, bmp_router_port=50002)])
    assert bmp.doubtful() == {"r1"}
    assert bmp.targets() == []
    assert "not heard over BMP for 31 s" in bmp.notices()["bmp-silent", "r1"]
    bmp.feed([stats(57)])
    assert bmp.targets() == [LINKS[1]], "it is heard again, and its session never ended"


def test_a_quiet_router_without_statistics_is_told_apart() -> None:
    """The same, of a router that never sent any: it may be only quiet, and how that is mended."""
    bmp = Bmp([{**line, "at": 0} for line in UP])
    bmp.feed([init("r2", bmp_router_port=50002, at=90)])
    assert "let it send BMP statistics reports every 10 s" in bmp.notices()["bmp-silent", "r1"]
    bmp.feed([update(P1, at=91)])
    assert "sends no BMP statistics" in bmp.notices()["bmp-no-statistics", "r1"]


def test_a_router_is_not_silent_because_we_are_behind() -> None:
    """A dump of another router before its records, and the topic is not read to its end."""
    bmp = Bmp([{**line, "at": 0} for line in UP])
    bmp.now_s += 300
    assert bmp.doubtful() == {"r1", "r2"}
    bmp.read += 1
    assert bmp.doubtful() == {"r2"}


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


@pytest.mark.parametrize(("numbers", "is_target"), [(64, True), (65, False), (255, False), (272, False), (1100, False)])
def test_paths_beyond_a_bound_are_no_targets(numbers: int, is_target: bool) -> None:
    """nanog 2009-02, "very long AS paths"; FRRouting/frr pull 2992 (1,000 numbers). The longest paths in use have about
    40 numbers; one of more than 255 reset the injector's session.
    """
    bmp = Bmp([*UP[:2], update(as_path=" ".join(["64601", *["65001"] * (numbers - 1)]))])
    assert bmp.targets() == ([LINKS[1]] if is_target else [])


@pytest.mark.parametrize("as_path", ["", "64601 64512 65001", "64601 0"])
def test_paths_that_the_actuator_would_refuse_are_no_targets(as_path: str) -> None:
    """RFC 7607 (AS 0), RFC 4271, section 9 (our own AS is a loop); an empty path would seem to originate from us."""
    bmp = Bmp([*UP[:2], update(as_path=as_path)])
    assert (len(bmp.paths()), bmp.targets()) == (1, [])


@pytest.mark.parametrize("word", ["graceful-shutdown", "llgr-stale", "blackhole"])
def test_words_for_communities_that_bar_a_path(word: str) -> None:
    """FRR and others print names for 65535:0, 65535:6 and 65535:666 (RFC 8326, 9494 and 7999)."""
    bmp = Bmp([*UP[:2], update(comms=f"64512:20 {word}")])
    assert (len(bmp.paths()), bmp.targets()) == (1, [])


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
