"""What a feed is worth: one line a window, with the verdict that is expected of it."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.thresholds import Thresholds
from app.te.evidence.trust import FEW_SAMPLES, MIN_RATIO_SAMPLES, Trust, judge
from app.te.traffic.link import LinkWindow
from app.te.traffic.observed import ObservedWindow, observe
from tests.app.te.world import WINDOW_S, natural_of, window
from tests.pops import G, link, pop

POP = pop(link("r1/a", 1), link("r1/b", 2))
A, B = POP.links
P = "203.0.113.0/24"
SAMPLES_PER_G = 29  # of a window at 1:32768, packets of 1,315 bytes

# carried  dropped  flows  verdict   (Gb/s of 100; "-" for none)
STORIES = {
    "an ordinary day": """
        50  0  50  live
        50  0  46  live
        70  0  75  live
    """,
    "counters that show half: told in the third window, forgiven in the second": """
        50  0  50   live *9
        50  0  100  live *2
        50  0  100  untrusted
        50  0  50   untrusted
        50  0  50   live *9
    """,
    "a rate of sampling that is not told": """
        50  0  25  untrusted *2
    """,
    "flows of a full link are more than it carries": """
        60   0   60   live *3
        97   0   150  live *30
        100  40  140  live *30
    """,
    "untrusted, and full before that was mended": """
        50   0  100  untrusted
        99   0  99   untrusted *40
        50   0  50   live
    """,
    "no flows": """
        50  0  50  live
        50  0  -   gap *30
        50  0  50  live
    """,
    "no flows of what is not worth any": """
        0.3  0  -  live
    """,
    "no counters": """
        50  0  50  live
        -   -  50  gap *17
        -   -  50  live
    """,
    "never any counters": """
        -  -  50   live
        -  -  0.1  live
    """,
    "silence is not zero": """
        50  0  50   live
        -   -  -    silent
        0   0  -    live
    """,
    "silent while untrusted": """
        50  0  100  untrusted
        -   -  -    silent
        50  0  100  untrusted
    """,
    "too few samples to tell": """
        0.2  0  0.02  live *20
    """,
    "what was untrusted and is idle now": """
        50   0  100  untrusted
        0.1  0  0.1  untrusted *17
        0.1  0  0.1  live
    """,
}


def number(text: str) -> float | None:
    return None if text == "-" else float(text)


def seen(start_s: int, carried: float | None, dropped: float | None, flows: float | None) -> LinkWindow:
    demand = {("r1", P): flows} if flows else {}
    return window(POP, A, start_s, carried, demand, round(SAMPLES_PER_G * (flows or 0)), dropped or 0.0)


def observed(*history: Mapping[str, LinkWindow]) -> ObservedWindow:
    return observe(history, natural_of(POP, {}))


class Link:
    """Judged window after window, with a history as long as the real one."""

    def __init__(self) -> None:
        # Another link of the PoP tells what a sample is worth.
        self.history = [{A: seen(-WINDOW_S, None, None, None), B: window(POP, B, -WINDOW_S, 29, {("r1", P): 1}, 29)}]
        self.untrusted = False

    def next(self, carried: float | None, dropped: float | None, flows: float | None) -> Trust:
        start_s = self.history[-1][A].window_start_s + WINDOW_S
        other = window(POP, B, start_s, 1, {("r1", P): 1}, SAMPLES_PER_G)
        self.history = [*self.history[-17:], {A: seen(start_s, carried, dropped, flows), B: other}]
        trust = judge(observed(*self.history), Thresholds(), 90.0, [A] if self.untrusted else [])[A]
        self.untrusted = trust.untrusted
        return trust


@pytest.mark.parametrize("story", STORIES)
def test_stories(story: str) -> None:
    one, told, expected = Link(), [], []
    for line in STORIES[story].strip().splitlines():
        carried, dropped, flows, verdict, *times = line.split()
        for _ in range(int(times[0].lstrip("*")) if times else 1):
            told.append(one.next(number(carried), number(dropped), number(flows)).feed)
            expected.append(verdict)
    assert told == expected


def test_the_ratio_is_decayed_and_told_where_it_means_something() -> None:
    one = Link()
    assert one.next(50, 0, 50).ratio == pytest.approx(1.0, abs=0.01)
    ratio = one.next(50, 0, 100).ratio
    assert ratio is not None
    assert 1.5 < ratio < 1.6, "the newer window counts a little more"
    assert Link().next(None, None, 50).ratio is None
    assert Link().next(100, 5, 140).ratio is None
    assert Link().next(0.1, 0, 0.1).ratio is None


def test_flows_without_a_route_are_flows() -> None:
    """BMP is late: nothing can be moved, and nothing contradicts the counters."""
    unrouted = window(POP, A, 0, 50, {("r1", P): 1}, SAMPLES_PER_G, unroutable_bytes=round(49 * G * WINDOW_S / 8))
    trust = judge(observed({A: unrouted}), Thresholds(), 90.0)[A]
    assert trust.feed == "live"
    assert trust.ratio == pytest.approx(1.0)


@pytest.mark.parametrize("ratio", [0.6, 1.4])
def test_the_band_widens_with_the_sampling_error(ratio: float) -> None:
    """A hundred samples are out of the band by chance, a thousand are not; what was untrusted stays so meanwhile."""
    few = window(POP, A, 0, 10, {("r1", P): 10 * ratio}, round(100 * ratio))
    many = window(POP, A, 0, 10, {("r1", P): 10 * ratio}, round(1000 * ratio))
    assert [judge(observed({A: one}), Thresholds(), 90.0)[A].untrusted for one in (few, many)] == [False, True]
    assert judge(observed({A: few}), Thresholds(), 90.0, [A])[A].untrusted
    assert not judge(observed({A: window(POP, A, 0, 10, {("r1", P): 10}, 100)}), Thresholds(), 90.0, [A])[A].untrusted


def test_what_a_sample_is_worth_is_the_link_s_own() -> None:
    """Another link is sampled ten times as often: this one still has 58 samples to expect, and so nothing to tell."""
    rarely = window(POP, A, 0, 2, {("r1", P): 1}, SAMPLES_PER_G)
    often = window(POP, B, 0, 10, {("r1", P): 10}, 100 * SAMPLES_PER_G)
    assert judge(observed({A: rarely, B: often}), Thresholds(), 90.0)[A].ratio is None


loads = st.floats(0, 100)
windows_of = st.tuples(st.none() | loads, st.sampled_from([0.0, 0.0, 0.0, 5.0]), st.none() | st.floats(0, 300))


@given(st.lists(windows_of, max_size=20), st.floats(0, 300), st.booleans())
def test_saturation_never_changes_a_verdict(
    past: Sequence[tuple[float | None, float, float | None]], flows: float, dropping: bool
) -> None:
    """Whatever it shows: the link that needs help is never barred for being full."""
    one = Link()
    for carried, dropped, flow in past:
        one.next(carried, dropped, flow)
    before = one.untrusted
    for _ in range(20):
        assert one.next(50.0 if dropping else 98.0, 5.0 if dropping else 0.0, flows).untrusted == before


@given(st.lists(windows_of, min_size=1, max_size=20))
def test_silence_and_only_silence_is_silent(past: Sequence[tuple[float | None, float, float | None]]) -> None:
    one = Link()
    for carried, dropped, flow in past:
        trust = one.next(carried, dropped, flow)
        nothing = carried is None and not one.history[-1][A].flow_bps
        assert (trust.feed == "silent") is nothing
        assert trust.untrusted or trust.feed != "untrusted"


def test_the_constants_mean_what_they_say() -> None:
    assert 2.718281828**-FEW_SAMPLES < 1 / 20_000
    assert 1.96 / MIN_RATIO_SAMPLES**0.5 < 0.2


def judged(*history: LinkWindow) -> Trust:
    return judge(observed(*({A: one} for one in history)), Thresholds(), 90.0)[A]


def test_a_link_whose_interfaces_were_renumbered_is_untrusted_even_if_nothing_comes() -> None:
    trust = judged(window(POP, A, 0, None, {}, renumbered=True))
    assert (trust.feed, trust.untrusted) == ("untrusted", True)


def test_counters_that_come_and_say_nothing_are_a_gap() -> None:
    heard = window(POP, A, 0, None, {("r1", P): 50}, counters_heard=True)
    assert judged(heard).feed == "gap"
    assert judged(window(POP, A, 0, None, {("r1", P): 50})).feed == "live", "never any counters"


@pytest.mark.parametrize(
    ("last", "flows", "samples", "feed"),
    [
        pytest.param(0.001, None, 0, "gap", id="idle by its last counters, and no flows"),
        pytest.param(30.0, 30.0, 900, "gap", id="flows as expected"),
        pytest.param(30.0, None, 0, "silent", id="flows are missing"),
        pytest.param(None, None, 0, "silent", id="the next reading is overdue"),
    ],
)
def test_flows_bridge_the_time_between_two_polls(
    last: float | None, flows: float | None, samples: int, feed: str
) -> None:
    demand = {("r1", P): flows} if flows else {}
    last_bps = None if last is None else last * G
    one = window(POP, A, 0, None, demand, samples, counters_heard=True, last_bps=last_bps)
    assert judged(one).feed == feed
