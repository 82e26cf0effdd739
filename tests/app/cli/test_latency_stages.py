"""Every stage of the latency, from records with known times."""

from collections.abc import Sequence
from datetime import datetime
from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.actuation.journal import REPAIRED
from app.cli.latency_stages import P99_FROM, Latency, Published, latencies, moves, summary
from app.clock import utc
from app.contract.schemas import Actuation, Congestion, Decision, Override
from tests.app.actuation.pop import PREFIX, override

T0 = 1_795_246_100
POP, FULL, LENGTH_S = "rhv1000", "rhv1000/r1/et1", 10
MOVED = override(exit=2)


def decided(seq: int, *overrides: Override, epoch: int = 7, state: Any = None) -> Published:
    """On window `seq`: closed 4.5 s after its end, decided 0.25 s later, published 0.5 s after that."""
    start_s = T0 + LENGTH_S * seq
    events = (Congestion(f"{FULL}/1", FULL, state, utc(T0 + LENGTH_S), 0.99, 0.1, 1.1, 0.0),) if state else ()
    decision = Decision(
        pop=POP,
        epoch=epoch,
        seq=seq,
        mode="auto",
        window_start=utc(start_s),
        closed_at=utc(start_s + 14.5),
        made_at=made(seq),
        add_until=utc(start_s + 40),
        hold_until=utc(start_s + 310),
        congestion=events,
        overrides=overrides,
    )
    return Published(decision, start_s + 15.25)


def made(seq: int) -> datetime:
    return utc(T0 + LENGTH_S * seq + 14.75)


def act(action: Any, router: str, after_s: float, seq: int = 1, **changes: Any) -> Actuation:
    """So long after decision 1 was made; `seq` is the number that the route carries."""
    at = utc(made(1).timestamp() + after_s)
    plain = Actuation(
        id=f"{router}/{action}/{after_s}",
        pop=POP,
        router=router,
        prefix=PREFIX,
        action=action,
        reason="congested",
        next_hop=MOVED.exit.next_hop if router == "r1" else "192.0.2.11",
        epoch=7,
        seq=seq,
        at=at,
    )
    return msgspec.structs.replace(plain, **changes)


STORY = [decided(0), decided(1, MOVED, state="opened"), decided(2, MOVED, state="open"), decided(3, state="closed")]
ROUTES = [
    act("announced", "r1", 0.25),
    act("confirmed", "r1", 0.5),
    act("announced", "r2", 0.625),
    act("announced", "r3", 0.625),
    act("confirmed", "r2", 1.0),
    act("confirmed", "r3", 2.625, seq=2),  # BMP of r3 is slow, and a renewal came in between
]


def told(published: Sequence[Published], actuations: Sequence[Actuation]) -> dict[str, Latency]:
    return {one.stage: one for one in latencies(POP, published, actuations, LENGTH_S)}


def longest(published: Sequence[Published], actuations: Sequence[Actuation]) -> dict[str, tuple[int, float | None]]:
    return {stage: (one.count, one.max_s) for stage, one in told(published, actuations).items()}


def test_every_stage_of_a_move() -> None:
    assert longest(STORY, ROUTES) == {
        "window end to closed": (4, 4.5),
        "closed to decided": (4, 0.25),
        "decided to published": (4, 0.5),
        "decided to announced": (1, 0.25),
        "announced to confirmed": (2, 0.375),  # r3's route of decision 2 was not announced here
        "decided to confirmed": (1, 2.625),
        "onset to decided": (1, 14.75),
        "onset to confirmed": (1, 17.375),
    }


def test_a_window_ends_when_its_decision_says() -> None:
    """The settings may have another length by now."""
    record = Published(msgspec.structs.replace(STORY[0].decision, window_s=12), STORY[0].at_s)
    assert longest([record], [])["window end to closed"] == (1, 2.5)


def test_repeats_count_once() -> None:
    again = [*STORY, STORY[1], decided(3, epoch=8)]  # sent twice; and a window that a restart decided once more
    assert longest(again, [*ROUTES, *ROUTES]) == longest(STORY, ROUTES)


def test_without_records_there_is_nothing_to_tell() -> None:
    assert latencies(POP, [], [act("announced", "r1", 0.0, pop="ams1")], LENGTH_S) == []


