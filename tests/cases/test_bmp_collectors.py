"""Collectors that are restarted, killed or late, rows written in between, clocks that jump, and ADD-PATH."""

from typing import Any

import pytest

from agents.routes import BmpHearing
from app.clock import ManualClock
from tests.cases.bmp import T0, Bmp, Line, init, message, peer_up, update
from tests.cases.test_bmp_more import AGAIN, LINKS, P0, P1, UP, log_close, stats
from tests.cases.test_bmp_sessions import NEIGHBOUR, THIRD, at, two_sessions

OTHER = "127.0.0.33"
P2 = "20.0.2.0/24"
B: dict[str, Any] = {"bmp_router_port": 50077, "writer_id": "default/9"}  # another collector
C: dict[str, Any] = {"bmp_router_port": 50078, "writer_id": "default/10"}


def beat(first: int, last: int, *sessions: dict[str, Any], step: int = 10) -> list[Line]:
    return [stats(float(second), **session) for second in range(first, last, step) for session in sessions]


def down(peer: str) -> Line:
    return message("peer_down", peer_ip=peer, peer_type=0)


def flush(bmp: Bmp) -> None:
    for _ in range(3):
        bmp.state.write_rows()
        bmp.state.write_progress()


def restart(bmp: Bmp) -> None:
    bmp.state.load()


def test_a_restart_between_init_and_peer_up_of_a_second_session_does_not_end_the_agent() -> None:
    """Both begin within the dump; nothing but a peer without paths (an injector) is awaited."""
    bmp = Bmp(at(0, *UP, peer_up(NEIGHBOUR)))
    bmp.feed([log_close(20), *at(30, *UP, **AGAIN), *at(31, init(), **B)])
    flush(bmp)
    restart(bmp)
    bmp.feed(at(31.5, peer_up(), update(), peer_up(NEIGHBOUR), **B))
    bmp.feed(beat(40, 120, AGAIN, B))
    assert "r1" not in bmp.doubtful()
    assert bmp.targets(P0) == [LINKS[1]]


def test_what_the_first_session_refreshed_is_not_lost_by_a_restart() -> None:
    """Sessions for each instance. P1 of 31 is lost, so 31 is still awaited when the other instance begins."""
    bmp = Bmp(at(0, *UP, update(P1)))
    bmp.feed([log_close(20), *at(30, *UP, **AGAIN)])
    flush(bmp)
    bmp.feed(at(31, init(), peer_up(NEIGHBOUR), update(P2, NEIGHBOUR), **THIRD))
    flush(bmp)
    restart(bmp)
    bmp.feed(beat(32, 200, AGAIN, THIRD, step=5))
    assert bmp.paths(P1) == []
    assert "r1" not in bmp.doubtful()
    assert bmp.targets(P0) == [LINKS[1]]


@pytest.mark.parametrize("restarts", [False, True])
def test_what_became_stale_by_a_peer_up_is_stale_after_a_restart(restarts: bool) -> None:
    """The collector was killed after the dump of 31; P1 was lost meanwhile; the router is at the next collector."""
    bmp = Bmp(at(0, *UP, update(P1), peer_up(NEIGHBOUR)))
    bmp.feed([log_close(20), *at(30, *UP, update(P1), **AGAIN)])
    bmp.feed(at(35, init(), **B))
    flush(bmp)
    bmp.feed(at(36, peer_up(), peer_up(NEIGHBOUR), update(), **B))
    flush(bmp)
    if restarts:
        restart(bmp)
    bmp.feed(beat(40, 200, B))
    assert bmp.paths(P1) == []
    assert bmp.targets(P0) == [LINKS[1]]


@pytest.mark.parametrize(("every", "is_up"), [(30, True), (50, True), (8, False)])
def test_a_peer_that_flaps_does_not_keep_what_another_lost(every: int, is_up: bool) -> None:
    """32 comes back without routes (or not at all). 33 goes down and up for hours, as peers do."""
    bmp = Bmp(at(0, *UP, peer_up(NEIGHBOUR), update(P1, NEIGHBOUR), peer_up(OTHER)))
    bmp.feed([log_close(20), *at(22, *UP, *([peer_up(NEIGHBOUR)] if is_up else []), peer_up(OTHER), **AGAIN)])
    lines = beat(25, 622, AGAIN, step=10)
    for second in range(22 + every, 622, every):
        lines += at(second, down(OTHER), peer_up(OTHER), **AGAIN)
    lines.sort(key=lambda line: float(line["at"]))
    bmp.feed(lines)
    assert bmp.paths(P1) == [], "ten minutes later"
    assert "r1" not in bmp.doubtful()


