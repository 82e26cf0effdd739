"""The read model: bounded, untouched by repeats, and sure of what a feed is worth."""

import msgspec

from app.clock import utc
from app.contract.schemas import Control, Notice, Refused, Released
from app.web.documents import LinkView, TruthPoint
from app.web.pop_model import EVENTS_MAX, HISTORY_S, PopModel
from tests.app.web.records import (
    FULL,
    POP,
    PREFIX,
    ROOMY,
    WINDOW_S,
    actuation,
    congestion,
    decision,
    override,
    sources,
    status,
    window,
)
from tests.pops import demo_pop

T0 = 1_700_000_000


def new_model() -> PopModel:
    return PopModel(demo_pop(), WINDOW_S, 0.9, [POP], 0.02)


def full(model: PopModel, now_s: float) -> LinkView:
    return next(view for view in model.links(now_s) if view.link == FULL)


def test_it_knows_every_link_of_the_inventory_before_the_first_record() -> None:
    model = new_model()
    assert [view.link for view in model.links(T0)] == list(demo_pop().links)
    assert {(view.feed, view.quiet) for view in model.links(T0)} == {(None, False)}
    assert (model.state(T0).told_until, model.state(T0).quiet) == (None, False)
    assert model.overrides() is None
    assert model.snapshot(T0).overrides is None


def test_history_is_bounded_and_keeps_the_newest() -> None:
    model = new_model()
    count = 2 * HISTORY_S // WINDOW_S
    for number in range(count):
        model.take_window(window(T0 + number * WINDOW_S))
    points = model.snapshot(T0).windows[FULL]
    assert len(points) == HISTORY_S // WINDOW_S
    assert points[-1].end_s == T0 + count * WINDOW_S


def test_a_feed_is_what_its_newest_window_says() -> None:
    model = new_model()
    for number, feed in enumerate(("live", "gap", "untrusted", "silent")):
        start_s = T0 + number * WINDOW_S
        model.take_window(msgspec.structs.replace(window(start_s), feed=feed))
        view = full(model, start_s + WINDOW_S + 5)
        assert (view.feed, view.quiet) == (feed, False)


def test_what_a_silent_link_carried_is_not_zero() -> None:
    model = new_model()
    silent = msgspec.structs.replace(window(T0, natural=0.2), feed="silent", carried_bps=None, dropped_bps=None)
    model.take_window(silent)
    (point,) = model.snapshot(T0).windows[FULL]
    assert (point.carried_bps, point.dropped_bps, point.natural_bps) == (None, None, 20e9)


def test_a_link_and_then_its_pop_are_quiet_when_nothing_is_told() -> None:
    model = new_model()
    model.take_window(window(T0))
    model.take_window(window(T0 + 10, ROOMY))
    assert not full(model, T0 + WINDOW_S + 30).quiet
    assert full(model, T0 + WINDOW_S + 31).quiet
    assert not model.state(T0 + WINDOW_S + 31).quiet, "the other link still tells"
    assert model.state(T0 + WINDOW_S + 41).quiet
    assert model.state(T0).told_until == utc(T0 + 20)


def test_a_halt_and_the_egress_mismatch_are_told_while_they_last() -> None:
    model, order = new_model(), Control(pop="*", halt=True, by="ada", at=utc(T0))
    assert model.state(T0).egress_mismatch_share is None
    model.take_halt(order)
    model.take_decision(msgspec.structs.replace(decision(1, T0), egress_mismatch_share=0.03, barred="egress-mismatch"))
    first = model.changes(T0 + 15)
    assert first.state is not None
    assert (first.state.halted, first.state.egress_mismatch_share) == (order, 0.03)
    assert first.state.barred == "egress-mismatch"
    assert model.changes(T0 + 16).state is None
    model.take_halt(None)
    later = model.changes(T0 + 17)
    assert later.state is not None
    assert later.state.halted is None


def test_what_is_wrong_is_part_of_the_state_and_told_once() -> None:
    model, end_s = new_model(), T0 + WINDOW_S
    model.take_window(window(T0))
    model.take_decision(decision(1, T0))
    model.take_sources(sources(T0, Notice("capacity-differs", FULL, "it differs")))
    model.take_status(status(end_s))
    model.take_silent(frozenset())
    first = model.changes(end_s + 5).state
    assert first is not None
    assert [notice.kind for notice in first.notices] == ["capacity-differs"]
    assert {part.state for part in first.components} == {"up"}
    assert model.changes(end_s + 6).state is None
    model.take_sources(sources(T0))
    model.take_status(status(end_s - 5, down=("r1",)))
    assert model.changes(end_s + 7).state is None, "repeats and older records"
    dead = model.changes(end_s + 21).state
    assert dead is not None
    assert [notice.kind for notice in dead.notices] == ["actuator-silent", "capacity-differs"]


def test_an_old_actuation_is_a_state_and_no_event() -> None:
    model = new_model()
    model.take_decision(decision(1, T0, overrides=(override(),)))
    for number, router in enumerate(("r1", "r2")):
        model.take_actuation(actuation(number, T0 - 10_000, "confirmed", router=router), is_recent=False)
    view = model.overrides()
    assert view is not None
    assert view.overrides[0].progress.state == "confirmed"
    assert [event.kind for event in model.snapshot(T0).events] == ["move"]


def test_a_repeated_window_changes_nothing() -> None:
    model = new_model()
    model.take_window(window(T0, carried=0.5))
    model.take_window(window(T0, carried=0.9))
    (point,) = model.snapshot(T0).windows[FULL]
    assert point.carried_bps == 50e9


