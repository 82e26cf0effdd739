"""The length of windows is that of the newest record."""

import msgspec

from app.web.conditions import is_quiet
from app.web.last_seen import LastSeen
from tests.app.web.records import WINDOW_S, window

T0 = 1_795_246_100


def test_windows_are_as_long_as_the_newest_record_says() -> None:
    last = LastSeen(WINDOW_S)
    assert last.seen(T0).window_s == WINDOW_S
    last.take_window(msgspec.structs.replace(window(T0), window_s=60))
    last.take_window(window(T0 - WINDOW_S))  # a repeat of an older one
    seen = last.seen(T0 + 200.0)
    assert (seen.window_end_s, seen.window_s) == (T0 + 60, 60)
    assert not is_quiet(T0 + 60, T0 + 200.0, seen.window_s)
