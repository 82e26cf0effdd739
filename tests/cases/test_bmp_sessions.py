"""Sessions that begin again, have peers of their own, or are reported by collectors whose clocks differ."""

from typing import Any

import pytest

from agents.routes import BmpHearing
from app.clock import ManualClock
from app.feeds.bmp_sessions import WAITING_SESSIONS_MAX
from app.feeds.rib_feed import PATHS_MAX
from tests.cases.bmp import T0, Bmp, Line, init, message, peer_up, update
from tests.cases.test_bmp_more import AGAIN, LINKS, P0, P1, UP, log_close, stats

NEIGHBOUR = "127.0.0.32"
THIRD: dict[str, Any] = {"bmp_router_port": 50010}


def at(second: float, *lines: Line, **more: Any) -> list[Line]:
    return [{**line, "at": second, **more} for line in lines]


# the dump of a session that began again


def test_a_dump_that_begins_after_half_a_minute_loses_nothing() -> None:
    """Cisco's `bmp server initial-refresh delay`: the peers are up at once, their routes are asked for later."""
    bmp = Bmp(at(0, *UP, update(P1)))
    bmp.feed([log_close(20), *at(22, init(), peer_up(), **AGAIN)])
    bmp.feed(stats(float(second), **AGAIN) for second in range(25, 75, 5))
    assert len(bmp.paths(P0)) == 1
    bmp.feed(at(75, update(), update(P1), **AGAIN))
    assert (bmp.targets(P0), bmp.targets(P1)) == ([LINKS[1]], [LINKS[1]])


@pytest.mark.parametrize("is_up_late", [False, True])
def test_peers_that_are_dumped_one_after_the_other_stay(is_up_late: bool) -> None:
    """Junos: a peer's table follows its peer_up, and the next peer waits for that, with or without its peer_up."""
    prefixes = [f"20.0.{third}.0/24" for third in range(10, 60)]
    bmp = Bmp(at(0, init(), peer_up(), *map(update, prefixes), peer_up(NEIGHBOUR), update(P1, NEIGHBOUR)))
    bmp.feed([log_close(20), *at(22, init(), peer_up(), **AGAIN)])
    if not is_up_late:
        bmp.feed(at(22, peer_up(NEIGHBOUR), **AGAIN))
    for second, prefix in enumerate(prefixes, 23):
        bmp.feed(at(second, update(prefix), **AGAIN))
    assert len(bmp.paths(P1)) == 1
    bmp.feed(at(80, peer_up(NEIGHBOUR), update(P1, NEIGHBOUR), stats(0), **AGAIN))
    assert bmp.targets(P1) == [LINKS[2]]


def test_a_collector_that_counts_from_the_beginning_began_a_new_session() -> None:
    """A container: process 1 again, and a router that always uses the same port. Nobody wrote a log_close."""
    bmp = Bmp([{**line, "at": 0, "seq": 500 + number} for number, line in enumerate((*UP, update(P1)))])
    bmp.feed([{**line, "at": 40, "seq": 1 + number} for number, line in enumerate(UP)])
    bmp.feed(stats(float(second), seq=second) for second in range(50, 100, 10))
    assert (bmp.targets(P0), bmp.paths(P1)) == ([LINKS[1]], [])


def test_a_batch_that_is_written_twice_begins_no_session() -> None:
    """pmbmpd without an idempotent producer."""
    numbered = [{**line, "at": 0, "seq": number} for number, line in enumerate((*UP, update(P1)), 1)]
    bmp = Bmp([*numbered, *numbered[:2]])
    assert (bmp.targets(P0), bmp.targets(P1)) == ([LINKS[1]], [LINKS[1]])


# two sessions of one router, each with peers of its own (Nokia: one for each instance)


