"""How long routers have been silent, as the actuator asks it."""

from math import inf

from agents.routes import BmpHearing
from app.clock import ManualClock
from app.feeds.bmp import BmpRecord, decode
from app.feeds.bmp_memory import Sessions
from app.feeds.rib_feed import RibFeed
from app.te.routing.heard import Heard
from app.te.routing.rib import Rib
from tests.agents.test_routes import DATA, DEMO_POP, Rig


def test_sessions_of_a_row_without_times_go_on() -> None:
    """Rows that an earlier version wrote: the session must not seem to begin again."""
    old = Sessions(applied=7, routers={"default/22328|127.0.0.1|51512": "r1"})
    feed = RibFeed(DEMO_POP, Rib(), old)
    feed.apply(parsed("gobgpd_peer_up"), 100.0)
    feed.apply(parsed("gobgpd_update"), 100.0)
    assert feed.sessions.ignored == {}
    assert feed.doubtful(100.0) == {"r2"}


def parsed(name: str) -> BmpRecord:
    record = decode((DATA / f"{name}.json").read_bytes())
    assert isinstance(record, BmpRecord)
    return record


def test_silence_is_kafkas_time_between_records_and_ours_after_the_last() -> None:
    """So a clock that is wrong by a day doubts nobody, and a start after an hour does not believe what it reads."""
    rig, clock = Rig(), ManualClock(1_000_000.0)
    hearing = BmpHearing(lambda: rig.state.feeds["rhv1000"], lambda: False, clock)
    assert hearing("r1") == Heard(inf, doubtful=True)
    rig.feed("gobgpd_init", "gobgpd_peer_up", at_s=100.0)
    assert hearing("r1") == Heard(0.0, doubtful=False)
    clock.advance(20)
    assert hearing("r1") == Heard(20.0, doubtful=False)
    clock.advance(11)
    assert hearing("r1") == Heard(31.0, doubtful=True)
    rig.feed("frr_init", first=2, at_s=150.0)
    assert hearing("r1") == Heard(50.0, doubtful=True)
    assert hearing("r2") == Heard(0.0, doubtful=False)


def test_who_was_silent_before_a_start_is_in_doubt_at_once_but_no_longer_than_since_then() -> None:
    """A wrong clock then costs no override: the next record comes before a lease is cut."""
    rig, clock = Rig(), ManualClock(1_000_000.0)
    read: list[bool] = []
    hearing = BmpHearing(lambda: rig.state.feeds["rhv1000"], lambda: bool(read), clock)
    rig.feed("gobgpd_init", "gobgpd_peer_up", at_s=clock.now_s() - 3600)
    assert hearing("r1") == Heard(0.0, doubtful=False), "there may be more to read"
    read.append(True)
    assert hearing("r1") == Heard(30.0, doubtful=False)
    clock.advance(5)
    assert hearing("r1") == Heard(35.0, doubtful=True)
    rig.feed("gobgpd_update", first=2, at_s=clock.now_s() - 3600)
    assert hearing("r1").silent_s == 0, "and it is heard again, whatever our clock says"
    rig.restart()
    assert hearing("r1").silent_s == inf, "until its rows and the topic are read again"
