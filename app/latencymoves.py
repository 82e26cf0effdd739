"""The moves that decisions make, and when the actuator carried each out: what latencies are measured on. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import inf
from typing import NamedTuple

import msgspec

from app.bgp.journal import REPAIRED
from app.schemas import Actuation, Decision, Override

Number = tuple[float, float]  # epoch and seq
ByPrefix = Mapping[str, Sequence[Actuation]]
NEVER: Number = (inf, inf)


class Move(msgspec.Struct):
    """A prefix that decisions send to one exit: from `begun` on, and before the one of number `ended`."""

    override: Override
    begun: Decision
    ended: Number = NEVER

    def has(self, number: Number) -> bool:
        """A decision of this number is one of those."""
        return number_of(self.begun) <= number < self.ended


class Route(NamedTuple):
    """When the exit's injector took a move, and when every router had shown it; None where that was not told."""

    announced: datetime | None
    confirmed: datetime | None


def moves(decisions: Iterable[Decision]) -> list[Move]:
    """The moves that begin here. What the first decision holds, or one after a hole, may have begun before."""
    found: list[Move] = []
    standing: dict[str, Move] = {}
    before: Decision | None = None
    for decision in decisions:
        wanted = {override.prefix: override for override in decision.overrides}
        for prefix, move in list(standing.items()):
            if prefix not in wanted or wanted[prefix].exit != move.override.exit:
                standing.pop(prefix).ended = number_of(decision)
        new = {prefix: Move(override, decision) for prefix, override in wanted.items() if prefix not in standing}
        standing |= new
        if before is not None and decision.seq - before.seq in (0, 1):  # 0: after a restart a window is decided again
            found += new.values()
        before = decision
    return found


def number_of(record: Decision | Actuation) -> Number:
    """The number of a decision; of an actuation, that of the decision it carries out."""
    return record.epoch, record.seq


def route_of(move: Move, by_prefix: ByPrefix) -> Route:
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
        return Route(None, None)
    is_complete = shown.keys() >= set(move.override.inject_on)
    return Route(announced[0], max(shown.values()) if is_complete else None)
