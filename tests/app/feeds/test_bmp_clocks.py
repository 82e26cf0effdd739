"""The stream's time of BMP topics whose collectors' hosts disagree about the time."""

import pytest

from app.feeds.bmp_clocks import WRITERS_MAX, WriterClock, clocks_apart, stream_time

Heard = tuple[str, float]


def times(*heard: Heard) -> tuple[list[float], dict[str, WriterClock]]:
    """The stream's time after each record."""
    writers: dict[str, WriterClock] = {}
    seen, now_s = [], 0.0
    for writer, at_s in heard:
        now_s = stream_time(writers, now_s, writer, at_s)
        seen.append(now_s)
    return seen, writers


def test_the_time_of_one_collector_is_kafkas() -> None:
    seen, _ = times(("a", 100.0), ("a", 110.0), ("a", 109.0), ("a", 500.0))
    assert seen == [100.0, 110.0, 110.0, 500.0]


@pytest.mark.parametrize("ahead_s", [-3600.0, -40.0, 40.0, 3600.0])
def test_each_collector_counts_by_its_own_clock(ahead_s: float) -> None:
    """Also once it is the only one that is heard."""
    both = [(name, at_s) for at in range(5) for name, at_s in (("a", 10_000.0 + at), ("b", 10_000.0 + at + ahead_s))]
    seen, writers = times(*both)
    assert seen[-1] - seen[1] == pytest.approx(4.0)
    assert clocks_apart(writers, seen[-1]) is not None
    for name, at_s in (("a", 10_014.0), ("b", 10_014.0 + ahead_s)):
        alone, _ = times(*both, (name, at_s))
        assert alone[-1] == pytest.approx(seen[-1] + 10.0, abs=1.0)


def test_records_that_come_late_do_not_make_the_time_run_fast() -> None:
    """Batches of two collectors come in any order."""
    late = [(name, 100.0 + second - (second % 7 if name == "b" else 0)) for second in range(1000) for name in "ab"]
    seen, writers = times(*late)
    assert seen[-1] == 1099.0
    assert clocks_apart(writers, seen[-1]) is None


def test_a_clock_that_is_set_back_goes_on_at_once() -> None:
    """Else nobody would be silent for an hour. It is a little slower, until the clock has caught up."""
    seen, _ = times(("a", 5000.0), ("a", 1400.0), ("a", 1410.0))
    assert seen == [5000.0, 5000.0, 5009.0]
    seen, writers = times(("a", 5000.0), *(("a", 1400.0 + 10 * step) for step in range(4000)))
    assert seen[-1] == 1400.0 + 10 * 3999
    assert writers["a"].offset_s == 0


def test_a_record_that_is_sent_again_sets_no_clock() -> None:
    seen, _ = times(("a", 160.0), ("a", 105.0), ("a", 161.0))
    assert seen == [160.0, 160.0, 161.0]


def test_a_collector_that_starts_again_shows_its_pause() -> None:
    """With another process id, on the same host."""
    seen, _ = times(("default/7", 100.0), ("default/9", 400.0))
    assert seen == [100.0, 400.0]


def test_many_collectors_are_not_all_remembered() -> None:
    _, writers = times(*((f"default/{number}", float(number)) for number in range(WRITERS_MAX + 9)))
    assert len(writers) == WRITERS_MAX
