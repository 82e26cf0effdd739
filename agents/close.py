"""A window is closed: put counters beside the flows, decide, and queue what everybody else will read."""

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil, nan
from typing import get_args

from app import metrics
from app.clock import Clock, utc
from app.config.inventory import Pop
from app.config.settings import Settings
from app.contract import topics
from app.contract.schemas import Decision, Feed, LinkUtilization, PrefixShare, PrefixTraffic
from app.stream.publish import Publisher
from app.te.decision.cycle import CycleResult, CycleState, run_cycle
from app.te.decision.plan import Plan
from app.te.explain.stories import Explained, explain_link, explain_prefix
from app.te.routing.natural import NaturalRouting
from app.te.routing.rib import Rib
from app.te.traffic.counters import Rates
from app.te.traffic.link import LinkWindow
from app.te.traffic.windows import Sums
from tables.congestion import CycleRow
from tables.link_windows import LinkWindowRow

log = logging.getLogger(__name__)
TOP_PREFIXES = 50
RatesOf = Callable[[Pop, str, float, float], Rates | None]


class PopCloser:
    """One PoP's history of closed windows, its decision state, and the numbers of its decisions."""

    def __init__(
        self,
        pop: Pop,
        settings: Settings,
        rib: Rib,
        natural: NaturalRouting,
        rates_of: RatesOf,
        publisher: Publisher,
        clock: Clock,
    ) -> None:
        self._pop = pop
        self._settings = settings
        self._rib = rib
        self._natural = natural
        self._rates_of = rates_of
        self._publisher = publisher
        self._clock = clock
        windows = ceil(2 * settings.pacing.share_decay_s / settings.windows.length_s)
        self._history: deque[dict[str, LinkWindow]] = deque(maxlen=windows)
        self.cycle = CycleRow(epoch=int(clock.now_s()), seq=0, state=CycleState())
        self.last: CycleResult | None = None
        self._papers: deque[Plan] = deque(maxlen=1)  # of the last decision

    def load(self, closed: Sequence[tuple[int, str, LinkWindowRow]], cycle: CycleRow | None) -> None:
        """Take up again: the history from its rows, the epoch above every earlier one."""
        by_start: dict[int, dict[str, LinkWindow]] = defaultdict(dict)
        for start_s, link, row in closed:
            by_start[start_s][link] = self._window(start_s, link, row)
        self._history.extend(by_start[start_s] for start_s in sorted(by_start))
        if cycle is not None:
            epoch = max(cycle.epoch + 1, int(self._clock.now_s()))
            self.cycle = CycleRow(epoch=epoch, seq=cycle.seq, state=cycle.state)

    def close(self, start_s: int, sums: dict[str, Sums], closed_s: float) -> dict[str, LinkWindowRow]:
        """Decide on a window that is complete since `closed_s`, Kafka's time; returns its final rows."""
        end_s = start_s + self._settings.windows.length_s
        rows = {
            link: LinkWindowRow(link_sums, self._rates_of(self._pop, link, start_s, end_s), closed=True)
            for link, link_sums in sums.items()
        }
        self._history.append({link: self._window(start_s, link, row) for link, row in rows.items()})
        self._papers.clear()
        result = run_cycle(
            self._pop,
            self._settings.marks,
            self._settings.pacing,
            list(self._history),
            self._rib,
            self._natural,
            self.cycle.state,
            end_s,
            self._papers.append,
        )
        before = self.cycle.state
        self.last = result
        self.cycle = CycleRow(epoch=self.cycle.epoch, seq=self.cycle.seq + 1, state=result.state)
        self._publish(start_s, end_s, result, rows)
        self._publisher.put(
            topics.DECISIONS.for_pop(self._pop.name),
            self._pop.name,
            self._decision(start_s, end_s, closed_s, result),
            sent=partial(self._sent, closed_s),
        )
        self._measure(result)
        self._tell(result, before)
        return rows

    def _tell(self, result: CycleResult, before: CycleState) -> None:
        """The story of the log: what changed with this decision."""
        number = f"{self.cycle.epoch}.{self.cycle.seq}"
        for event in result.congestion:
            if event.state != "open":
                about = {"pop": self._pop.name, "link": event.link, "decision": number}
                log.info(
                    "%s: congestion %s, natural %.0f %%", event.link, event.state, 100 * event.natural, extra=about
                )
        held = {override.prefix for override in result.overrides}
        if held != before.held.keys():
            made, gone = len(held - before.held.keys()), len(before.held.keys() - held)
            what = (self._pop.name, number, len(held), made, gone)
            about = {"pop": self._pop.name, "decision": number}
            log.info("%s: decision %s, %d overrides: %d new, %d gone", *what, extra=about)

    def explain(self, of: str) -> Explained:
        """The story of a link id, a prefix or an address, as of the last decision; LookupError where there is none."""
        if not self._papers:
            raise LookupError(f"{self._pop.name}: no window with traffic was decided on yet; ask again later")
        plan = self._papers[0]
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
            known = nan if load.feed == "silent" else 1.0  # silence is not zero
            metrics.LINK_CARRIED.labels(load.link).set(known * load.carried_bps / load.capacity_bps)
            metrics.LINK_DROPPED.labels(load.link).set(known * load.dropped_bps / load.capacity_bps)
            metrics.LINK_NATURAL.labels(load.link).set(load.natural_bps / load.capacity_bps)
            metrics.LINK_ERROR.labels(load.link).set(load.error_share)
            for state in get_args(Feed):
                metrics.LINK_FEED.labels(load.link, state).set(load.feed == state)
        metrics.DECISIONS.labels(self._pop.name).inc()
        metrics.EGRESS_MISMATCH.labels(self._pop.name).set(result.egress_mismatch_share)
        metrics.OVERRIDES.labels(self._pop.name).set(len(result.overrides))
        open_links = sum(event.state != "closed" for event in result.congestion)
        metrics.CONGESTED_LINKS.labels(self._pop.name).set(open_links)

    def _window(self, start_s: int, link: str, row: LinkWindowRow) -> LinkWindow:
        rates = row.rates
        return LinkWindow(
            link=link,
            window_start_s=start_s,
            window_s=self._settings.windows.length_s,
            capacity_bps=(rates.capacity_bps if rates else 0.0) or self._pop.links[link].capacity_bps,
            carried_bps=rates.carried_bps if rates else None,
            dropped_bps=rates.dropped_bps if rates else None,
            received_bps=rates.received_bps if rates else None,
            up=rates.up if rates else True,
            samples=row.sums.samples,
            demands=row.sums.demands,
            unroutable_bytes=row.sums.unroutable_bytes,
        )

    def _publish(self, start_s: int, end_s: int, result: CycleResult, rows: dict[str, LinkWindowRow]) -> None:
        for load in result.loads:
            row = rows[load.link]
            self._publisher.put(
                topics.LINK_UTILIZATION.name,
                self._pop.name,
                LinkUtilization(
                    id=f"{load.link}@{start_s}",
                    pop=self._pop.name,
                    link=load.link,
                    window_start=utc(start_s),
                    window_s=end_s - start_s,
                    capacity_bps=load.capacity_bps,
                    carried_bps=load.carried_bps,
                    dropped_bps=load.dropped_bps,
                    offered_bps=load.offered_bps,
                    natural_bps=load.natural_bps,
                    moved_in_bps=load.moved_in_bps,
                    moved_out_bps=load.moved_out_bps,
                    received_bps=row.rates.received_bps if row.rates else None,
                    samples=load.samples,
                    sampled_bytes=row.sums.size_bytes,
                    error=load.error_share,
                    up=row.rates.up if row.rates else True,
                    counters=row.rates is not None,
                    feed=load.feed,
                    flow_ratio=load.flow_ratio,
                ),
            )
        for link, row in rows.items():
            self._publisher.put(topics.PREFIX_TRAFFIC.name, self._pop.name, self._traffic(start_s, link, row.sums))

    def _traffic(self, start_s: int, link: str, sums: Sums) -> PrefixTraffic:
        """The largest prefixes of a link, whichever router their traffic came in by."""
        window_s = self._settings.windows.length_s
        return PrefixTraffic(
            id=f"{link}@{start_s}",
            pop=self._pop.name,
            link=link,
            window_start=utc(start_s),
            window_s=window_s,
            prefixes=tuple(
                PrefixShare(prefix, self._natural.origin_as(prefix), 8 * size_bytes / window_s, samples)
                for prefix, size_bytes, samples in sums.demands.largest(TOP_PREFIXES)
            ),
        )

    def _decision(self, start_s: int, end_s: int, closed_s: float, result: CycleResult) -> Decision:
        pacing = self._settings.pacing
        return Decision(
            pop=self._pop.name,
            epoch=self.cycle.epoch,
            seq=self.cycle.seq,
            mode=self._settings.mode,
            window_start=utc(start_s),
            made_at=utc(self._clock.now_s()),
            add_until=utc(end_s + pacing.add_within_s),
            hold_until=utc(end_s + pacing.hold_s),
            congestion=result.congestion,
            overrides=result.overrides,
            released=result.released,
            refused=result.refused,
            egress_mismatch_share=result.egress_mismatch_share,
            barred=result.barred,
            closed_at=utc(closed_s),
        )
