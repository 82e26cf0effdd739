"""What a listing tells, and what is to be done."""

from app.actuation.speaker_state import Difference, SpeakerState, Work
from app.bgp.speaker import InjectedRoute
from tests.app.actuation.routes import route

ONE, CHANGED = route("203.0.0.0/24"), route("203.0.0.0/24", med=9)
OTHER = route("203.0.2.0/24")


def view(held: InjectedRoute | None, target: InjectedRoute | None) -> SpeakerState:
    made = SpeakerState(certain=True, listed=True, reachable=True, owned=True)
    if held is not None:
        made.take(held)
    if target is not None:
        made.aim(target.prefix, target)
    return made


def test_work_is_the_way_from_what_is_held_to_what_should_be() -> None:
    assert view(None, None).work == Work([], [])
    assert view(ONE, ONE).work == Work([], [])
    assert view(ONE, None).work == Work([ONE.prefix], [])
    assert view(None, ONE).work == Work([], [ONE])
    assert view(ONE, CHANGED).work == Work([], [CHANGED])


def test_nothing_is_announced_on_a_guess_but_withdrawn() -> None:
    unknown = view(None, ONE)
    unknown.certain = False
    assert unknown.work == Work([], [])
    unwanted = view(ONE, None)
    unwanted.certain = False
    unwanted.doubt([OTHER])
    assert set(unwanted.work.withdraw) == {ONE.prefix, OTHER.prefix}


def test_nothing_is_done_at_somebody_elses_speaker() -> None:
    foreign = view(ONE, None)
    foreign.owned = False
    assert foreign.work == Work([], [])


def test_what_a_first_listing_shows_was_there_before_us() -> None:
    assert SpeakerState().relist({ONE.prefix: ONE}) == [Difference("drift", ONE, "found at start")]


def test_what_a_later_listing_shows() -> None:
    assert view(ONE, ONE).relist({ONE.prefix: ONE}) == []
    assert view(ONE, ONE).relist({}) == [Difference("drift", ONE, "missing")]
    assert view(ONE, ONE).relist({ONE.prefix: CHANGED}) == [Difference("drift", CHANGED, "changed by somebody else")]
    assert view(None, None).relist({ONE.prefix: ONE}) == [Difference("drift", ONE, "added by somebody else")]


def test_what_we_sent_without_hearing_an_answer_is_told_when_it_is_seen() -> None:
    assert view(None, ONE).relist({ONE.prefix: ONE}) == [Difference("announced", ONE, "seen after a failure")]
    assert view(ONE, None).relist({}) == [Difference("withdrawn", ONE, "seen after a failure")]
