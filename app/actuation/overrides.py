"""What the actuator remembers of one PoP: each prefix with an override, wanted or still present, and its lease. No I/O.

A prefix enters by a decision (adding, then standing) or because a speaker already held it when the actuator started
(unclaimed). It goes when it is released, when its lease ends, when its exit's router is not heard any more or when it
was not confirmed in time (all leaving), or with its source path (lost).
"""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from app.actuation.admission import refusal
from app.actuation.journal import NOBODYS, Number
from app.actuation.render import render
from app.bgp.speaker import InjectedRoute
from app.clock import Clock
from app.config.inventory import Pop
from app.contract.schemas import Decision, Exit, Override

EntryState = Literal["unclaimed", "adding", "standing", "leaving", "lost"]
OverrideSource = tuple[str, Exit]  # a prefix, and the exit it was sent to
MAXIMUM_PREFIX_SHARE = 0.8  # at its limit a router drops all our routes
LOST_KEPT_S = 600.0


class Entry(msgspec.Struct):
    """What the actuator knows of one prefix. Times are monotonic seconds, except `decided_s`.

    `since_s` is when the prefix entered its state, or when a standing one was last settled on every router. `decided_s`
    is when the decision was made that first sent it to its present exit, in Unix seconds.
    """

    prefix: str
    state: EntryState
    reason: str
    lease_until_s: float
    since_s: float
    add_until_s: float = 0.0
    exit: Exit | None = None
    routes: dict[str, InjectedRoute] = {}
    announced: bool = False
    decided_s: float = 0.0
    number: Number = NOBODYS

    @property
    def wanted(self) -> bool:
        """Whether a decision wants this override."""
        return self.state in ("adding", "standing")

    @property
    def going(self) -> bool:
        """Whether this override is being withdrawn."""
        return self.state in ("leaving", "lost")


RoutesHeld = Callable[[str], Mapping[str, InjectedRoute]]  # prefix -> our routes in the speakers, by router
Gate = Callable[[Override], str | None]  # why a new override cannot be made now, or None
OnRefused = Callable[[str, Exit, Number, str], None]  # prefix, exit, number of the decision, reason


