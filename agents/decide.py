"""Closes a window: puts counters beside its flows, decides, and queues the records to publish."""

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial
from math import nan
from typing import NamedTuple, get_args

import msgspec

from app import metrics
from app.clock import Clock, utc
from app.config.inventory import Pop
from app.config.settings import Settings
from app.contract import topics
from app.contract.schemas import Feed, Sources
from app.stream.publish import Publisher
from app.te.decision import records
from app.te.decision.cycle import CycleResult, CycleState, run_cycle
from app.te.decision.plan import Plan
from app.te.explain.stories import Explained, explain_link, explain_prefix
from app.te.routing.natural import NaturalRouting
from app.te.traffic.lag import Rates
from app.te.traffic.link import LinkWindow
from app.te.traffic.observed import Observer
from app.te.traffic.windows import ClosedWindow, Sums
from tables.congestion import CycleRow
from tables.link_windows import LinkWindowRow

log = logging.getLogger(__name__)
LOST_EPOCHS = 60  # lost rows may have had an epoch of this second, by a clock that is this much ahead
RatesOf = Callable[[Pop, str, ClosedWindow], Rates | None]
SourcesOf = Callable[[Pop, ClosedWindow], Sources]
DoubtfulOf = Callable[[Pop, float], frozenset[str]]  # PoP, Kafka time -> routers whose paths may be out of date


class CycleInputs(NamedTuple):
    """What the decider asks of the other agents: counter rates by link and window, and which routers were heard."""

    rates_of: RatesOf
    sources_of: SourcesOf
    doubtful_of: DoubtfulOf


