"""The routes agent: applies `bmp-<pop>` to the Rib and its rows. Telemetry and the actuator each have their own."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from faust.types import TP

from app.config.inventory import Pop
from app.contract import topics
from app.contract.schemas import Notice
from app.feeds.bmp import decode
from app.feeds.bmp_sessions import RibFeed, Sessions
from app.feeds.rejected import Rejected
from app.stream.consumer import Record
from app.stream.exact import Reading
from app.stream.fetching import Hole
from app.stream.publish import Publisher
from app.te.routing.rib import Rib
from tables.rib import KeptRib, Pace, RibTable, progress_key

PACE = Pace()
OnChange = Callable[[str, str, Sequence[str]], None]  # PoP, router, prefixes


class RoutesState:
    """One Rib per PoP in memory, in front of the packed rows. Setting a path twice is the same as setting it once."""

    def __init__(
        self,
        pops: Mapping[str, Pop],
        table: RibTable,
        publisher: Publisher,
        on_change: OnChange,
        pace: Pace = PACE,
    ) -> None:
        self.ribs = {name: Rib() for name in pops}
        self.heard: dict[tuple[str, str], float] = {}  # (PoP, router) -> Kafka time of its last record
        self._pops = {topics.BMP.for_pop(name): pop for name, pop in pops.items()}
        self.topics = list(self._pops)
        self._table = table
        self._publisher = publisher
        self._on_change = on_change
        self._pace = pace
        self.reset()

    def reset(self) -> None:
        """Forget paths and sessions; the Rib objects stay, because others refer to them."""
        for rib in self.ribs.values():
            rib.clear()
        self._take_up(self._kept_from({}))
        self._publisher.drop()

    def _kept_from(self, sessions: Mapping[str, Sessions]) -> dict[str, KeptRib]:
        """A new feed for each PoP with its rows, from the sessions of its progress row if it has one."""
        feeds = [RibFeed(pop, self.ribs[pop.name], sessions.get(pop.name)) for pop in self._pops.values()]
        return {feed.pop.name: KeptRib(feed, self._table, self._pace) for feed in feeds}

    def _take_up(self, kept: dict[str, KeptRib]) -> None:
        self._kept = kept
        self.feeds = {name: kept_rib.feed for name, kept_rib in kept.items()}

    def load(self) -> None:
        """Rebuild from the rows. Rows ahead of the progress get their records again, with the same result.

        It may run in a thread: `feeds` show how far was read only when all of that is in the Rib.
        """
        self.reset()
        progress = {name: self._table.progress.get(progress_key(name)) for name in self.feeds}
        kept = self._kept_from({name: sessions for name, sessions in progress.items() if sessions is not None})
        for kept_rib in kept.values():
            kept_rib.load()
        self._take_up(kept)

    def checkpoint(self) -> Mapping[str, int]:
        """Position by topic up to which rows are complete; a start reads what follows again, acknowledged or not."""
        return {topic: self._kept[pop.name].checkpoint for topic, pop in self._pops.items()}

    def apply(self, tp: TP, records: Sequence[Record]) -> None:
        """Apply BMP messages one by one."""
        for record in records:
            self._apply(tp, record)

    def _apply(self, tp: TP, record: Record) -> None:
        """Apply one BMP message, unless it is a replay: its rows were confirmed before the progress was written."""
        pop = self._pops[tp.topic]
        feed = self.feeds[pop.name]
        replay = record.position <= feed.sessions.applied
        feed.sessions.applied = max(feed.sessions.applied, record.position)
        parsed = decode(record.value)
        if isinstance(parsed, Rejected):
            if not replay:
                self._publisher.dead_letter(tp, record, parsed)
            return
        if (sender := feed.router_of(parsed)) is not None:
            self.heard[pop.name, sender] = record.timestamp_s
        if replay:
            return
        feed.sessions.records += 1
        touched = feed.apply(parsed, record.timestamp_s)
        for router, prefixes in [*([touched] if touched else []), *feed.expire(record.timestamp_s)]:
            for prefix in prefixes:
                self._kept[pop.name].touch(prefix, record.position)
            self._on_change(pop.name, router, prefixes)

    def skip(self, tp: TP, hole: Hole) -> None:
        """Go on behind offsets without a record."""
        sessions = self.feeds[self._pops[tp.topic].name].sessions
        if hole.position > sessions.applied:
            sessions.applied = hole.position
            if hole.rejected is not None:
                self._publisher.dead_letter(tp, hole, hole.rejected)

    def heard_s(self, pop: Pop) -> Mapping[str, float]:
        """Kafka's time of the last record from each router, in Unix seconds."""
        return {router: at_s for (name, router), at_s in self.heard.items() if name == pop.name}

    def notices(self, pop: Pop, now_s: float) -> list[Notice]:
        """What people should know of this input at Kafka time `now_s`."""
        return []

    def write_rows(self) -> None:
        """Write some of the rows that changed (Pace)."""
        for kept in self._kept.values():
            kept.write()

    def publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        """Return the queued dead letters; routes publish nothing else."""
        return self._publisher.take()

    def write_progress(self) -> None:
        """Write the position up to which the rows are complete, with the sessions as of then."""
        for kept in self._kept.values():
            kept.write_progress()


class RoutesRead:
    """Whether a PoP's BMP topic was read to where it ended when reading began; after a rebalance, begins again."""

    def __init__(self, feeds: Callable[[], Mapping[str, RibFeed]], end_offset: Callable[[str], int | None]) -> None:
        self._feeds = feeds
        self._end_offset = end_offset
        self._ends: dict[str, tuple[RibFeed, int]] = {}

    def __call__(self, pop: str) -> bool:
        feed = self._feeds()[pop]  # a rebalance or a recovery makes a new one
        known, end = self._ends.get(pop, (None, 0))
        if known is not feed:
            if (topic_end := self._end_offset(topics.BMP.for_pop(pop))) is None:
                return False
            end = topic_end
            self._ends[pop] = feed, end
        return feed.sessions.applied >= end - 1


def summary(feed: RibFeed) -> dict[str, dict[str, int]]:
    """Per router: how many prefixes it has paths for, and how many of its peers are up."""
    return {
        router: {"prefixes": len(feed.rib.prefixes(router)), "peers": len(feed.rib.peers(router))}
        for router in feed.pop.routers
    }


def reading(state: RoutesState, table: RibTable) -> Reading:
    """What the routes agent reads and keeps."""
    return Reading("routes", state, state.topics, [table.table], state.checkpoint)