@pytest.mark.parametrize("is_told", [True, False])
def test_a_collector_that_is_killed_amid_a_dump_takes_nothing(is_told: bool) -> None:
    """As if its log_close had been written: what it had not come to is not lost. It starts again after 30 s."""
    r2: dict[str, Any] = {"bmp_router_port": 50002, "writer_id": "b/1"}
    bmp = Bmp([*at(0, *UP, update(P1)), *at(0, init("r2"), peer_up("127.0.0.36", peer_asn=64606), **r2)])
    bmp.feed([log_close(20), *at(25, *UP, **AGAIN)])
    if is_told:
        bmp.feed([log_close(26, **AGAIN)])
    for second in range(30, 60, 5):
        bmp.feed(at(second, message("stats", peer_ip="127.0.0.36"), **r2))
        assert len(bmp.paths(P1)) == 1, second
    bmp.feed(at(60, *UP, update(P1), **C))


def _heard(bmp: Bmp, clock: ManualClock) -> BmpHearing:
    return BmpHearing(lambda: bmp.state.feeds["rhv1000"], lambda: True, clock)


def _r2(second: float) -> list[Line]:
    return at(second, message("stats", peer_ip="127.0.0.36"), writer_id="b/1", bmp_router_port=50002)


def _two_collectors() -> tuple[dict[str, Any], Bmp, ManualClock, BmpHearing]:
    """r1 is heard by the first, and r2 by the other."""
    bmp, clock = Bmp([]), ManualClock(T0)
    a = {"writer_id": "a/1"}
    heard = _heard(bmp, clock)
    r2 = at(0, init("r2"), peer_up("127.0.0.36", peer_asn=64606), writer_id="b/1", bmp_router_port=50002)
    bmp.feed([*at(0, *UP, **a), *r2])
    return a, bmp, clock, heard


def test_a_collector_that_was_cut_off_from_kafka_makes_no_other_router_silent() -> None:
    """librdkafka keeps the records for 300 s, and they have the times at which they were made."""
    a, bmp, clock, heard = _two_collectors()
    for second in range(10, 210, 10):
        clock.advance(10)
        bmp.feed([*(at(second, stats(0), **a) if second <= 50 else []), *_r2(second)])
        heard("r2")
    bmp.feed(at(second, stats(0), **a)[0] for second in range(60, 210, 10))
    clock.advance(1)
    assert heard("r2").silent_s < 55, "it was heard a second ago; from 55 on its overrides are withdrawn"


@pytest.mark.parametrize("writer", ["a/1", "new/1"])
def test_a_clock_that_jumps_ahead_makes_no_router_of_another_collector_silent(writer: str) -> None:
    """It is set, or a collector on a host with a wrong clock starts."""
    a, bmp, clock, heard = _two_collectors()
    for second in range(10, 60, 10):
        clock.advance(10)
        bmp.feed([*at(second, stats(0), **a), *_r2(second)])
        heard("r2")
    bmp.feed(at(51 + 100, init("r1"), writer_id=writer, bmp_router_port=50001))
    clock.advance(1)
    assert heard("r2").silent_s < 55


@pytest.mark.parametrize("others", [1, 3, 5, 9])
def test_a_dead_router_is_in_doubt_in_time_while_the_stream_is_slowed(others: int) -> None:
    bmp, clock = Bmp([]), ManualClock(T0)
    heard = _heard(bmp, clock)
    bmp.feed(at(0, *UP, writer_id="a/1"))
    bmp.feed(at(3600, stats(0), writer_id="a/1"))
    writers = [
        {"writer_id": f"c/{number}", "bmp_router": "203.0.113.9", "bmp_router_port": 40000 + number}
        for number in range(others)
    ]
    for second in range(10, 100, 10):
        clock.advance(10)
        bmp.feed([*at(second, stats(0), writer_id="a/1"), *(at(second, stats(0), **writer)[0] for writer in writers)])
        heard("r1")
    for second in range(100, 180, 10):  # r1 and its collector are dead since 90
        clock.advance(10)
        bmp.feed(at(second, stats(0), **writer)[0] for writer in writers)
    assert heard("r1").silent_s > 55, "80 s later"