class PopDecider:
    """One PoP's history of closed windows, its decision state, and the numbers of its decisions."""

    def __init__(
        self,
        pop: Pop,
        settings: Settings,
        natural: NaturalRouting,
        inputs: CycleInputs,
        publisher: Publisher,
        clock: Clock,
    ) -> None:
        self._inputs = inputs
        self._publisher = publisher
        self._clock = clock
        self._history: deque[dict[str, LinkWindow]] = deque()
        self.reconfigure(pop, settings, natural)
        self.cycle = CycleRow(epoch=int(clock.now_s()), seq=0, state=CycleState())
        self.last: CycleResult | None = None
        self._plans: deque[Plan] = deque(maxlen=1)  # that of the last decision, for `explain`

    def reconfigure(self, pop: Pop, settings: Settings, natural: NaturalRouting) -> None:
        """Decide by another inventory and other settings from the next window on, with the same history and state."""
        known = [{link: seen[link] for link in seen if link in pop.links} for seen in self._history]
        self._pop, self._settings, self._natural = pop, settings, natural
        self._observer = Observer(natural)
        self._history = deque(known)

    def load(
        self,
        closed: Sequence[tuple[int, str, LinkWindowRow]],
        cycle: CycleRow | None,
        epoch: int = 0,
        has_lost: bool = False,
    ) -> None:
        """Resume from the rows: the history of closed windows, and an epoch above every earlier one, lost or not."""
        by_start: dict[int, dict[str, LinkWindow]] = defaultdict(dict)
        for start_s, link, row in closed:
            by_start[start_s][link] = self._link_window(start_s, link, row)
        for start_s in sorted(by_start):
            self._remember(by_start[start_s], max(link.window_end_s for link in by_start[start_s].values()))
        if cycle is not None or epoch or has_lost:
            cycle = cycle or self.cycle
            above = max(epoch + 1, cycle.epoch + 1, int(self._clock.now_s()))
            epoch = above + (LOST_EPOCHS if has_lost else 0)
            self.cycle = CycleRow(epoch=epoch, seq=cycle.seq, state=cycle.state)

    def close(self, window: ClosedWindow, sums: dict[str, Sums]) -> dict[str, LinkWindowRow]:
        """Decide on a closed window, queue its records, and return its final rows by link.

        What was counted for a link that has left the inventory since is published, too; nothing is decided on it.
        """
        rows, seen = self._finish(window, sums)
        self._plans.clear()
        before = self.cycle
        self.last = result = run_cycle(
            self._pop,
            self._settings.policy,
            self._observer.observe(self._history)._replace(
                doubtful=self._inputs.doubtful_of(self._pop, window.closed_s)
            ),
            before.state,
            window.end_s,
            self._plans.append,
        )
        self.cycle = CycleRow(epoch=before.epoch, seq=before.seq + 1, state=result.state)
        self._publish(window, result, rows)
        for link, measured in seen.items():
            if link not in self._pop.links:
                utilization = records.of_left_link(window, measured)
                self._publisher.put(topics.LINK_UTILIZATION.name, window.pop, utilization)
        self._measure(result)
        self._log(result, before.state)
        return rows

    def finish(self, window: ClosedWindow, sums: dict[str, Sums]) -> dict[str, LinkWindowRow]:
        """Return the final rows of a window that was decided on, before its rows were lost; publish nothing."""
        return self._finish(window, sums)[0]

    def _finish(
        self, window: ClosedWindow, sums: dict[str, Sums]
    ) -> tuple[dict[str, LinkWindowRow], dict[str, LinkWindow]]:
        """The final rows of a window, and what they say, by link."""
        rows = {link: self._row(window, link, link_sums) for link, link_sums in sums.items()}
        seen = {link: self._link_window(window.start_s, link, row) for link, row in rows.items()}
        self._remember({link: each for link, each in seen.items() if link in self._pop.links}, window.end_s)
        return rows, seen

    def _row(self, window: ClosedWindow, link: str, sums: Sums) -> LinkWindowRow:
        """The final row of a link; the inventory does not say any more which counters belong to one that left."""
        is_known = link in self._pop.links
        rates = self._inputs.rates_of(self._pop, link, window) if is_known else None
        return LinkWindowRow(sums, rates, closed=True, length_s=window.length_s, has_gap=window.has_gap)

    def _remember(self, windows: dict[str, LinkWindow], end_s: int) -> None:
        """Add a window of all links, which ended at `end_s`, and forget what is too old to count in any share."""
        self._history.append(windows)
        from_s = end_s - 2 * self._settings.pacing.share_decay_s
        while len(self._history) > 1 and all(link.window_end_s <= from_s for link in self._history[0].values()):
            self._history.popleft()

    def _publish(self, window: ClosedWindow, result: CycleResult, rows: dict[str, LinkWindowRow]) -> None:
        for load in result.loads:
            utilization = records.link_utilization(window, load, self._history[-1][load.link])
            self._publisher.put(topics.LINK_UTILIZATION.name, window.pop, utilization)
        for link, row in rows.items():
            traffic = records.prefix_traffic(window, link, row.sums, self._natural.origin_as)
            self._publisher.put(topics.PREFIX_TRAFFIC.name, window.pop, traffic)
        sources = self._inputs.sources_of(self._pop, window)
        self._publisher.put(topics.SOURCES.name, window.pop, sources)
        metrics.count_notices(window.pop, (notice.kind for notice in sources.notices))
        number, settings = (self.cycle.epoch, self.cycle.seq), self._settings
        decision = records.decision(window, number, result, settings.mode, settings.pacing, self._clock.now_s())
        sent = partial(self._sent, window.closed_s)
        self._publisher.put(topics.DECISIONS.for_pop(window.pop), window.pop, decision, sent=sent)

    def _log(self, result: CycleResult, before: CycleState) -> None:
        """Log what this decision changed: congestion that opened or closed, and overrides that came or went."""
        number = f"{self.cycle.epoch}.{self.cycle.seq}"
        for event in result.congestion:
            if event.state != "open":
                fields = {"pop": self._pop.name, "link": event.link, "decision": number}
                log.info(
                    "%s: congestion %s, natural %.0f %%", event.link, event.state, 100 * event.natural, extra=fields
                )
        prefixes = {override.prefix for override in result.overrides}
        if prefixes != before.held.keys():
            new, gone = len(prefixes - before.held.keys()), len(before.held.keys() - prefixes)
            values = (self._pop.name, number, len(prefixes), new, gone)
            fields = {"pop": self._pop.name, "decision": number}
            log.info("%s: decision %s, %d overrides: %d new, %d gone", *values, extra=fields)

    def explain(self, of: str) -> Explained:
        """Explain a link id, a prefix or an address as of the last decision; LookupError if there is no story of it."""
        if not self._plans:
            raise LookupError(f"{self._pop.name}: no window with traffic has been decided on yet; ask again later")
        plan = self._plans[0]
        is_link = of in self._pop.links
        return Explained(
            pop=self._pop.name,
            as_of=f"{self.cycle.epoch}.{self.cycle.seq}",
            window_end=utc(plan.context.now_s),
            link=explain_link(plan, of, self.cycle.state.links.get(of)) if is_link else None,
            prefix=None if is_link else explain_prefix(plan, of),
        )

    def _sent(self, closed_s: float) -> None:
        took_s = self._clock.now_s() - closed_s
        metrics.DECIDE_SECONDS.labels(self._pop.name).observe(max(0.0, took_s))  # Kafka's clock may be ahead

    def _measure(self, result: CycleResult) -> None:
        for load in result.loads:
            # What is unknown is not zero, and a share of an unknown capacity is unknown.
            whole_bps = load.capacity_bps or nan
            natural_bps = None if self._history[-1][load.link].is_silent else load.natural_bps
            metrics.LINK_CARRIED.labels(load.link).set(_or_nan(load.carried_bps) / whole_bps)
            metrics.LINK_DROPPED.labels(load.link).set(_or_nan(load.dropped_bps) / whole_bps)
            metrics.LINK_NATURAL.labels(load.link).set(_or_nan(natural_bps) / whole_bps)
            metrics.LINK_ERROR.labels(load.link).set(load.error_share)
            for state in get_args(Feed):
                metrics.LINK_FEED.labels(load.link, state).set(load.feed == state)
        metrics.DECISIONS.labels(self._pop.name).inc()
        metrics.EGRESS_MISMATCH.labels(self._pop.name).set(_or_nan(result.egress_mismatch_share))
        metrics.OVERRIDES.labels(self._pop.name).set(len(result.overrides))
        open_links = sum(event.state != "closed" for event in result.congestion)
        metrics.CONGESTED_LINKS.labels(self._pop.name).set(open_links)

    def _link_window(self, start_s: int, link: str, row: LinkWindowRow) -> LinkWindow:
        known = self._pop.links.get(link)
        configured_bps = None if known is None else known.configured_bps
        measured = LinkWindow.of(link, configured_bps, start_s, row.length_s, row.sums, row.rates)
        return msgspec.structs.replace(measured, has_gap=True) if row.has_gap else measured


def _or_nan(value: float | None) -> float:
    """How Prometheus writes what is unknown."""
    return nan if value is None else value
