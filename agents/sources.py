"""Who was heard in a PoP and what is wrong with its inputs, gathered from the agents when a window closes.

Every agent that reads an input has a `notices` method; all of them use Kafka's time, so a replay says the same.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from app.clock import utc
from app.config.inventory import Pop
from app.contract.schemas import Notice, RouterHeard, Sources
from app.te.traffic.windows import ClosedWindow


class Source(Protocol):
    """An agent that reads one kind of input of a PoP."""

    def heard_s(self, pop: Pop, now_s: float) -> Mapping[str, float]:
        """Kafka's time of the last record from each router up to `now_s`, in Unix seconds; not heard, left out."""

    def notices(self, pop: Pop, now_s: float) -> list[Notice]:
        """What people should know of this input at Kafka time `now_s`."""


class RoutesSource(Source, Protocol):
    """The agent that reads BMP, which knows more of each router."""

    def sends_statistics(self, pop: Pop) -> frozenset[str]:
        """The routers whose BMP sessions have a heartbeat."""

    def doubtful(self, pop: Pop, now_s: float) -> frozenset[str]:
        """The routers whose paths may be out of date at Kafka time `now_s`."""


def sources(pop: Pop, window: ClosedWindow, flows: Source, counters: Source, routes: RoutesSource) -> Sources:
    """The `sources` record of a closed window."""
    doubtful, statistics = routes.doubtful(pop, window.closed_s), routes.sends_statistics(pop)
    flows_s, counters_s, bmp_s = (each.heard_s(pop, window.closed_s) for each in (flows, counters, routes))
    return Sources(
        id=f"{pop.name}@{window.start_s}",
        pop=pop.name,
        window_start=utc(window.start_s),
        window_s=window.length_s,
        routers={
            router: RouterHeard(
                flows=_moment(flows_s.get(router)),
                counters=_moment(counters_s.get(router)),
                bmp=_moment(bmp_s.get(router)),
                bmp_statistics=router in statistics,
                doubtful=router in doubtful,
            )
            for router in pop.routers
        },
        notices=tuple(
            notice for source in (flows, counters, routes) for notice in source.notices(pop, window.closed_s)
        ),
    )


def _moment(at_s: float | None) -> datetime | None:
    return None if at_s is None else utc(at_s)