def test_a_window_without_its_marker_has_no_close() -> None:
    old = Published(msgspec.structs.replace(STORY[0].decision, closed_at=None), STORY[0].at_s)
    shown = longest([old], [])
    assert shown["window end to closed"] == shown["closed to decided"] == (0, None)
    assert shown["decided to published"] == (1, 0.5)


@pytest.mark.parametrize(
    ("actuations", "announced", "confirmed"),
    [
        ([], 0, 0),
        (ROUTES[1:], 0, 0),  # it was there before
        (ROUTES[:1], 1, 0),
        (ROUTES[:5], 1, 0),  # r3 never shows it
        ([act("would-announce", "r1", 0.25)], 0, 0),
        ([act("announced", "r1", 0.25, next_hop="198.51.100.3"), *ROUTES[1:]], 0, 0),  # another exit's
        ([act("announced", "r1", 0.25, reason=REPAIRED), *ROUTES[1:]], 0, 0),
        ([act("announced", "r1", -9.0, seq=0), *ROUTES[1:]], 0, 0),
        ([*ROUTES[:5], act("confirmed", "r3", 90.0, seq=3)], 1, 0),  # of a decision that did not want it any more
    ],
)
def test_a_move_counts_when_its_own_routes_are_told(
    actuations: Sequence[Actuation], announced: int, confirmed: int
) -> None:
    stages = told(STORY, actuations)
    counts = [stages[name].count for name in ("decided to announced", "decided to confirmed", "onset to confirmed")]
    assert counts == [announced, confirmed, confirmed]


def test_a_route_that_is_confirmed_again_counts_once_for_each_announcement() -> None:
    drifted = [act("drift", "r2", 5.0), act("confirmed", "r2", 6.0)]
    repaired = [act("announced", "r2", 7.0, reason=REPAIRED), act("confirmed", "r2", 7.5)]
    assert told(STORY, [*ROUTES, *drifted])["announced to confirmed"].count == 2
    assert longest(STORY, [*ROUTES, *drifted, *repaired])["announced to confirmed"] == (3, 0.5)


def test_what_may_have_begun_before_is_no_move() -> None:
    assert moves([one.decision for one in STORY[1:]]) == []
    hole = [decided(0), decided(1), decided(4, MOVED), decided(5, MOVED)]
    assert moves([one.decision for one in hole]) == []


def test_another_exit_and_a_return_are_moves_of_their_own() -> None:
    story = [decided(0), decided(1, MOVED), decided(2, override(exit=3)), decided(3), decided(4, MOVED)]
    found = moves(one.decision for one in story)
    assert [move.override.exit.link[-1] for move in found] == ["2", "3", "2"]
    assert [(move.begun.seq, move.ended) for move in found] == [(1, (7, 2)), (2, (7, 3)), (4, (inf, inf))]


def test_a_move_off_another_link_does_not_answer_a_congestion() -> None:
    elsewhere = msgspec.structs.replace(
        MOVED, natural=(msgspec.structs.replace(MOVED.natural[0], link="rhv1000/r2/et3"),)
    )
    story = [decided(0), decided(1, elsewhere, state="opened"), decided(2, state="closed"), decided(3, MOVED)]
    assert told(story, ROUTES)["onset to decided"].count == 0
    assert told(story, ROUTES)["decided to announced"].count == 1


def test_the_first_route_answers_an_onset() -> None:
    other = override("203.0.112.0/24", exit=3)
    routers = other.inject_on
    late = [act("announced", "r2", 0.5, prefix=other.prefix, next_hop=other.exit.next_hop)]
    late += [act("confirmed", router, 9.0, prefix=other.prefix) for router in routers]
    story = [decided(0), decided(1, MOVED, other, state="opened"), decided(2, MOVED, other, state="open")]
    stages = longest(story, [*ROUTES, *late])
    assert stages["decided to confirmed"] == (2, 9.0)
    assert stages["onset to confirmed"] == (1, 17.375)


@given(st.lists(st.floats(-1, 100), min_size=1, max_size=300))
def test_percentiles_are_values_with_so_many_at_or_below(values: list[float]) -> None:
    one = summary(POP, "closed to decided", values)
    assert (one.count, one.max_s) == (len(values), max(values))
    assert (one.p99_s is None) == (len(values) < P99_FROM)
    for share, value in ((50, one.p50_s), (99, one.p99_s)):
        if value is not None:
            assert value in values
            assert 100 * sum(each <= value for each in values) >= share * len(values)
            assert 100 * sum(each < value for each in values) < share * len(values)
