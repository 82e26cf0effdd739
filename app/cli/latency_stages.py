"""How long each step from the end of a window to the route took, by the timestamps of published records. Pure.

A step between two hosts is as exact as their clocks agree; a negative time shows that they do not.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import inf
from typing import Literal, NamedTuple, get_args

import msgspec
import numpy as np

from app.actuation.journal import AGAIN
from app.contract.schemas import Actuation, Congestion, Decision, Override

Stage = Literal[
    "window end to closed",
    "closed to decided",
    "decided to published",
    "decided to announced",
    "announced to confirmed",
    "decided to confirmed",
    "onset to decided",
    "onset to confirmed",
]
Values = dict[Stage, list[float]]
NumberOrNever = tuple[float, float]  # epoch and seq
ByPrefix = Mapping[str, Sequence[Actuation]]
NEVER: NumberOrNever = (inf, inf)
P99_FROM = 100  # with fewer values, the 99th percentile is the maximum


class Published(NamedTuple):
    """A decision and when it was published: the time of its record, Unix seconds."""

    decision: Decision
    at_s: float


class Latency(msgspec.Struct, frozen=True):
    """The times of one stage in one PoP, in seconds; None if there are too few values."""

    pop: str
    stage: Stage
    count: int
    p50_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None


class DecidedMove(msgspec.Struct):
    """A prefix that consecutive decisions send to one exit: from `begun` on, until before the one numbered `ended`."""

    override: Override
    begun: Decision
    ended: NumberOrNever = NEVER

    def has(self, number: NumberOrNever) -> bool:
        """Whether the decision of this number makes this move."""
        return number_of(self.begun) <= number < self.ended


class RouteTimes(NamedTuple):
    """When the exit's injector took a move, and when every router had shown it; None if that was not published."""

    announced: datetime | None
    confirmed: datetime | None


def latencies(
    pop: str, published: Iterable[Published], actuations: Iterable[Actuation], length_s: int
) -> list[Latency]:
    """Return every stage of one PoP, from records in the order of their topics; empty if there are no records.

    Repeats count once. A move counts if its first decision is among these, its confirmation once every router of it
    has shown the route. Onset is the start of the first window over the mark, so up to a window before the load rose.
    """
    ordered = _in_order(published)
    done = {actuation.id: actuation for actuation in actuations if actuation.pop == pop}.values()
    if not ordered and not done:
        return []
    by_prefix: dict[str, list[Actuation]] = defaultdict(list)
    for actuation in done:
        by_prefix[actuation.prefix].append(actuation)
    decisions = [record.decision for record in ordered]
    routes = [(move, route_of(move, by_prefix)) for move in moves(decisions)]
    values: Values = {stage: [] for stage in get_args(Stage)}
    _windows(ordered, length_s, values)
    _steps(routes, values)
    values["announced to confirmed"] = _confirmations(by_prefix)
    _onsets(decisions, routes, values)
    return [summary(pop, stage, values[stage]) for stage in values]


def summary(pop: str, stage: Stage, values: Sequence[float]) -> Latency:
    """Return the count, p50, p99 and maximum of `values`, in seconds; p99 only from P99_FROM values on.

    A percentile is one of the values: the smallest with at least that share of all at or below it.
    """
    if not values:
        return Latency(pop, stage, 0)
    p50_s, p99_s = (float(value) for value in np.percentile(values, [50, 99], method="inverted_cdf"))
    return Latency(pop, stage, len(values), p50_s, p99_s if len(values) >= P99_FROM else None, max(values))


def _in_order(published: Iterable[Published]) -> list[Published]:
    """Drop repeats, and decisions that nobody followed because a newer one was published before."""
    kept: list[Published] = []
    for record in published:
        if not kept or number_of(record.decision) > number_of(kept[-1].decision):
            kept.append(record)
    return kept


def _windows(published: Iterable[Published], length_s: int, values: Values) -> None:
    """Add the stages from the end of each window to the publication of the first decision on it."""
    first: dict[datetime, Published] = {}
    for record in published:
        first.setdefault(record.decision.window_start, record)
    for start, (decision, at_s) in first.items():
        if decision.closed_at is not None:
            values["window end to closed"].append(_seconds(start, decision.closed_at) - (decision.window_s or length_s))
            values["closed to decided"].append(_seconds(decision.closed_at, decision.made_at))
        values["decided to published"].append(at_s - decision.made_at.timestamp())


