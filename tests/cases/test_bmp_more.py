"""More situations of BMP sessions like those in data/, each with its source and its right outcome."""

from typing import Any

import pytest

from app.feeds.bmp_sessions import WAITING_MAX, WAITING_S
from tests.cases.bmp import ROUTERS_ADDRESS, Bmp, case_pop, init, message, peer_up, update

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


def test_records_after_the_end_of_their_session_are_ignored() -> None:
    """pmbmpd without an idempotent producer: a record was written behind the log_close of its session."""
    bmp = Bmp([*UP, log_close(60), update(P1)])
    assert (bmp.paths(P1), bmp.sessions.ignored) == ([], {"ended-session": 1})
    bmp.feed([{**line, "at": 61} for line in UP])
    assert bmp.targets() == [LINKS[1]], "the same port again, with a new session"


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