class Overrides:
    """The entries of one PoP, by prefix.

    `newest` is the (epoch, seq) of the last decision; `absent` is how many wanted entries it neither contained nor
    released.
    """

    def __init__(self, pop: Pop, clock: Clock, lease_s: float) -> None:
        self.pop = pop
        self.entries: dict[str, Entry] = {}
        self.newest = (-1, -1)
        self.absent = 0
        self._clock = clock
        self._lease_s = lease_s
        self._lost: dict[OverrideSource, float] = {}

    def reconfigure(self, pop: Pop) -> None:
        """Judge by another inventory of the same routers from now on."""
        self.pop = pop

    def end_leases(self) -> None:
        """End every lease now: all overrides go in order, at the pace of leases that end."""
        for entry in self.entries.values():
            entry.lease_until_s = min(entry.lease_until_s, self._clock.monotonic_s())

    def apply(self, decision: Decision, held: RoutesHeld, gate: Gate, on_refused: OnRefused) -> set[str]:
        """Take over a decision and return the prefixes it touches; a repeated or older decision touches none."""
        if (decision.epoch, decision.seq) <= self.newest:
            return set()
        self.newest = (decision.epoch, decision.seq)
        new = 0
        for override in decision.overrides:
            is_new = override.prefix not in self.entries
            if (reason := self._want(override, decision, held, gate, new)) is not None:
                on_refused(override.prefix, override.exit, self.newest, reason)
            elif is_new:
                new += 1
        named = {override.prefix for override in decision.overrides}
        for released in decision.released:
            if released.prefix not in named and (entry := self.entries.get(released.prefix)) is not None:
                self.leave(entry, f"released: {released.reason}")
        touched = named | {released.prefix for released in decision.released}
        self.absent = sum(entry.wanted and entry.prefix not in touched for entry in self.entries.values())
        return touched

    def adopt(self, prefix: str, route: InjectedRoute) -> None:
        """Add an entry for a route that no decision asked for: unless one claims it, it goes when its lease ends."""
        now_s = self._clock.monotonic_s()
        until_s = min(self._monotonic(route.lease_end_s), now_s + self._lease_s)
        self.entries[prefix] = Entry(prefix, "unclaimed", "nobody decided it", until_s, now_s, announced=True)

    def leave(self, entry: Entry, reason: str) -> None:
        """Begin to withdraw an override, in safe order."""
        if not entry.going:
            entry.state, entry.reason, entry.since_s = "leaving", reason, self._clock.monotonic_s()

    def lose(self, entry: Entry) -> None:
        """Withdraw an override at once because its source path is gone; no older decision can bring it back."""
        assert entry.exit is not None, "an unclaimed route goes by what its routers show"
        now_s = self._clock.now_s()
        entry.since_s = self._clock.monotonic_s()
        self._lost = {source: at_s for source, at_s in self._lost.items() if at_s > now_s - LOST_KEPT_S}
        self._lost[entry.prefix, entry.exit] = now_s
        entry.state, entry.reason = "lost", "source-path-lost"

    def wait_again(self) -> None:
        """Restart the time limits of all entries: until now nothing could be done for them."""
        for entry in self.entries.values():
            entry.since_s = self._clock.monotonic_s()

    def expire(self, limit: int) -> list[str]:
        """Begin to withdraw at most `limit` entries whose lease has ended, oldest first; return their prefixes."""
        now_s = self._clock.monotonic_s()
        ended = [entry for entry in self.entries.values() if not entry.going and entry.lease_until_s <= now_s]
        ended.sort(key=lambda entry: (entry.lease_until_s, entry.prefix))
        for entry in ended[:limit]:
            self.leave(entry, "hold-ended")
        return [entry.prefix for entry in ended[:limit]]

    def _want(self, override: Override, decision: Decision, held: RoutesHeld, gate: Gate, new: int) -> str | None:
        """Add, change or renew one entry; return the reason if refused. A refused change keeps the old route."""
        entry = self.entries.get(override.prefix)
        if (reason := self._barred(override, decision)) is not None:
            return reason
        lease_until_s = self._lease_until_s(entry, decision)
        routes = render(self.pop, override, self.unix_s(lease_until_s))
        add_until_s = self._monotonic(decision.add_until.timestamp())
        if entry is None or entry.going or _moves(entry, routes, held(override.prefix)):
            if self._clock.monotonic_s() > add_until_s:
                return "too-late"
            if (reason := gate(override)) is not None:
                return reason
            if entry is None and (reason := self._over_budget(override, held, new)) is not None:
                return reason
            entry = self._open(override)
            entry.decided_s = decision.made_at.timestamp()
        elif not entry.wanted:
            entry.state, entry.since_s = "standing", self._clock.monotonic_s()
        entry.add_until_s = max(entry.add_until_s, add_until_s)
        entry.reason, entry.exit, entry.routes, entry.number = override.reason, override.exit, routes, self.newest
        entry.lease_until_s = lease_until_s
        return None

    def _open(self, override: Override) -> Entry:
        """Return the entry of this prefix, new or reset to the state `adding`."""
        now_s = self._clock.monotonic_s()
        entry = self.entries.setdefault(override.prefix, Entry(override.prefix, "adding", "", now_s, now_s))
        entry.state, entry.since_s = "adding", now_s
        return entry

    def _lease_until_s(self, entry: Entry | None, decision: Decision) -> float:
        """The end of a lease as the decision asks: never earlier than before, nor more than one full lease from now."""
        now_s = self._clock.monotonic_s()
        asked_s = min(self._monotonic(decision.hold_until.timestamp()), now_s + self._lease_s)
        return max(asked_s, entry.lease_until_s if entry is not None else now_s)

    def unix_s(self, monotonic_s: float) -> int:
        """A moment in Unix seconds, as it is written on routes."""
        return round(self._clock.now_s() + monotonic_s - self._clock.monotonic_s())

    def _barred(self, override: Override, decision: Decision) -> str | None:
        lost_s = self._lost.get((override.prefix, override.exit))
        if lost_s is not None and decision.made_at.timestamp() <= lost_s:
            return "older-than-path-loss"
        return refusal(self.pop, override)

    def _over_budget(self, override: Override, held: RoutesHeld, new: int) -> str | None:
        if len(self.entries) >= self.pop.budgets.max_overrides:
            return "budget-overrides"
        if new >= self.pop.budgets.max_new_per_cycle:
            return "budget-new-per-cycle"
        for router in override.inject_on:
            routes = sum(router in entry.routes or router in held(entry.prefix) for entry in self.entries.values())
            if routes + 1 > MAXIMUM_PREFIX_SHARE * self.pop.routers[router].maximum_prefix:
                return "maximum-prefix"
        return None

    def _monotonic(self, wall_s: float) -> float:
        return self._clock.monotonic_s() + wall_s - self._clock.now_s()


def _moves(entry: Entry, routes: Mapping[str, InjectedRoute], held: Mapping[str, InjectedRoute]) -> bool:
    """Whether `routes` would change the next hop of some router."""
    current = entry.routes if entry.wanted else held
    return any(router not in current or current[router].next_hop != route.next_hop for router, route in routes.items())