def two_sessions() -> Bmp:
    bmp = Bmp(at(0, *UP))
    bmp.feed(at(1, init(), peer_up(NEIGHBOUR), update(P1, NEIGHBOUR), **AGAIN))
    bmp.feed(stats(float(second), **session) for second in range(10, 60, 10) for session in ({}, AGAIN))
    assert (bmp.targets(P0), bmp.targets(P1)) == ([LINKS[1]], [LINKS[2]])
    return bmp


def test_a_session_does_not_vouch_for_the_peers_of_another() -> None:
    """It ends and never returns: its neighbour's paths are doubtful, and later gone; then the others are targets."""
    bmp = two_sessions()
    bmp.feed([log_close(60, **AGAIN), stats(70)])
    assert (bmp.targets(P1), bmp.doubtful()) == ([], {"r1"})
    bmp.feed(stats(float(second)) for second in range(80, 200, 10))
    assert (bmp.peers(), bmp.paths(P1), bmp.targets(P0)) == (["127.0.0.31"], [], [LINKS[1]])


def test_what_such_a_session_lost_goes_when_it_comes_back() -> None:
    bmp = two_sessions()
    bmp.feed([log_close(60, **AGAIN), stats(70)])
    bmp.feed(at(80, init(), peer_up(NEIGHBOUR), update("20.0.2.0/24", NEIGHBOUR), **THIRD))
    bmp.feed(stats(float(second), **session) for second in range(90, 200, 10) for session in ({}, THIRD))
    assert (bmp.paths(P1), bmp.targets(P0), bmp.targets("20.0.2.0/24")) == ([], [LINKS[1]], [LINKS[2]])


def test_two_sessions_outlive_a_restart_of_the_program() -> None:
    """Which session reported which peer is in the rows."""
    bmp = two_sessions()
    for _ in range(3):
        bmp.state.write_rows()
        bmp.state.write_progress()
    bmp.state.load()
    bmp.feed([log_close(60, **AGAIN), stats(70)])
    assert bmp.doubtful() >= {"r1"}


@pytest.mark.parametrize(
    ("rib", "name"),
    [({"is_post": 0}, "pre-policy Adj-RIB-In"), ({"peer_type": 3, "is_loc": 1, "is_in": 0, "is_post": 0}, "Loc-RIB")],
)
def test_a_router_that_reports_another_rib_only_is_named(rib: dict[str, Any], name: str) -> None:
    """The default of some routers; all of its peers are up, and it has no path."""
    bmp = Bmp([init(), peer_up(), *(update(f"20.0.{third}.0/24", **rib) for third in range(50))])
    assert f"50 of the {name} were read" in bmp.notices()["bmp-no-routes", "r1"]
    bmp.feed([update()])
    assert bmp.kinds() == set()


# collectors whose clocks differ


@pytest.mark.parametrize("ahead_s", [40.0, 3600.0])
def test_a_dead_router_is_not_believed_because_its_collectors_clock_is_ahead(ahead_s: float) -> None:
    """The topics have the times of the hosts that write (CreateTime)."""
    bmp = Bmp([])
    for second in range(0, 60, 10):
        bmp.feed(at(second + ahead_s, *(UP if not second else [stats(0)])))
        bmp.now_s = T0 + second
        assert "r1" not in bmp.doubtful()
    assert "ahead" in bmp.notices()["bmp-clock-ahead", "rhv1000"]
    bmp.now_s = T0 + 85
    assert "r1" in bmp.doubtful()


@pytest.mark.parametrize("ahead_s", [40, 3600])
def test_a_clock_that_is_ahead_makes_no_router_of_another_collector_doubtful(ahead_s: int) -> None:
    """Each router's silence is counted by the clock of its own collector, in the actuator, too."""
    bmp, clock = Bmp([]), ManualClock(T0)
    heard = BmpHearing(lambda: bmp.state.feeds["rhv1000"], lambda: True, clock)
    one, two = {"writer_id": "a/1"}, {"writer_id": "b/1", "bmp_router_port": 50002}
    bmp.feed(at(ahead_s, *UP, **one))
    bmp.feed(at(0, init("r2"), peer_up("127.0.0.36", peer_asn=64606), **two))
    for second in range(10, 60, 10):
        bmp.feed(at(second + ahead_s, stats(0), **one))
        bmp.feed(at(second, message("stats", peer_ip="127.0.0.36"), **two))
        clock.advance(10)
    assert not heard("r1").doubtful
    assert not heard("r2").doubtful
    assert "a/1 is" in bmp.notices()["bmp-clocks-differ", "rhv1000"]
    for second in range(60, 110, 10):
        bmp.feed(at(second, message("stats", peer_ip="127.0.0.36"), **two))
    assert heard("r1").doubtful, "its collector is dead, and the time of the other goes on"


