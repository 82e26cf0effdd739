"""How long each step took from a window's end to the route, by the timestamps that the published records carry. Pure.

A step that two hosts took is as exact as their clocks agree, and below zero where they do not.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import inf
from typing import Literal, NamedTuple, get_args

import msgspec
import numpy as np

from app.actuation.journal import REPAIRED
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
P99_FROM = 100  # of fewer values a 99th percentile is the largest under another name


class Published(NamedTuple):
    """A decision and when it went out: the time of its record, Unix seconds."""

    decision: Decision
    at_s: float


class Latency(msgspec.Struct, frozen=True):
    """One stage in one PoP, seconds; null where there is nothing to tell."""

    pop: str
    stage: Stage
    count: int
    p50_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None


class DecidedMove(msgspec.Struct):
    """A prefix that decisions send to one exit: from `begun` on, and before the one of number `ended`."""

    override: Override
    begun: Decision
    ended: NumberOrNever = NEVER

    def has(self, number: NumberOrNever) -> bool:
        """A decision of this number is one of those."""
        return number_of(self.begun) <= number < self.ended


class RouteTimes(NamedTuple):
    """When the exit's injector took a move, and when every router had shown it; None where that was not told."""

    announced: datetime | None
    confirmed: datetime | None


def latencies(
    pop: str, published: Iterable[Published], actuations: Iterable[Actuation], length_s: int
) -> list[Latency]:
    """Every stage of one PoP, from records in the order of their topics; nothing where there are no records.

    Repeats count once. A move counts where its first decision is among these, its confirmation once every router of it
    has shown the route. Onset is the start of the first window over the mark, so up to a window before the load rose.
    """
    told = _in_order(published)
    done = {one.id: one for one in actuations if one.pop == pop}.values()
    if not told and not done:
        return []
    by_prefix: dict[str, list[Actuation]] = defaultdict(list)
    for one in done:
        by_prefix[one.prefix].append(one)
    decisions = [one.decision for one in told]
    routes = [(move, route_of(move, by_prefix)) for move in moves(decisions)]
    values: Values = {stage: [] for stage in get_args(Stage)}
    _windows(told, length_s, values)
    _steps(routes, values)
    values["announced to confirmed"] = _confirmations(by_prefix)
    _onsets(decisions, routes, values)
    return [summary(pop, stage, values[stage]) for stage in values]


def summary(pop: str, stage: Stage, values: Sequence[float]) -> Latency:
    """Percentiles that are values themselves: the smallest with at least that share at or below it."""
    if not values:
        return Latency(pop, stage, 0)
    p50_s, p99_s = (float(value) for value in np.percentile(values, [50, 99], method="inverted_cdf"))
    return Latency(pop, stage, len(values), p50_s, p99_s if len(values) >= P99_FROM else None, max(values))


def _in_order(published: Iterable[Published]) -> list[Published]:
    """Without repeats, and without what nobody followed because a newer one was there."""
    kept: list[Published] = []
    for one in published:
        if not kept or number_of(one.decision) > number_of(kept[-1].decision):
            kept.append(one)
    return kept


def _windows(told: Iterable[Published], length_s: int, values: Values) -> None:
    """From a window's end to the first decision on it, published."""
    first: dict[datetime, Published] = {}
    for one in told:
        first.setdefault(one.decision.window_start, one)
    for start, (decision, at_s) in first.items():
        if decision.closed_at is not None:
            values["window end to closed"].append(_seconds(start, decision.closed_at) - length_s)
            values["closed to decided"].append(_seconds(decision.closed_at, decision.made_at))
        values["decided to published"].append(at_s - decision.made_at.timestamp())


def _steps(routes: Iterable[tuple[DecidedMove, RouteTimes]], values: Values) -> None:
    """From the first decision on a move to the exit's injector, and to the last router."""
    for move, route in routes:
        if route.announced is not None:
            values["decided to announced"].append(_seconds(move.begun.made_at, route.announced))
        if route.confirmed is not None:
            values["decided to confirmed"].append(_seconds(move.begun.made_at, route.confirmed))


def _confirmations(by_prefix: ByPrefix) -> list[float]:
    """From an injector that took a route to its router that shows it, whatever the route was announced for."""
    waits: list[float] = []
    for done in by_prefix.values():
        sent: dict[tuple[str, NumberOrNever], datetime] = {}
        for one in done:
            key = one.router, number_of(one)
            if one.action == "announced":
                sent[key] = one.at
            elif one.action == "confirmed" and key in sent:
                waits.append(_seconds(sent.pop(key), one.at))
    return waits


def _onsets(decisions: Iterable[Decision], routes: Sequence[tuple[DecidedMove, RouteTimes]], values: Values) -> None:
    """Of each congestion that opens here, the first decision that moves traffic off its link, and the first route."""
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
            values["onset to decided"].append(_seconds(event.since, min(made for made, _ in answers)))
        if confirmed := [at for _, at in answers if at is not None]:
            values["onset to confirmed"].append(_seconds(event.since, min(confirmed)))


def _seconds(begin: datetime, end: datetime) -> float:
    return (end - begin).total_seconds()


def moves(decisions: Iterable[Decision]) -> list[DecidedMove]:
    """The moves that begin here. What the first decision holds, or one after a hole, may have begun before."""
    found: list[DecidedMove] = []
    standing: dict[str, DecidedMove] = {}
    before: Decision | None = None
    for decision in decisions:
        wanted = {override.prefix: override for override in decision.overrides}
        for prefix, move in list(standing.items()):
            if prefix not in wanted or wanted[prefix].exit != move.override.exit:
                standing.pop(prefix).ended = number_of(decision)
        new = {prefix: DecidedMove(override, decision) for prefix, override in wanted.items() if prefix not in standing}
        standing |= new
        if before is not None and decision.seq - before.seq in (0, 1):  # 0: after a restart a window is decided again
            found += new.values()
        before = decision
    return found


def number_of(record: Decision | Actuation) -> NumberOrNever:
    """The number of a decision; of an actuation, that of the decision it carries out."""
    return record.epoch, record.seq


def route_of(move: DecidedMove, by_prefix: ByPrefix) -> RouteTimes:
    """When a move was carried out, by what was done to its prefix; repairs are of no decision."""
    where = move.override.exit
    done = [one for one in by_prefix.get(move.override.prefix, ()) if move.has(number_of(one))]
    announced = [
        one.at
        for one in done
        if one.action == "announced"
        and one.reason != REPAIRED
        and (one.router, one.next_hop) == (where.router, where.next_hop)
    ]
    shown: dict[str, datetime] = {}
    for one in done:
        if one.action == "confirmed":
            shown.setdefault(one.router, one.at)
    if not announced:
        return RouteTimes(None, None)
    is_complete = shown.keys() >= set(move.override.inject_on)
    return RouteTimes(announced[0], max(shown.values()) if is_complete else None)