def test_a_link_that_the_inventory_does_not_know_is_left_out() -> None:
    model = new_model()
    model.take_window(window(T0, link="rhv1000/r9/et-0/0/0"))
    model.take_truth("rhv1000/r9/et-0/0/0", TruthPoint(T0, 1.0, 0.0, 1.0))
    assert "rhv1000/r9/et-0/0/0" not in model.snapshot(T0).windows
    assert model.snapshot(T0).truth == {}


def test_congestion_appears_and_clears() -> None:
    model = new_model()
    model.take_decision(decision(1, T0, congested=(congestion(T0),)))
    assert [view.link for view in model.links(T0) if view.congestion] == [FULL]
    model.take_decision(decision(2, T0 + 10, congested=(congestion(T0, "closed"),)))
    assert [view.link for view in model.links(T0) if view.congestion] == []
    assert [event.kind for event in model.snapshot(T0).events] == ["congestion", "relief"]


def test_the_newest_decision_stands_and_an_older_one_changes_nothing() -> None:
    model = new_model()
    model.take_decision(decision(7, T0, epoch=2, overrides=(override(),)))
    model.take_decision(decision(7, T0, epoch=2))
    model.take_decision(decision(9, T0, epoch=1))
    view = model.overrides()
    assert view is not None
    assert [shown.override.prefix for shown in view.overrides] == [PREFIX]
    assert [shown.overrides for shown in model.decisions()] == [1]


def test_decisions_are_told_newest_first_with_what_they_move() -> None:
    model = new_model()
    model.take_decision(decision(1, T0))
    model.take_decision(decision(2, T0 + 10, overrides=(override(),)))
    assert [(shown.seq, shown.moved_bps) for shown in model.decisions()] == [(2, 12e9), (1, 0)]


def test_an_override_says_what_the_actuator_did_last_on_each_router() -> None:
    model = new_model()
    model.take_decision(decision(1, T0, overrides=(override(),)))
    model.take_actuation(actuation(1, T0, "announced"))
    model.take_actuation(actuation(2, T0, "announced", router="r2"))
    model.take_actuation(actuation(3, T0, "confirmed"))
    view = model.overrides()
    assert view is not None
    assert view.overrides[0].progress.routers == {"r1": "confirmed", "r2": "announced"}
    model.take_actuation(actuation(4, T0, "withdrawn"))
    view = model.overrides()
    assert view is not None
    assert view.overrides[0].progress.routers == {"r1": "withdrawn", "r2": "announced"}


def test_events_tell_moves_releases_and_refusals_once() -> None:
    model = new_model()
    refused = (Refused("198.51.100.0/24", FULL, "no-room"),)
    model.take_decision(decision(1, T0, overrides=(override(),), refused=refused))
    model.take_decision(decision(2, T0 + 10, overrides=(override(),), refused=refused))
    model.take_decision(decision(3, T0 + 20, released=(Released(PREFIX, "natural-load-fits"),)))
    events = model.snapshot(T0).events
    assert [event.kind for event in events] == ["move", "refusal", "release"]
    move, refusal, release = events
    assert (move.subject, move.bps) == (PREFIX, 12e9)
    assert move.what == "moved from r1 et-0/0/1 to r1 et-0/0/2: sheds-congested-link"
    assert (refusal.subject, refusal.what) == ("198.51.100.0/24", "kept on r1 et-0/0/1: no-room")
    assert (release.what, release.bps) == ("released: natural-load-fits", 12e9)


def test_a_refusal_whose_load_alone_changes_is_no_news() -> None:
    model = new_model()
    for seq, bps in enumerate((1e9, 2e9), 1):
        refused = (Refused("*", FULL, "no-room", bps),)
        model.take_decision(decision(seq, T0 + 10 * seq, refused=refused))
    (event,) = model.snapshot(T0).events
    assert event.subject == "traffic without a known prefix"


def test_a_move_to_another_exit_is_told() -> None:
    model = new_model()
    model.take_decision(decision(1, T0, overrides=(override(),)))
    model.take_decision(decision(2, T0 + 10, overrides=(override(next_hop="198.51.100.3"),)))
    assert [event.kind for event in model.snapshot(T0).events] == ["move", "move"]


def test_events_are_bounded_and_repeats_told_once() -> None:
    model = new_model()
    for number in range(2 * EVENTS_MAX):
        model.take_actuation(actuation(number, T0 + number, "announced"))
    model.take_actuation(actuation(2 * EVENTS_MAX - 1, T0, "announced"))
    events = model.snapshot(T0).events
    assert len(events) == EVENTS_MAX
    assert events[-1].id == f"a{2 * EVENTS_MAX - 1}"
    assert events[-2].id == f"a{2 * EVENTS_MAX - 2}"


def test_changes_are_told_once_and_only_where_something_changed() -> None:
    model = new_model()
    model.take_window(window(T0))
    model.take_truth(FULL, TruthPoint(T0 + 1, 5e9, 0.0, 5e9))
    model.take_decision(decision(1, T0, overrides=(override(),)))
    first = model.changes(T0 + 15)
    assert first.links
    assert list(first.windows) == list(first.truth) == [FULL]
    assert first.overrides
    assert [event.kind for event in first.events] == ["move"]

    second = model.changes(T0 + 16)
    assert second.links is None
    assert second.overrides is None
    assert not second.windows
    assert not second.truth
    assert not second.events

    quiet = model.changes(T0 + 60)
    assert quiet.links
    assert [view.link for view in quiet.links if view.quiet] == [FULL]
    assert quiet.state
    assert quiet.state.quiet
