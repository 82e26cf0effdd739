"""After a change on a link its effect is awaited before more is moved, unless it is still saturated."""

from app.te.explain.stories import explain_link, explain_prefix
from tests.app.te.decision.test_cycle import POP, PREFIXES, A, B, Desk, after, moved, spread
from tests.app.te.explain.test_stories import plan_of
from tests.app.te.world import window


def test_more_is_moved_only_when_a_whole_window_shows_the_effect() -> None:
    desk = Desk()
    first = desk.decide({A: spread(95)})
    second = desk.decide(after(first, 106))
    assert moved(second) == moved(first)
    [waiting] = second.refused
    assert (waiting.prefix, waiting.link, waiting.reason) == ("*", A, "settling")
    assert waiting.bps > 1e9
    third = desk.decide(after(first, 106))
    assert len(third.overrides) == 2
    assert not third.refused


def test_it_is_told_why_nothing_happens() -> None:
    desk = Desk()
    first = desk.decide({A: spread(95)})
    desk.decide(after(first, 106))
    stays = next(prefix for prefix in PREFIXES if prefix not in moved(first))
    assert explain_prefix(plan_of(desk), stays).why.endswith(
        "the goal is 90%; settling: prefixes moved off it so recently that no whole window shows the effect yet"
    )
    assert [(one.prefix, one.rule) for one in explain_link(plan_of(desk), A, None).refused] == [("*", "settling")]


def test_a_link_that_still_drops_does_not_wait() -> None:
    desk = Desk()
    first = desk.decide({A: spread(95)})
    full = window(POP, A, desk.start_s, 100, {("r1", prefix): 12 for prefix in after(first, 1)[A]}, dropped_g=8)
    second = desk.decide({B: after(first, 120)[B]}, instead={A: full})
    assert len(second.overrides) > len(first.overrides)


def test_what_lost_its_path_does_not_wait_either() -> None:
    desk = Desk()
    first = desk.decide({A: spread(120)})
    lost = min(prefix for prefix, exit_link in moved(first).items() if exit_link == B)
    desk.rib.withdraw("r1", lost, "10.0.0.2")
    second = moved(desk.decide(after(first, 120)))
    assert second.keys() == moved(first).keys()
    assert second[lost] != B