def test_stale_paths_do_not_take_the_places_of_new_ones() -> None:
    """The neighbour and the router were restarted: the identifiers are others (RFC 7911: they mean nothing)."""
    bmp = Bmp(at(0, *UP[:2], *(update(as_path_id=number) for number in range(1, 11))))
    assert len(bmp.paths(P0)) == 10
    bmp.feed([log_close(20), *at(22, *UP[:2], *(update(as_path_id=number) for number in range(101, 111)), **AGAIN)])
    bmp.feed(beat(25, 200, AGAIN))
    assert [path.path_id for path in bmp.paths(P0)] == list(range(101, 111))


def test_sixteen_stale_paths_leave_none() -> None:
    bmp = Bmp(at(0, *UP[:2], *(update(as_path_id=number) for number in range(1, 17))))
    bmp.feed([log_close(20), *at(22, *UP[:2], *(update(as_path_id=number) for number in range(101, 117)), **AGAIN)])
    bmp.feed(beat(25, 200, AGAIN))
    assert set(bmp.targets(P0)) == {LINKS[1]}


def test_what_a_quiet_session_has_comes_back_when_it_is_heard() -> None:
    """No statistics for that instance, or its collector was cut off for 90 s. Its TCP session never ended."""
    bmp = two_sessions()  # until 50
    bmp.feed(beat(60, 150, {}))
    bmp.feed(beat(150, 300, {}, AGAIN))
    assert "r1" not in bmp.doubtful()
    assert bmp.targets(P1) == [LINKS[2]]


def test_a_batch_that_is_sent_again_after_half_a_minute_begins_no_session() -> None:
    """Its records have the times of the first time."""
    numbered = [{**line, "at": 0, "seq": number} for number, line in enumerate((*UP, update(P1)), 1)]
    bmp = Bmp([*numbered, *(stats(float(second), seq=second) for second in (10, 20, 30))])
    bmp.feed(numbered[:3])
    bmp.feed(stats(float(second), seq=second) for second in range(40, 200, 10))
    assert (bmp.targets(P0), bmp.targets(P1)) == ([LINKS[1]], [LINKS[1]])


def test_a_new_process_whose_numbers_are_higher_because_other_routers_came_first() -> None:
    """A container. r2 connects first this time and dumps its table, so r1's initiation message has a high number."""
    r2: dict[str, Any] = {"bmp_router_port": 50002}
    bmp = Bmp([{**line, "at": 0, "seq": number} for number, line in enumerate((*UP, update(P1)), 1)])
    bmp.feed([{**stats(10), "seq": 20}])
    first = at(40, init("r2"), peer_up("127.0.0.36", peer_asn=64606), **r2)
    bmp.feed([{**line, "seq": seq} for seq, line in zip((1, 2), first, strict=True)])
    bmp.feed([{**line, "at": 45, "seq": 1000 + number} for number, line in enumerate(UP)])
    bmp.feed(stats(float(second), seq=1000 + second) for second in range(50, 200, 10))
    assert bmp.paths(P1) == []
    assert bmp.targets(P0) == [LINKS[1]]


def test_a_process_that_is_killed_within_ten_seconds() -> None:
    bmp = Bmp([{**line, "at": 0, "seq": 1 + number} for number, line in enumerate((*UP, update(P1)))])
    bmp.feed([{**line, "at": 8, "seq": 1 + number} for number, line in enumerate(UP)])
    bmp.feed(stats(float(second), seq=second) for second in range(10, 200, 10))
    assert bmp.paths(P1) == []


def test_records_before_the_second_initiation_message_of_a_port() -> None:
    bmp = Bmp([{**line, "at": 0, "seq": 1 + number} for number, line in enumerate(UP)])
    bmp.feed([{**log_close(60), "seq": 50}])
    new = [{**line, "at": 65, "seq": 60 + number} for number, line in enumerate((*UP, update(P1)))]
    bmp.feed([*new[1:], new[0]])
    bmp.feed(stats(float(second), seq=second) for second in range(70, 200, 10))
    assert (bmp.targets(P0), bmp.targets(P1)) == ([LINKS[1]], [LINKS[1]])


def test_short_sessions_of_another_collector_do_not_replace_a_live_one() -> None:
    """The second collector closes at once, and the router tries again each second."""
    bmp = Bmp([*at(0, *UP), stats(10)])
    for number in range(9):
        session = {"writer_id": "default/9", "bmp_router_port": 52000 + number}
        bmp.feed([*at(11 + number, init(), **session), log_close(11.5 + number, **session)])
    bmp.feed(beat(20, 300, {}))
    assert "r1" not in bmp.doubtful()
    assert bmp.targets(P0) == [LINKS[1]]


