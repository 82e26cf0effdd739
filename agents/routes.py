"""Routes: `bmp-<pop>` into the Rib, and its rows. Used by telemetry and, with its own table, by the actuator."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from faust.types import TP

from app.config.inventory import Pop
from app.contract import topics
from app.feeds.bmp import decode
from app.feeds.bmp_sessions import RibFeed, Sessions
from app.feeds.rejected import Rejected
from app.stream.consumer import Record
from app.stream.exact import Reading
from app.stream.publish import Publisher
from app.te.routing.rib import Rib
from tables.rib import KeptRib, Pace, RibTable, progress_key

PACE = Pace()
OnChange = Callable[[str, str, Sequence[str]], None]  # PoP, router, prefixes


class RoutesState:
    """One Rib per PoP in memory, in front of the packed rows. Setting a path twice is setting it once."""

    def __init__(
        self,
        pops: Mapping[str, Pop],
        table: RibTable,
        publisher: Publisher,
        on_change: OnChange,
        pace: Pace = PACE,
    ) -> None:
        self.ribs = {name: Rib() for name in pops}
        self.heard_s: dict[tuple[str, str], float] = {}  # (PoP, router) -> Kafka time of its last record
        self._pops = {topics.BMP.for_pop(name): pop for name, pop in pops.items()}
        self.topics = list(self._pops)
        self._table = table
        self._publisher = publisher
        self._on_change = on_change
        self._pace = pace
        self.reset()

    def reset(self) -> None:
        """Forget paths and sessions; the Rib objects stay, others hold them."""
        for rib in self.ribs.values():
            rib.clear()
        self._take_up(self._kept_from({}))
        self._publisher.drop()

    def _kept_from(self, sessions: Mapping[str, Sessions]) -> dict[str, KeptRib]:
        """With new feeds, from the sessions of a progress row where there is one."""
        feeds = [RibFeed(pop, self.ribs[pop.name], sessions.get(pop.name)) for pop in self._pops.values()]
        return {feed.pop.name: KeptRib(feed, self._table, self._pace) for feed in feeds}

    def _take_up(self, kept: dict[str, KeptRib]) -> None:
        self._kept = kept
        self.feeds = {name: one.feed for name, one in kept.items()}

    def load(self) -> None:
        """Rebuild from the rows. Those ahead of the progress meet their records again: the last word is the same.

        It may run in a thread: `feeds` tell how far was read only when all of that is in the Rib.
        """
        self.reset()
        found = {name: self._table.progress.get(progress_key(name)) for name in self.feeds}
        kept = self._kept_from({name: sessions for name, sessions in found.items() if sessions is not None})
        for one in kept.values():
            one.load()
        self._take_up(kept)

    def checkpoint(self) -> Mapping[str, int]:
        """Rows are behind what is acknowledged: what follows these positions must come again at the start."""
        return {topic: self._kept[pop.name].checkpoint for topic, pop in self._pops.items()}

    def apply(self, tp: TP, records: Sequence[Record]) -> None:
        """One after the other."""
        for record in records:
            self._apply(tp, record)

    def _apply(self, tp: TP, record: Record) -> None:
        """One BMP message; a replay is not applied: its rows were answered before the progress was written."""
        pop = self._pops[tp.topic]
        feed = self.feeds[pop.name]
        replay = record.position <= feed.sessions.applied
        feed.sessions.applied = max(feed.sessions.applied, record.position)
        parsed = decode(record.value)
        if isinstance(parsed, Rejected):
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
                self._kept[pop.name].touch(prefix, record.position)
            self._on_change(pop.name, router, prefixes)

    def write_rows(self) -> None:
        """Write some of what changed."""
        for kept in self._kept.values():
            kept.write()

    def publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        """Dead letters only."""
        return self._publisher.take()

    def write_progress(self) -> None:
        """Up to where the rows are whole, and the sessions then, last."""
        for kept in self._kept.values():
            kept.write_progress()


class RoutesRead:
    """Whether a PoP's BMP topic was read to where it ended when reading began, anew after each rebalance."""

    def __init__(self, feeds: Callable[[], Mapping[str, RibFeed]], end_offset: Callable[[str], int | None]) -> None:
        self._feeds = feeds
        self._end_offset = end_offset
        self._ends: dict[str, tuple[RibFeed, int]] = {}

    def __call__(self, pop: str) -> bool:
        feed = self._feeds()[pop]  # a rebalance or a recovery makes a new one
        known, end = self._ends.get(pop, (None, 0))
        if known is not feed:
            if (found := self._end_offset(topics.BMP.for_pop(pop))) is None:
                return False
            end = found
            self._ends[pop] = feed, end
        return feed.sessions.applied >= end - 1


def summary(feed: RibFeed) -> dict[str, dict[str, int]]:
    """Per router: prefixes held, and peers up."""
    return {
        router: {"prefixes": len(feed.rib.prefixes(router)), "peers": len(feed.rib.peers(router))}
        for router in feed.pop.routers
    }


def reading(state: RoutesState, table: RibTable) -> Reading:
    """The routes agent."""
    return Reading("routes", state, state.topics, [table.table], state.checkpoint)
