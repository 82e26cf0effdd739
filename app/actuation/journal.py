"""Publishes every change on a router as a record of `actuations`, whose id follows from its content."""

import logging
from collections.abc import Callable
from typing import Literal

from prometheus_client import Histogram

from app import metrics
from app.bgp.speaker import InjectedRoute
from app.clock import Clock, utc
from app.contract.schemas import Actuation, Exit

log = logging.getLogger(__name__)
Action = Literal["announced", "confirmed", "withdrawn", "refused", "drift", "would-announce", "would-withdraw"]
WOULD: dict[Action, Action] = {"announced": "would-announce", "withdrawn": "would-withdraw"}
REMEMBERED = 10_000
Number = tuple[int, int]  # (epoch, seq) of a decision
NOBODYS: Number = (0, 0)
REPAIRED = "repaired"  # the reason of a route that is announced again


class Journal:
    """Publishes the actuations of one PoP. A dry run publishes what it would do and what it refused, nothing else."""

    def __init__(self, pop: str, clock: Clock, publish: Callable[[Actuation], None], dry: bool) -> None:
        self._pop = pop
        self._clock = clock
        self._publish = publish
        self._dry = dry
        self._refused: dict[str, str] = {}

    def route(self, action: Action, router: str, route: InjectedRoute, reason: str, number: Number = NOBODYS) -> None:
        """Publish that `action` happened to our route at a router; `number` is that of the decision that wants it."""
        if self._dry and action not in WOULD:
            return
        self._refused.pop(route.prefix, None)
        action = WOULD[action] if self._dry else action
        self._put(action, router, route.prefix, reason, route.next_hop, number)

    def observe_delay(self, stage: Histogram, decided_s: float) -> None:
        """Record how long after its decision (Unix seconds) an override reached a stage; a dry run reaches none.

        The decision was made on another host, so the delay is as exact as two clocks agree.
        """
        if not self._dry:
            stage.labels(self._pop).observe(max(0.0, self._clock.now_s() - decided_s))

    def refused(self, prefix: str, egress: Exit, number: Number, reason: str) -> None:
        """Publish that a decided move was not made; once per reason, since every window repeats the decision."""
        if self._refused.get(prefix) == reason:
            return
        if len(self._refused) >= REMEMBERED:
            self._refused.clear()
        self._refused[prefix] = reason
        self._put("refused", egress.router, prefix, reason, egress.next_hop, number)

    def _put(self, action: Action, router: str, prefix: str, reason: str, next_hop: str | None, number: Number) -> None:
        now_s, (epoch, seq) = self._clock.now_s(), number
        metrics.ACTUATIONS.labels(self._pop, router, action).inc()
        context = {"pop": self._pop, "router": router, "prefix": prefix, "decision": f"{epoch}.{seq}"}
        log.info("%s: %s %s, %s", router, prefix, action, reason, extra=context)
        self._publish(
            Actuation(
                id=f"{self._pop}/{router}/{prefix}/{action}/{epoch}.{seq}/{round(now_s * 1000)}",
                pop=self._pop,
                router=router,
                prefix=prefix,
                action=action,
                reason=reason,
                next_hop=next_hop,
                epoch=epoch,
                seq=seq,
                at=utc(now_s),
            )
        )