def _steps(routes: Iterable[tuple[DecidedMove, RouteTimes]], values: Values) -> None:
    """Add the stages from the first decision on each move to its exit's injector, and to its last router."""
    for move, route in routes:
        if route.announced is not None:
            values["decided to announced"].append(_seconds(move.begun.made_at, route.announced))
        if route.confirmed is not None:
            values["decided to confirmed"].append(_seconds(move.begun.made_at, route.confirmed))


def _confirmations(by_prefix: ByPrefix) -> list[float]:
    """Return the times from an injector taking a route to its router showing it, for every route announced."""
    waits: list[float] = []
    for done in by_prefix.values():
        sent: dict[tuple[str, NumberOrNever], datetime] = {}
        for actuation in done:
            key = actuation.router, number_of(actuation)
            if actuation.action == "announced":
                sent[key] = actuation.at
            elif actuation.action == "confirmed" and key in sent:
                waits.append(_seconds(sent.pop(key), actuation.at))
    return waits


def _onsets(decisions: Iterable[Decision], routes: Sequence[tuple[DecidedMove, RouteTimes]], values: Values) -> None:
    """Add the stages from each onset to the first decision that moves traffic off the link, and to its first route."""
    opened: dict[str, tuple[Congestion, NumberOrNever]] = {}
    closed: dict[str, NumberOrNever] = {}
    for decision in decisions:
        for event in decision.congestion:
            if event.state == "opened":
                opened.setdefault(event.id, (event, number_of(decision)))
            elif event.state == "closed":
                closed.setdefault(event.id, number_of(decision))
    for name, (event, first) in opened.items():
        answers = [
            (move.begun.made_at, route.confirmed)
            for move, route in routes
            if first <= number_of(move.begun) < closed.get(name, NEVER)
            and any(natural.link == event.link for natural in move.override.natural)
        ]
        if answers:
            values["onset to decided"].append(_seconds(event.since, min(made_at for made_at, _ in answers)))
        if confirmed := [at for _, at in answers if at is not None]:
            values["onset to confirmed"].append(_seconds(event.since, min(confirmed)))


def _seconds(begin: datetime, end: datetime) -> float:
    return (end - begin).total_seconds()


def moves(decisions: Iterable[Decision]) -> list[DecidedMove]:
    """Return the moves that begin in these decisions.

    Moves in the first decision, or in the one after a gap, are left out: they may have begun earlier.
    """
    begun: list[DecidedMove] = []
    standing: dict[str, DecidedMove] = {}
    before: Decision | None = None
    for decision in decisions:
        wanted = {override.prefix: override for override in decision.overrides}
        for prefix, move in list(standing.items()):
            if prefix not in wanted or wanted[prefix].exit != move.override.exit:
                standing.pop(prefix).ended = number_of(decision)
        new = {prefix: DecidedMove(override, decision) for prefix, override in wanted.items() if prefix not in standing}
        standing |= new
        # The same seq again: after a restart the window was decided once more.
        if before is not None and decision.seq - before.seq in (0, 1):
            begun += new.values()
        before = decision
    return begun


def number_of(record: Decision | Actuation) -> NumberOrNever:
    """Return the (epoch, seq) of a decision, or of the decision that an actuation carries out."""
    return record.epoch, record.seq


def route_of(move: DecidedMove, by_prefix: ByPrefix) -> RouteTimes:
    """Return when a move was carried out, from the actuations of its prefix; repairs do not count."""
    egress = move.override.exit
    done = [actuation for actuation in by_prefix.get(move.override.prefix, ()) if move.has(number_of(actuation))]
    announced = [
        actuation.at
        for actuation in done
        if actuation.action == "announced"
        and actuation.reason not in AGAIN
        and (actuation.router, actuation.next_hop) == (egress.router, egress.next_hop)
    ]
    shown: dict[str, datetime] = {}
    for actuation in done:
        if actuation.action == "confirmed":
            shown.setdefault(actuation.router, actuation.at)
    if not announced:
        return RouteTimes(None, None)
    is_complete = shown.keys() >= set(move.override.inject_on)
    return RouteTimes(announced[0], max(shown.values()) if is_complete else None)
