"""The counters agent: keeps the last readings of every interface from `sfacctd-counters-<pop>`."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from faust.types import TP

from app.config.inventory import Pop
from app.contract import topics
from app.contract.schemas import Notice
from app.feeds.attribution import CLOCK_SKEW_MAX_S
from app.feeds.counters import InterfaceCounters, decode
from app.feeds.rejected import Rejected
from app.stream.consumer import Record
from app.stream.exact import Reading
from app.stream.fetching import Hole
from app.stream.publish import Publisher
from app.te.traffic.counters import CounterSample, Rates, link_rates
from tables.interfaces import CountersProgress, InterfaceRow, InterfaceTable

KEEP_S = 120.0


class CountersState:
    """Counter readings by (PoP, router, ifIndex) in memory, in front of their rows."""

    def __init__(self, pops: Mapping[str, Pop], table: InterfaceTable, publisher: Publisher) -> None:
        self._pops = {topics.COUNTERS.for_pop(name): pop for name, pop in pops.items()}
        self.topics = list(self._pops)
        self._table = table
        self._publisher = publisher
        self.reset()

    def reset(self) -> None:
        """Forget all readings and everything queued."""
        self._samples: dict[str, list[CounterSample]] = defaultdict(list)
        self.heard: dict[tuple[str, str], float] = {}  # (PoP, router) -> Kafka time of its last record
        self._dirty: set[str] = set()
        self._advanced: set[str] = set()
        self.progress = {pop.name: CountersProgress() for pop in self._pops.values()}
        self._publisher.drop()

    def load(self) -> None:
        """Rebuild readings and progress from the rows."""
        self.reset()
        for pop in self._pops.values():
            self.progress[pop.name] = self._table.progress.get(f"{pop.name}|progress") or CountersProgress()
            for router in pop.routers:
                for key, row in self._table.rows.items(f"{pop.name}|{router}|"):
                    self._samples[key] = row.samples

    def apply(self, tp: TP, records: Sequence[Record]) -> None:
        """Apply counter samples one by one."""
        self._advanced.add(self._pops[tp.topic].name)
        for record in records:
            self._apply(tp, record)

    def _apply(self, tp: TP, record: Record) -> None:
        """Apply one counter sample; a reading that is not newer than the last one is known already."""
        pop = self._pops[tp.topic]
        progress = self.progress[pop.name]
        replay = record.position <= progress.applied
        progress.applied = max(progress.applied, record.position)
        parsed = decode(record.value)
        if isinstance(parsed, Rejected) and not replay:
            progress.dead_letters += 1
            self._publisher.dead_letter(tp, record, parsed)
        if not isinstance(parsed, InterfaceCounters):
            return
        router = pop.router_by_agent.get(parsed.exporter)
        if router is None:
            self._ignore(progress, "unknown-router", replay)
            return
        self.heard[pop.name, router] = record.timestamp_s
        if (router, parsed.ifindex) not in pop.link_by_interface:
            self._ignore(progress, "unknown-interface", replay)
            return
        if parsed.at_s > record.timestamp_s + CLOCK_SKEW_MAX_S:
            self._ignore(progress, "clock-skew", replay)  # otherwise nothing would be newer until that time comes
            return
        progress.records += not replay
        self._take(f"{pop.name}|{router}|{parsed.ifindex}", parsed)

    def skip(self, tp: TP, hole: Hole) -> None:
        """Go on behind offsets without a record."""
        pop = self._pops[tp.topic].name
        self._advanced.add(pop)
        progress = self.progress[pop]
        if hole.position > progress.applied:
            progress.applied = hole.position
            if hole.rejected is not None:
                progress.dead_letters += 1
                self._publisher.dead_letter(tp, hole, hole.rejected)

    @staticmethod
    def _ignore(progress: CountersProgress, reason: str, replay: bool) -> None:
        progress.ignored[reason] = progress.ignored.get(reason, 0) + (not replay)

    def _take(self, key: str, counters: InterfaceCounters) -> None:
        samples, at_s = self._samples[key], counters.at_s
        self._dirty.add(key)
        if not samples or at_s > samples[-1].at_s:
            samples.append(
                CounterSample(
                    at_s=at_s,
                    in_octets=counters.in_octets,
                    out_octets=counters.out_octets,
                    out_packets=counters.out_packets,
                    out_discards=counters.out_discards,
                    speed_bps=counters.speed_bps,
                    up=counters.up,
                )
            )
            while samples[0].at_s < at_s - KEEP_S:
                samples.pop(0)

    def rates(self, pop: Pop, link: str, start_s: float, end_s: float) -> Rates | None:
        """Loads of a link in a window by its counters; None without trusted readings."""
        definition = pop.links[link]
        keys = (f"{pop.name}|{definition.router}|{index}" for index in definition.ifindexes)
        return link_rates([self._samples[key] for key in keys if key in self._samples], start_s, end_s)

    def last_reading_s(self, pop: Pop, link: str) -> float | None:
        """Unix time of a link's newest reading (of the LAG member read longest ago); None before the first."""
        definition = pop.links[link]
        known = (self._samples.get(f"{pop.name}|{definition.router}|{index}") for index in definition.ifindexes)
        return min((samples[-1].at_s for samples in known if samples), default=None)

    def heard_s(self, pop: Pop) -> Mapping[str, float]:
        """Kafka's time of the last record from each router, in Unix seconds."""
        return {router: at_s for (name, router), at_s in self.heard.items() if name == pop.name}

    def notices(self, pop: Pop, now_s: float) -> list[Notice]:
        """What people should know of this input at Kafka time `now_s`."""
        return []

    def write_rows(self) -> None:
        """Write the rows of all interfaces with new readings."""
        for key in sorted(self._dirty):
            self._table.rows.put(key, InterfaceRow(self._samples[key]))
        self._dirty.clear()

    def publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        """Return the queued dead letters; counters publish nothing else."""
        return self._publisher.take()

    def write_progress(self) -> None:
        """Write the position up to which each PoP was read, for PoPs with records since the last flush."""
        for name in sorted(self._advanced):
            self._table.progress.put(f"{name}|progress", self.progress[name])
        self._advanced.clear()


def reading(state: CountersState, table: InterfaceTable) -> Reading:
    """What the counters agent reads and keeps."""
    return Reading("counters", state, state.topics, [table.table])
