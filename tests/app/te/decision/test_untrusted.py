"""Links whose flows and counters contradict each other: what they may not do, and how that is told."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.te.decision.cycle import CycleResult
from app.te.explain.stories import explain_link, explain_prefix
from app.te.traffic.link import LinkWindow
from tests.app.te.decision.test_cycle import POP, PREFIXES, A, B, C, D, Desk, after, moved, spread
from tests.app.te.explain.test_stories import plan_of, rules
from tests.app.te.world import window
from tests.pops import G

OWN_OF_B = "50.0.0.0/16"


def lying(link: str, desk: Desk, carried_g: float, flows_g: Mapping[str, float], dropped_g: float = 0.0) -> LinkWindow:
    """A window whose flows say `flows_g`, whatever its counters do."""
    flows = {("r1", prefix): gbps for prefix, gbps in flows_g.items()}
    return window(POP, link, desk.start_s, carried_g, flows, dropped_g=dropped_g)


def test_it_receives_nothing_and_the_next_best_link_does() -> None:
    desk = Desk()
    result = desk.decide({A: spread(95)}, instead={B: lying(B, desk, 10, {OWN_OF_B: 20})})
    assert set(moved(result).values()) == {C}
    assert {one.link: one.feed for one in result.loads} == {A: "live", B: "untrusted", C: "live", D: "live"}
    assert [one.flow_ratio for one in result.loads if one.link == B] == [pytest.approx(2)]
    assert result.state.untrusted == (B,)


def test_where_only_it_could_have_room_that_is_the_reason() -> None:
    desk = Desk()
    full = {C: {"51.0.0.0/16": 78.0}, D: {"52.0.0.0/16": 78.0}}
    result = desk.decide({A: spread(95), **full}, instead={B: lying(B, desk, 10, {OWN_OF_B: 20})})
    assert not result.overrides
    assert {(one.link, one.reason) for one in result.refused} == {(A, "untrusted-link")}
    story = explain_prefix(plan_of(desk), PREFIXES[0])
    assert story.why == (
        f"{A} should be relieved, but untrusted-link: flows over counters of {B} were outside 0.7 to 1.3; now 200%"
    )
    assert rules(story) == {A: "natural", B: "untrusted-link", C: "no-room", D: "no-room"}


def test_it_triggers_nothing_and_says_what_it_would_have() -> None:
    desk = Desk()
    result = desk.decide({}, instead={A: lying(A, desk, 95, spread(190))})
    assert not result.overrides
    assert not result.congestion
    [refused] = result.refused
    assert (refused.prefix, refused.link, refused.reason) == ("*", A, "untrusted-link")
    assert refused.bps == pytest.approx(5 * G)
    story = explain_link(plan_of(desk), A, None)
    assert (story.usable, story.load.feed) == (False, "untrusted")
    assert [(one.prefix, one.rule) for one in story.refused] == [("*", "untrusted-link")]
    assert explain_prefix(plan_of(desk), PREFIXES[0]).why == (
        f"nothing is moved off its natural link {A}, untrusted-link: "
        f"flows over counters of {A} were outside 0.7 to 1.3; now 200%"
    )


def test_what_stands_is_held_on_it_and_off_it() -> None:
    desk = Desk(min_stay_s=0)
    first = desk.decide({A: spread(95)})
    assert set(moved(first).values()) == {B}
    for _ in range(3):
        at_b = {prefix: 2 * gbps for prefix, gbps in after(first, 60)[B].items()}
        held = desk.decide({A: after(first, 60)[A]}, instead={B: lying(B, desk, 6, at_b)})
    assert held.state.untrusted == (B,)
    assert moved(held) == moved(first)
    assert [event.state for event in held.congestion] == ["open"], "part of its natural load is not to be believed"
    for _ in range(3):
        at_a = {prefix: 2 * gbps for prefix, gbps in after(first, 60)[A].items()}
        held = desk.decide({B: after(first, 60)[B]}, instead={A: lying(A, desk, 54, at_a)})
    assert A in held.state.untrusted
    assert moved(held) == moved(first)
    assert not held.congestion


def test_full_and_trusted_before_it_is_relieved_whatever_its_flows_say() -> None:
    desk = Desk()
    desk.decide({A: spread(60)})
    result = desk.decide({}, instead={A: lying(A, desk, 100, spread(160), dropped_g=20)})
    assert result.overrides
    assert {one.feed for one in result.loads} == {"live"}


factor = st.sampled_from([0.2, 0.5, 1.0, 1.0, 2.0, 4.0])


@given(st.lists(st.tuples(st.floats(40, 130), factor, factor, factor), min_size=1, max_size=6))
def test_no_new_override_ever_leaves_or_enters_an_untrusted_link(
    story: list[tuple[float, float, float, float]],
) -> None:
    desk, before = Desk(), dict[str, str]()
    last: CycleResult | None = None
    for total_g, of_a, of_b, of_c in story:
        carried = after(last, total_g) if last else {A: spread(total_g)}
        carried[C] = {**carried.get(C, {}), "51.0.0.0/16": 20.0}
        carried[B] = {**carried.get(B, {}), OWN_OF_B: 20.0}
        windows = {}
        for link, times in ((A, of_a), (B, of_b), (C, of_c)):
            flows = {prefix: times * gbps for prefix, gbps in carried.get(link, {}).items()}
            true_g = sum(carried.get(link, {}).values())
            windows[link] = lying(link, desk, min(true_g, 100), flows, dropped_g=max(true_g - 100, 0))
        last = result = desk.decide({}, instead=windows)
        untrusted = set(result.state.untrusted)
        assert {one.link for one in result.loads if one.feed == "untrusted"} == untrusted
        for one in result.overrides:
            if before.get(one.prefix) != one.exit.link:
                assert one.exit.link not in untrusted
                assert max(one.natural, key=lambda home: home.share).link not in untrusted
        before = moved(result)
