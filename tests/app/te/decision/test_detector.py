"""The hysteresis of one link as a story: one line a window, with what is expected of it."""

import pytest

from app.config.thresholds import Thresholds
from app.te.cycle_state import LinkState
from app.te.decision.detector import step
from app.te.traffic.link import LinkLoad

# natural  carried  dropped  event   (percent of capacity; "-" for none)
STORIES = {
    "a slow evening": """
        70  70  0  -
        89  89  0  -
        90  90  0  opened
        95  88  0  open
        85  85  0  open
        81  81  0  open
        80  80  0  closed
        79  79  0  -
        89  89  0  -
        91  91  0  opened
    """,
    "relieved, but its natural load stays": """
        105  99  6  opened
        105  85  0  open
        105  85  0  open
        79   79  0  closed
    """,
    "moved-in traffic fills it": """
        60  96  0  -
        60  97  0  opened
        60  91  0  open
        60  90  0  open
        60  89  0  closed
    """,
    "discards act at once, and keep it open": """
        50  50  1  opened
        50  50  1  open
        50  50  0  closed
    """,
    "around the mark it opens once": """
        90  90  0  opened
        89  89  0  open
        91  91  0  open
        89  89  0  open
    """,
}


def load(natural: float, carried: float, dropped: float, moved_out: float = 0.0) -> LinkLoad:
    return LinkLoad(
        link="p/r1/a",
        capacity_bps=100.0,
        carried_bps=carried,
        dropped_bps=dropped,
        offered_bps=carried + dropped,
        natural_bps=natural,
        moved_in_bps=0.0,
        moved_out_bps=moved_out,
        samples=1000,
        error_share=0.05,
        saturated=carried >= 97 or dropped > 0,
    )


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_stories(story: str) -> None:
    state: LinkState | None = None
    for window, line in enumerate(story.split("\n")[1:-1]):
        natural, carried, dropped, expected = line.split()
        state, event = step(
            state, load(float(natural), float(carried), float(dropped)), Thresholds(), 1000 + 10 * window
        )
        assert (event or "-") == expected, line


def test_the_id_names_link_and_window_and_stays() -> None:
    opened, _ = step(None, load(95, 95, 0), Thresholds(), 1000)
    assert opened == LinkState("p/r1/a/1000", 1000, True)
    still, _ = step(opened, load(95, 95, 0), Thresholds(), 1010)
    assert still == opened
    closed, _ = step(still, load(70, 70, 0, moved_out=5), Thresholds(), 1020)
    assert closed == LinkState("p/r1/a/1000", 1000, False, peak_bps=5)
    again, event = step(closed, load(95, 95, 0, moved_out=4), Thresholds(), 1030)
    assert (again, event) == (LinkState("p/r1/a/1030", 1030, True, peak_bps=4), "opened")


def test_the_peak_is_the_most_moved_and_goes_with_the_last() -> None:
    state: LinkState | None = LinkState("id", 0, True)
    for moved_out, natural, peak in ((10, 100, 10), (30, 100, 30), (20, 100, 30), (20, 70, 30), (5, 70, 30)):
        state, _ = step(state, load(natural, 70, 0, moved_out), Thresholds(), 10)
        assert state is not None
        assert state.peak_bps == peak
    assert step(state, load(70, 70, 0, moved_out=0), Thresholds(), 10) == (None, None)


def test_stays_open_while_part_of_it_is_not_seen() -> None:
    opened, _ = step(None, load(95, 95, 0), Thresholds(), 1000)
    assert step(opened, load(60, 60, 0), Thresholds(), 1010, may_close=False) == (opened, "open")
