"""The watermark and what it closes."""

import msgspec

from app.config.thresholds import WindowSettings
from app.te.traffic.premises import WindowTiming
from app.te.traffic.windows import CATCH_UP_WINDOWS, Progress

WINDOWS = WindowTiming.of(WindowSettings(length_s=10, grace_s=2, refresh_s=2))
T0 = 1_795_246_100


def progress(watermark_s: float, closed_up_to_s: int | None = None) -> Progress:
    return Progress(watermark_s=watermark_s, closed_up_to_s=closed_up_to_s)


def test_the_first_windows_to_close_are_those_with_data_before_the_watermark() -> None:
    first = progress(T0 + 32)
    assert list(first.closable(WINDOWS, {T0 + 10})) == [T0 + 10, T0 + 20]
    assert first.closed_up_to_s == T0 + 30


def test_data_of_the_future_does_not_make_the_present_late() -> None:
    first = progress(T0 + 12)
    assert list(first.closable(WINDOWS, {T0 + 60})) == []
    assert first.closed_up_to_s == T0 + 10
    assert first.open_from_s <= T0 + 10


def test_after_a_long_gap_only_windows_with_data_are_closed() -> None:
    after = progress(T0 + 10 * CATCH_UP_WINDOWS + 22, closed_up_to_s=T0)
    assert list(after.closable(WINDOWS, {T0 + 50, T0 + 20})) == [T0 + 20, T0 + 50]
    assert after.closed_up_to_s == T0 + 10 * CATCH_UP_WINDOWS + 20


def test_a_record_from_1970_is_one_window_not_a_hundred_million() -> None:
    first = progress(T0 + 12)
    assert list(first.closable(WINDOWS, {0})) == [0]
    assert first.closed_up_to_s == T0 + 10


def test_the_watermark_never_goes_back() -> None:
    marked = Progress(closed_up_to_s=T0)
    marked.mark("purge_init", "a", T0 + 10.0, 2)
    marked.mark("purge_close", "a", T0 + 11.0, 2)
    marked.mark("purge_init", "b", T0 + 9.0, 2)
    assert marked.watermark_s == T0 + 8


def test_a_row_of_an_earlier_version_is_taken_up_and_nothing_opens_again() -> None:
    """It knew one set of open purges, whoever wrote them."""
    old = {"applied": 7, "closed_up_to_s": T0, "watermark_s": T0 + 3.0, "last_purge_s": T0 + 5.0}
    row = msgspec.msgpack.decode(msgspec.msgpack.encode(old | {"open_purges": {"w/1": T0 + 5.0}}), type=Progress)
    row.mark("purge_init", "w/2", T0 - 30.0, 2)
    assert (row.watermark_s, row.open_from_s) == (T0 + 3.0, T0)
    assert list(row.closable(WINDOWS, {T0 - 20})) == []
