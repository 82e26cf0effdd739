"""Whether a reaper lives, by what it leaves in the gobgpd."""

from app.actuation.reaper_note import KEY, SILENT_S, ReaperWatch
from app.clock import ManualClock


def test_a_note_that_changes_is_a_reaper_and_one_that_does_not_is_none() -> None:
    clock = ManualClock()
    watch = ReaperWatch(clock)
    assert watch.guards({KEY: b"1"}) is None, "it may have been written years ago"
    clock.advance(2)
    assert watch.guards({KEY: b"2"}) is True
    clock.advance(SILENT_S)
    assert watch.guards({KEY: b"2"}) is True
    clock.advance(1)
    assert watch.guards({KEY: b"2"}) is False
    clock.advance(1)
    assert watch.guards({KEY: b"3"}) is True


def test_without_any_note_there_is_none_after_a_while() -> None:
    clock = ManualClock()
    watch = ReaperWatch(clock)
    assert watch.guards({}) is None
    clock.advance(SILENT_S + 1)
    assert watch.guards({}) is False