def test_time_does_not_stand_still() -> None:
    """Ten collectors, one clock was an hour ahead for a moment; then a router dies."""
    bmp, clock = Bmp([]), ManualClock(T0)
    heard = _heard(bmp, clock)
    bmp.feed(at(0, *UP, writer_id="a/1"))
    bmp.feed(at(3600, stats(0), writer_id="a/1"))
    writers = [{"writer_id": f"c/{n}", "bmp_router": "203.0.113.9", "bmp_router_port": 40000 + n} for n in range(10)]
    for second in range(10, 900, 10):
        clock.advance(10)
        bmp.feed(at(second, stats(0), writer_id="a/1") if second < 100 else [])
        bmp.feed(at(second, stats(0), **writer)[0] for writer in writers)
        heard("r1")
    assert heard("r1").silent_s > 55, "800 s later"


@pytest.mark.parametrize("is_told", [True, False])
def test_a_collector_that_dies_amid_its_dump_takes_nothing_that_the_other_has(is_told: bool) -> None:
    bmp = Bmp(at(0, *UP, update(P1)))
    bmp.feed([log_close(20), *at(30, *UP, **AGAIN), *at(31, init(), peer_up(), **B)])
    if is_told:
        bmp.feed([log_close(32, **B)])
    bmp.feed(beat(35, 300, AGAIN))
    assert bmp.paths(P1) == []
    assert len(bmp.paths(P0)) == 1
    assert "r1" not in bmp.doubtful()


def test_a_collector_that_starts_again_and_again_makes_no_doubt_of_what_the_other_has() -> None:
    """It is killed (no memory) amid each dump, every 20 s; the first collector is well."""
    bmp = Bmp(at(0, *UP, update(P1)))
    bmp.feed([log_close(20), *at(30, *UP, **AGAIN)])
    lines = beat(35, 1200, AGAIN)
    for number, second in enumerate(range(31, 1200, 20)):
        lines += at(second, init(), peer_up(), writer_id=f"default/{100 + number}", bmp_router_port=51000 + number)
    lines.sort(key=lambda line: float(line["at"]))
    bmp.feed(lines)
    assert "r1" not in bmp.doubtful()
    assert bmp.targets(P0) == [LINKS[1]]


def test_a_session_is_not_whole_by_what_another_refreshed() -> None:
    """A tells all and ends. Then P1 is lost. B's dump, which began in the same second, comes later and lacks it."""
    bmp = Bmp(at(0, *UP, update(P1)))
    bmp.feed([log_close(20), *at(30, init(), **AGAIN), *at(30, init(), **B)])
    bmp.feed(at(31, peer_up(), **AGAIN) + at(31, peer_up(), **B) + at(31, update(), update(P1), **AGAIN))
    bmp.feed([log_close(33, **AGAIN), *at(40, update(), **B)])
    bmp.feed(beat(45, 600, B))
    assert bmp.paths(P1) == []
    assert bmp.targets(P0) == [LINKS[1]]


@pytest.mark.parametrize("dump_at", [104, 120])
def test_collectors_that_are_restarted_one_after_the_other_do_not_keep_what_was_lost_between(dump_at: int) -> None:
    """A vouches for all that B's new session has not dumped yet, ends, and is begun again 3 s later. P1 is lost at 117,
    when B's dump had not come to it (Cisco's initial-refresh delay, or a large table). Whoever is asked lacks it.
    """
    bmp = Bmp([*at(0, *UP, update(P1)), *at(1, *UP, update(P1), **B), *beat(10, 100, {}, B)])
    bmp.feed([log_close(100, **B), *at(103, init(), peer_up(), **C), stats(105), stats(110)])
    if dump_at < 117:  # the control: B tells P1, and then that it is lost
        bmp.feed(at(dump_at, update(), update(P1), **C))
    bmp.feed([log_close(115)])
    bmp.feed(at(117, update(P1, log_type="withdraw"), **C) if dump_at < 117 else [])
    bmp.feed(at(118, init(), peer_up(), **AGAIN))
    if dump_at > 117:
        bmp.feed(at(dump_at, update(), **C))
    bmp.feed(at(122, update(), **AGAIN))
    bmp.feed(beat(125, 600, AGAIN, C))
    assert bmp.paths(P1) == []
    assert bmp.targets(P0) == [LINKS[1]]
