"""The counters agent: keeps the last readings of every interface from `sfacctd-counters-<pop>`."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Any

import msgspec
from faust.types import TP

from app.config.inventory import Pop
from app.contract import topics
from app.contract.schemas import Notice
from app.feeds.attribution import CLOCK_SKEW_MAX_S, router_of
from app.feeds.counters import InterfaceCounters, Unused, decode
from app.feeds.rejected import Rejected
from app.stream.consumer import Record
from app.stream.exact import Reading
from app.stream.fetching import Hole
from app.stream.publish import Publisher
from app.te.evidence.counter_notices import never_read, of_link, renumbered
from app.te.evidence.renumbering import note, successors
from app.te.traffic.counters import follow
from app.te.traffic.lag import (
    LinkPorts,
    PortView,
    Rates,
    aggregates,
    facts,
    fastest_bps,
    link_rates,
    refuted,
    views,
)
from app.te.traffic.port import CounterSample, Port
from app.te.traffic.windows import ClosedWindow
from tables.interfaces import OTHERS_MAX, CountersProgress, InterfaceTable

KEEP_S = 120.0
FEW, KEEP_FEW_S = 3, 600.0  # so many readings are kept for longer, of ports that are read rarely
SAMPLES_MAX = 256  # of a port: more are no polls
NOTICES_MAX = 20  # of a kind


class CountersState:
    """Counter readings by (PoP, router, ifIndex) in memory, in front of their rows."""

    def __init__(self, pops: Mapping[str, Pop], table: InterfaceTable, publisher: Publisher) -> None:
        self._pops = {topics.COUNTERS.for_pop(name): pop for name, pop in pops.items()}
        self.topics = list(self._pops)
        self._table = table
        self._publisher = publisher
        self.reset()

    def reconfigure(self, pops: Mapping[str, Pop]) -> None:
        """Go on with other inventories of the same PoPs and routers."""
        self._pops = {topics.COUNTERS.for_pop(name): pop for name, pop in pops.items()}

    def reset(self) -> None:
        """Forget all readings and everything queued."""
        self._ports: dict[str, Port] = {}
        self._seen: dict[str, tuple[list[PortView], Rates | None]] = {}  # links as of their last window
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
                    self._ports[key] = row

    def apply(self, tp: TP, records: Sequence[Record]) -> None:
        """Apply counter samples one by one."""
        self._advanced.add(self._pops[tp.topic].name)
        for record in records:
            self._apply(tp, record)

    def _apply(self, tp: TP, record: Record) -> None:
        """Apply one counter sample."""
        pop = self._pops[tp.topic]
        progress = self.progress[pop.name]
        replay = record.position <= progress.applied
        progress.applied = max(progress.applied, record.position)
        parsed = decode(record.value)
        if isinstance(parsed, Rejected) and not replay:
            progress.dead_letters += 1
            self._publisher.dead_letter(tp, record, parsed)
        if isinstance(parsed, Unused):
            self._ignore(progress, parsed.kind, replay)
        if not isinstance(parsed, InterfaceCounters):
            return
        router = router_of(pop, parsed.exporter)
        if router is None:
            self._ignore(progress, "unknown-router", replay)
            return
        progress.heard[router] = record.timestamp_s  # not the newest ever: a clock may have been ahead for a moment
        if parsed.at_s > record.timestamp_s + CLOCK_SKEW_MAX_S:
            self._ignore(progress, "clock-skew", replay)  # otherwise nothing would be newer until that time comes
            return
        link = pop.link_by_interface.get((router, parsed.ifindex))
        if link is None:
            self._ignore(progress, "unknown-interface", replay)
            others = progress.unlisted.setdefault(router, {})
            note(others, parsed.ifindex, parsed.at_s, OTHERS_MAX // len(pop.routers))
            return
        progress.records += not replay
        self._take(
            pop,
            link,
            parsed.ifindex,
            msgspec.structs.replace(parsed.sample, came_s=record.timestamp_s),
            record.position,
            replay,
        )

    def skip(self, tp: TP, hole: Hole) -> None:
        """Go on behind offsets without a record."""
        pop = self._pops[tp.topic].name
        self._advanced.add(pop)
        progress = self.progress[pop]
        if hole.position > progress.applied:
            progress.applied = hole.position
            if hole.rejected is not None:
                progress.dead_letters += hole.rejected.records
                self._publisher.dead_letter(tp, hole, hole.rejected)

    @staticmethod
    def _ignore(progress: CountersProgress, reason: str, replay: bool) -> None:
        progress.ignored[reason] = progress.ignored.get(reason, 0) + (not replay)

    def _take(self, pop: Pop, link: str, ifindex: int, sample: CounterSample, position: int, replay: bool) -> None:
        key = f"{pop.name}|{pop.links[link].router}|{ifindex}"
        self._dirty.add(key)
        port = self._ports.setdefault(key, Port([]))
        port.applied = max(port.applied, position)
        if sample in port.samples or sample in port.older:
            return  # of a replay
        if not port.add(sample):
            self._ignore(self.progress[pop.name], "older", replay)
            return
        samples = port.samples
        while len(samples) > SAMPLES_MAX or sample.at_s - samples[0].at_s > (
            KEEP_S if len(samples) > FEW else KEEP_FEW_S
        ):
            samples.pop(0)
        self._learn(pop, link, port)

    def _learn(self, pop: Pop, link: str, port: Port) -> None:
        """Remember what the newest reading of a port proves: that it is not as slow as it says, or which is the LAG."""
        ports, configured_bps = self._link_ports(pop, link), pop.links[link].configured_bps
        if configured_bps is None or port.samples[-1].speed_bps < configured_bps:
            port.refuted_bps = refuted(port, follow(port.samples, fastest_bps(port, configured_bps)))
        if ports.lag is not None or (lag := aggregates(facts(ports), configured_bps)) is None:
            return
        for ifindex, one in ports.ports.items():
            if one.aggregate is not (ifindex in lag):
                one.aggregate = ifindex in lag
                self._dirty.add(f"{pop.name}|{pop.links[link].router}|{ifindex}")

    def _link_ports(self, pop: Pop, link: str, until_s: float = inf) -> LinkPorts:
        """The ports of a link with the readings that had come by this Kafka time."""
        definition = pop.links[link]
        keys = {ifindex: f"{pop.name}|{definition.router}|{ifindex}" for ifindex in definition.ports}
        return LinkPorts(
            ports={ifindex: self._ports[key].until(until_s) for ifindex, key in keys.items() if key in self._ports},
            lag=frozenset(definition.ifindexes) if definition.members else None,
            expected=len(definition.ports),
            configured_bps=definition.configured_bps,
        )

    def rates(self, pop: Pop, link: str, window: ClosedWindow) -> Rates | None:
        """Loads of a link in a window by its counters; None if no counters of it were ever read.

        Readings that came after the window was closed do not count: after a restart they may be known before it is.
        """
        ports = self._link_ports(pop, link, window.closed_s)
        seen = views(ports, window.end_s)
        rates = link_rates(ports, seen, window.start_s, window.end_s)
        if rates is not None and self._successors(pop, link, seen):
            rates = msgspec.structs.replace(rates, renumbered=True)
        self._seen[link] = seen, rates
        return rates

    def _successors(self, pop: Pop, link: str, ports: Sequence[PortView]) -> list[int]:
        """The interfaces that seem to be this link's now, all of whose own ones are silent."""
        if not ports or not all(port.silent for port in ports):
            return []
        unlisted = self.progress[pop.name].unlisted.get(pop.links[link].router, {})
        return successors(unlisted, max(port.read_s for port in ports))

    def last_reading_s(self, pop: Pop, link: str) -> float | None:
        """Unix time of a link's newest reading; None before the first."""
        ports = self._link_ports(pop, link).ports.values()
        return max((port.samples[-1].at_s for port in ports if port.samples), default=None)

    def heard_s(self, pop: Pop, now_s: float) -> Mapping[str, float]:
        """Kafka's time of the last record from each router up to `now_s`, in Unix seconds.

        Of a router that was heard later as well, it is the last reading that counted.
        """
        heard = self.progress[pop.name].heard
        return {router: at_s if at_s <= now_s else self._read_s(pop, router, now_s) for router, at_s in heard.items()}

    def _read_s(self, pop: Pop, router: str, until_s: float) -> float:
        ports = [port for key, port in self._ports.items() if key.startswith(f"{pop.name}|{router}|")]
        came_s = [sample.came_s for port in ports for sample in port.samples if sample.came_s <= until_s]
        return max(came_s, default=until_s)

    def notices(self, pop: Pop, now_s: float) -> list[Notice]:
        """What people should know of the links' counters at Kafka time `now_s`, as of the last closed window."""
        counts: Counter[str] = Counter()
        kept = []
        for notice in self._notices(pop, now_s):
            counts[notice.kind] += 1
            if counts[notice.kind] <= NOTICES_MAX:
                kept.append(notice)
        return kept

    def _notices(self, pop: Pop, now_s: float) -> Iterator[Notice]:
        for link, definition in pop.links.items():
            ports, rates = self._seen.get(link, ([], None))
            if rates is None:
                if definition.router in self.progress[pop.name].heard:
                    yield never_read(link, definition)
                continue
            if to := self._successors(pop, link, ports):
                yield renumbered(link, definition, to)
            yield from of_link(link, definition, ports, rates, now_s)

    def checkpoint(self) -> Mapping[str, int]:
        """Position by topic up to which the rows are complete."""
        return {topic: self.progress[pop.name].applied for topic, pop in self._pops.items()}

    def write_rows(self) -> None:
        """Write the rows of all interfaces with new readings."""
        for key in sorted(self._dirty):
            self._table.rows.put(key, self._ports[key])
        self._dirty.clear()

    def publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        """Return the queued dead letters; counters publish nothing else."""
        return self._publisher.take()

    def final_publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        """Nothing that counters publish has to be final."""
        return ()

    def write_progress(self) -> None:
        """Write the position up to which each PoP was read, for PoPs with records since the last flush."""
        for name in sorted(self._advanced):
            self._table.progress.put(f"{name}|progress", self.progress[name])
        self._advanced.clear()


def reading(state: CountersState, table: InterfaceTable) -> Reading:
    """What the counters agent reads and keeps."""
    joined = {topics.COUNTERS.for_pop(name): [topics.FLOWS.for_pop(name)] for name in state.progress}
    return Reading("counters", state, state.topics, [table.table], state.checkpoint, joined)
