"""Routes: `bmp-<pop>` into the Rib, and its rows. Used by telemetry and, with its own table, by the actuator."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import faust
from faust.types import TP

from app import topics
from app.feeds.bmp import decode
from app.feeds.lines import Bad
from app.feeds.ribfeed import RibFeed, Sessions
from app.inventory import Pop
from app.stream.consumer import Record
from app.stream.fence import StallFence
from app.stream.publish import Publisher
from app.stream.reading import attach_reader
from app.te.rib import Rib
from tables.rib import RibRow, RibTable, bucket_of, progress_key

OnChange = Callable[[str, str, Sequence[str]], None]


class RoutesState:
    """One Rib per PoP in memory, in front of the packed rows. Setting a path twice is setting it once."""

    def __init__(self, pops: Mapping[str, Pop], table: RibTable, publisher: Publisher, on_change: OnChange) -> None:
        self.ribs = {name: Rib() for name in pops}
        self.heard_s: dict[tuple[str, str], float] = {}  # (PoP, router) -> Kafka time of its last record
        self._pops = {topics.BMP.for_pop(name): pop for name, pop in pops.items()}
        self._table = table
        self._publisher = publisher
        self._on_change = on_change
        self.reset()

    def reset(self) -> None:
        """Forget paths and sessions; the Rib objects stay, others hold them."""
        for rib in self.ribs.values():
            rib.clear()
        self._members: dict[tuple[str, str, int], set[str]] = {}
        self._dirty: set[tuple[str, str, int]] = set()
        self._advanced: set[str] = set()
        self._newest = dict.fromkeys(self.ribs, -1)  # position that a row includes; none may go back in it
        self.feeds = {pop.name: RibFeed(pop, self.ribs[pop.name]) for pop in self._pops.values()}
        self._publisher.drop()

    def load(self) -> None:
        """Rebuild from the rows. Those ahead of the progress meet their records again: the last word is the same."""
        self.reset()
        for pop in self._pops.values():
            sessions = self._table.progress.get(progress_key(pop.name)) or Sessions()
            self.feeds[pop.name] = RibFeed(pop, self.ribs[pop.name], sessions)
            for key, row in self._table.rows.items(f"{pop.name}|", but=progress_key(pop.name)):
                router = key.split("|")[1]
                self.feeds[pop.name].restore(router, row.began, row.paths, row.untold)
                bucket = pop.name, router, int(key.rpartition("|")[2])
                self._members[bucket] = {prefix for prefix, _ in row.paths}
                self._newest[pop.name] = max(self._newest[pop.name], row.applied)
                if row.applied > sessions.applied:
                    self._dirty.add(bucket)  # the changelog may not have it

    def apply(self, tp: TP, records: Sequence[Record]) -> None:
        """One after the other."""
        self._advanced.add(self._pops[tp.topic].name)
        for record in records:
            self._apply(tp, record)

    def _apply(self, tp: TP, record: Record) -> None:
        """One BMP message; a replay is not applied: its rows were answered before the progress was written."""
        pop = self._pops[tp.topic]
        feed = self.feeds[pop.name]
        replay = record.position <= feed.sessions.applied
        feed.sessions.applied = max(feed.sessions.applied, record.position)
        parsed = decode(record.value)
        if isinstance(parsed, Bad):
            if not replay:
                self._publisher.dead_letter(tp, record, parsed)
            return
        if (heard := feed.router_of(parsed)) is not None:
            self.heard_s[pop.name, heard] = record.timestamp_s
        if replay:
            return
        feed.sessions.records += 1
        touched = feed.apply(parsed, record.timestamp_s)
        for router, prefixes in [*([touched] if touched else []), *feed.expire(record.timestamp_s)]:
            for prefix in prefixes:
                self._bucket(pop.name, router, prefix).add(prefix)
                self._dirty.add((pop.name, router, bucket_of(prefix)))
            self._on_change(pop.name, router, prefixes)

    def _bucket(self, pop: str, router: str, prefix: str) -> set[str]:
        return self._members.setdefault((pop, router, bucket_of(prefix)), set())

    def write_rows(self) -> None:
        """Pack and write the buckets that changed."""
        for pop, router, bucket in sorted(self._dirty):
            rib, feed = self.ribs[pop], self.feeds[pop]
            members = self._members[pop, router, bucket]
            members -= {prefix for prefix in members if not rib.paths(router, prefix)}
            paths = [(prefix, path) for prefix in sorted(members) for path in rib.paths(router, prefix).values()]
            applied = max(self._newest[pop], feed.sessions.applied)
            row = RibRow(paths, applied, feed.began(router), feed.untold(router, paths))
            self._table.rows.put(f"{pop}|{router}|{bucket:04d}", row)
        self._dirty.clear()

    def publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        """Dead letters only."""
        return self._publisher.take()

    def write_progress(self) -> None:
        """Sessions and the offset, last, of PoPs of which something came."""
        for name in sorted(self._advanced):
            self._table.progress.put(progress_key(name), self.feeds[name].sessions)
        self._advanced.clear()


def summary(feed: RibFeed) -> dict[str, dict[str, int]]:
    """Per router: prefixes held, and peers up."""
    return {
        router: {"prefixes": len(feed.rib.prefixes(router)), "peers": len(feed.rib.peers(router))}
        for router in feed.pop.routers
    }


def attach(app: faust.App, state: RoutesState, table: RibTable, fence: StallFence, pops: Sequence[str]) -> None:
    """Attach the routes agent to an app."""
    read = [topics.BMP.for_pop(pop) for pop in pops]
    attach_reader(app, "routes", state, read, [table.table], fence)
