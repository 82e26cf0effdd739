"""Publishes every change on a router as a record of `actuations`, whose id follows from its content."""

import logging
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from prometheus_client import Histogram

from app import metrics
from app.bgp.speaker import InjectedRoute
from app.clock import Clock, utc
from app.config.inventory import Pop
from app.contract.schemas import Actuation, Exit

log = logging.getLogger(__name__)
Action = Literal["announced", "confirmed", "withdrawn", "refused", "drift", "would-announce", "would-withdraw"]
WOULD: dict[Action, Action] = {"announced": "would-announce", "withdrawn": "would-withdraw"}
REMEMBERED = 10_000
NAMED = 10  # prefixes in a line of the log; the records have them all
Number = tuple[int, int]  # (epoch, seq) of a decision
NOBODYS: Number = (0, 0)
# The reasons of a route that is announced again: it was gone or changed, or its path has other attributes.
REPAIRED, FOLLOWED = "repaired", "path-changed"
AGAIN = {REPAIRED, FOLLOWED}


class RouteChange(NamedTuple):
    """What happened to one route, why, and the number of the decision that wants it."""

    route: InjectedRoute
    reason: str
    number: Number = NOBODYS


class Line(NamedTuple):
    """What differs between the records of one action at one router."""

    prefix: str
    next_hop: str | None
    reason: str
    number: Number


class Journal:
    """Publishes the actuations of one PoP. A dry run publishes what it would do and what it refused, nothing else."""

    def __init__(self, pop: Pop, clock: Clock, publish: Callable[[Actuation], None], dry: bool) -> None:
        self._pop = pop.name
        self._routers = frozenset(pop.routers)
        self._clock = clock
        self._publish = publish
        self._dry = dry
        self._refused: dict[str, tuple[str, str | None]] = {}

    def routes(self, action: Action, router: str, changes: Sequence[RouteChange]) -> None:
        """Publish that `action` happened to routes of ours at a router, and log one line for each reason."""
        if not changes or (self._dry and action not in WOULD):
            return
        action = WOULD[action] if self._dry else action
        prefixes: dict[str, list[str]] = {}
        for route, reason, _ in changes:
            self._refused.pop(route.prefix, None)
            prefixes.setdefault(reason, []).append(route.prefix)
        self._put(
            action, router, [Line(route.prefix, route.next_hop, reason, number) for route, reason, number in changes]
        )
        for reason, named in prefixes.items():
            self._log(action, router, named, reason)

    def renewed(self, router: str, routes: int) -> None:
        """Count routes of which only the lease changed: there is nothing to publish."""
        if routes and not self._dry:
            metrics.LEASES_RENEWED.labels(self._pop, router).inc(routes)

    def observe_delay(self, stage: Histogram, decided_s: float) -> None:
        """Record how long after its decision (Unix seconds) an override reached a stage; a dry run reaches none.

        The decision was made on another host, so the delay is as exact as two clocks agree.
        """
        if not self._dry:
            stage.labels(self._pop).observe(max(0.0, self._clock.now_s() - decided_s))

    def refused(self, prefix: str, egress: Exit, number: Number, reason: str, router: str | None = None) -> None:
        """Publish that a decided move was not made; once per reason, since every window repeats the decision.

        `router` is the one that is the reason; without it, the record is of the exit's router.
        """
        if self._refused.get(prefix) == (reason, router):
            return
        if len(self._refused) >= REMEMBERED:
            self._refused.clear()
        self._refused[prefix] = reason, router
        at = router or egress.router
        self._log("refused", at, [prefix], reason)
        self._put("refused", at, [Line(prefix, egress.next_hop, reason, number)])

    def _log(self, action: Action, router: str, prefixes: Sequence[str], reason: str) -> None:
        some = ", ".join(prefixes[:NAMED])
        more = f" and {len(prefixes) - NAMED} more" if len(prefixes) > NAMED else ""
        context = {"pop": self._pop, "router": router} | ({"prefix": prefixes[0]} if len(prefixes) == 1 else {})
        log.info("%s: %s%s %s, %s", router, some, more, action, reason, extra=context)

    def _put(self, action: Action, router: str, lines: Sequence[Line]) -> None:
        now_s = self._clock.now_s()
        at, at_ms = utc(now_s), round(now_s * 1000)
        known = router if router in self._routers else "unknown"  # a decision may name any
        metrics.ACTUATIONS.labels(self._pop, known, action).inc(len(lines))
        for prefix, next_hop, reason, (epoch, seq) in lines:
            self._publish(
                Actuation(
                    id=f"{self._pop}/{known}/{prefix}/{action}/{epoch}.{seq}/{at_ms}",
                    pop=self._pop,
                    router=router,
                    prefix=prefix,
                    action=action,
                    reason=reason,
                    next_hop=next_hop,
                    epoch=epoch,
                    seq=seq,
                    at=at,
                )
            )