def test_of_two_sessions_that_begin_together_either_is_enough_later() -> None:
    """A router restarts and reports to both of its collectors. Months later one of them dies for good."""
    bmp = Bmp(at(0, *UP))
    bmp.feed([log_close(20), *at(30, init(), peer_up(), update(), **AGAIN), *at(31, init(), peer_up(), **THIRD)])
    bmp.feed(at(32, update(), **THIRD))
    bmp.feed(stats(float(second), **session) for second in range(40, 400, 10) for session in (AGAIN, THIRD))
    bmp.feed(stats(float(second), **AGAIN) for second in range(400, 500, 10))
    assert "r1" not in bmp.doubtful()
    assert bmp.targets(P0) == [LINKS[1]]


def test_sessions_for_each_instance_that_begin_together_are_whole_together() -> None:
    bmp = two_sessions()
    bmp.feed([log_close(60), log_close(60, **AGAIN)])
    ours, theirs = {"bmp_router_port": 50020}, {"bmp_router_port": 50021}
    bmp.feed([*at(70, init(), peer_up(), **ours), *at(71, init(), peer_up(NEIGHBOUR), **theirs)])
    bmp.feed([*at(72, update(), **ours), *at(72, update(P1, NEIGHBOUR), **theirs)])
    bmp.feed(stats(float(second), **session) for second in range(80, 200, 10) for session in (ours, theirs))
    assert "r1" not in bmp.doubtful()
    assert (bmp.targets(P0), bmp.targets(P1)) == ([LINKS[1]], [LINKS[2]])


def test_a_stranger_does_not_wait_and_is_named() -> None:
    """Only sessions from addresses of the inventory may still turn out to be a router's."""
    bmp = Bmp(at(0, *UP))
    bmp.feed(at(1, update(bmp_router="203.0.113.9", bmp_router_port=port))[0] for port in range(1000, 1200))
    assert not bmp.state.feeds[bmp.pop.name].tracker.is_waiting
    assert "bmp-unnamed" in bmp.kinds()


def test_many_sessions_that_wait_are_given_up() -> None:
    bmp = Bmp(at(0, *UP))
    bmp.feed(at(1, update(bmp_router_port=port))[0] for port in range(1000, 1000 + 2 * WAITING_SESSIONS_MAX))
    assert bmp.sessions.ignored["unknown-router"] == WAITING_SESSIONS_MAX


def test_a_peer_has_only_so_many_paths_of_a_prefix() -> None:
    """ADD-PATH (RFC 7911): an identifier is any number of 32 bits, and a row has to have room for all of them."""
    bmp = Bmp(at(0, *UP))
    bmp.feed(at(1, update(as_path_id=number))[0] for number in range(1, 2 * PATHS_MAX))
    assert len(bmp.paths(P0)) == PATHS_MAX
    bmp.feed(at(2, update(as_path_id=1, log_type="withdraw"), update(as_path_id=99)))
    assert bmp.paths(P0)[-1].path_id == 99


def test_one_clock_that_jumped_and_was_put_right_is_forgotten() -> None:
    bmp = Bmp(at(0, *UP))
    bmp.feed([stats(3600.0), *(stats(float(second)) for second in range(10, 50_000, 10))])
    assert bmp.sessions.at_s == bmp.sessions.heard["r1"] == T0 + 49_990
