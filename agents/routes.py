"""The routes agent: applies `bmp-<pop>` to the Rib and its rows. Telemetry and the actuator each have their own."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from typing import Any

from faust.types import TP

from app.clock import Clock
from app.config.inventory import Pop
from app.contract import topics
from app.contract.schemas import Notice
from app.feeds.bmp import BmpRecord, decode
from app.feeds.bmp_memory import Sessions
from app.feeds.bmp_notices import bmp_notices, sends_statistics
from app.feeds.rejected import Rejected
from app.feeds.rib_feed import RibFeed
from app.stream.consumer import Record
from app.stream.exact import Reading
from app.stream.fetching import Hole
from app.stream.publish import Publisher
from app.te.routing.heard import Heard
from app.te.routing.rib import Rib
from tables.rib import KeptRib, Pace, RibTable, progress_key

PACE = Pace()
OnChange = Callable[[str, str, Sequence[str]], None]  # PoP, router, prefixes
EndOffset = Callable[[str], int | None]  # topic -> the position at which it ended at the last fetch, if there was one


class RoutesState:
    """One Rib per PoP in memory, in front of the packed rows."""

    def __init__(
        self,
        pops: Mapping[str, Pop],
        table: RibTable,
        publisher: Publisher,
        on_change: OnChange,
        end_offset: EndOffset,
        pace: Pace = PACE,
    ) -> None:
        self.ribs = {name: Rib() for name in pops}
        self._pops = {topics.BMP.for_pop(name): pop for name, pop in pops.items()}
        self.topics = list(self._pops)
        self._table = table
        self._publisher = publisher
        self._on_change = on_change
        self._end_offset = end_offset
        self._pace = pace
        self._ahead: dict[str, tuple[float, float]] = {}  # PoP -> time of its newest record, and how far it was ahead
        self.reset()

    def reconfigure(self, pops: Mapping[str, Pop]) -> None:
        """Go on with other inventories of the same PoPs and routers."""
        self._pops = {topics.BMP.for_pop(name): pop for name, pop in pops.items()}
        for name, feed in self.feeds.items():
            feed.reconfigure(pops[name])

    def reset(self) -> None:
        """Forget paths and sessions; the Rib objects stay, because others refer to them."""
        for rib in self.ribs.values():
            rib.clear()
        self._take_up(self._kept_from({}))
        self._publisher.drop()
        self._ahead.clear()

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
        if replay:
            return
        parsed = decode(record.value)
        if not isinstance(parsed, BmpRecord):
            self._publisher.dead_letter(tp, record, parsed if isinstance(parsed, Rejected) else parsed.rejected)
            if isinstance(parsed, Rejected):
                return
            parsed = parsed.withdraw
        feed.sessions.records += 1
        for router, prefixes in (*feed.apply(parsed, record.timestamp_s), *feed.expire(feed.sessions.at_s)):
            for prefix in prefixes:
                self._kept[pop.name].touch(prefix, record.position)
            self._on_change(pop.name, router, prefixes)

    def skip(self, tp: TP, hole: Hole) -> None:
        """Go on behind offsets without a record."""
        feed = self.feeds[self._pops[tp.topic].name]
        if hole.position > feed.sessions.applied:
            feed.sessions.applied = hole.position
            if hole.is_missing:
                feed.tracker.has_gap()
            if hole.rejected is not None:
                self._publisher.dead_letter(tp, hole, hole.rejected)

    def heard_s(self, pop: Pop, now_s: float) -> Mapping[str, float]:
        """Kafka's time of the last record from each router, in Unix seconds."""
        return self.feeds[pop.name].sessions.heard

    def sends_statistics(self, pop: Pop) -> frozenset[str]:
        """The routers whose BMP sessions have a heartbeat: statistics reports."""
        return frozenset(router for router in pop.routers if sends_statistics(self.feeds[pop.name], router))

    def doubtful(self, pop: Pop, now_s: float) -> frozenset[str]:
        """The routers whose paths may be out of date at Kafka time `now_s`: no move may lead to them."""
        return self.feeds[pop.name].doubtful(self._read_to_s(pop, now_s))

    def notices(self, pop: Pop, now_s: float) -> list[Notice]:
        """What people should know of this input at Kafka time `now_s`."""
        read_to_s = self._read_to_s(pop, now_s)
        return bmp_notices(self.feeds[pop.name], read_to_s, self._ahead[pop.name][1])

    def _read_to_s(self, pop: Pop, now_s: float) -> float:
        """The Kafka time up to which the topic of a PoP was read: now, or that of the last record if there are more.

        Nobody is silent because we are behind. If the clock of the records is ahead of that by which `now_s` is
        measured, by as much as the newest was ahead when it was new: a dead router must not be believed for so long.
        """
        topic, sessions = topics.BMP.for_pop(pop.name), self.feeds[pop.name].sessions
        newest_s, ahead_s = self._ahead.get(pop.name, (-1.0, 0.0))
        if newest_s != sessions.at_s:
            ahead_s = max(0.0, sessions.at_s - now_s)
            self._ahead[pop.name] = sessions.at_s, ahead_s
        end = self._end_offset(topic)
        return now_s + ahead_s if end is not None and sessions.applied >= end - 1 else sessions.at_s

    def write_rows(self) -> None:
        """Write some of the rows that changed (Pace)."""
        for kept in self._kept.values():
            kept.write()

    def publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        """Return the queued dead letters; routes publish nothing else."""
        return self._publisher.take()

    def final_publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        """Nothing that routes publish has to be final."""
        return ()

    def write_progress(self) -> None:
        """Write the position up to which the rows are complete, with the sessions as of then."""
        for kept in self._kept.values():
            kept.write_progress()


class BmpHearing:
    """How long each router of a PoP has been silent on BMP, in seconds.

    The time between records is Kafka's, that since the last one is monotonic: two clocks are compared only once. When
    the topic was `read` to its end, our clock says how old its last record is. So a router that is silent since before
    a start is in doubt at once, and not for longer than since the start, in case that clock is wrong. Later,
    nobody is silent for longer than by our own time: a collector that was cut off writes records of the past.
    """

    def __init__(self, feed: Callable[[], RibFeed], is_read: Callable[[], bool], clock: Clock) -> None:
        self._feed = feed
        self._is_read = is_read
        self._clock = clock
        self._begin(feed())

    def _begin(self, feed: RibFeed) -> None:
        self._of = feed
        self._seen, self._seen_s, self._older_s = -1, self._clock.monotonic_s(), 0.0
        self._has_looked = False
        self._last: dict[str, tuple[float, float]] = {}  # router -> its last record, by Kafka's and by our time

    def __call__(self, router: str) -> Heard:
        if (feed := self._feed()) is not self._of:  # a rebalance or a recovery made a new one
            self._begin(feed)
        sessions, now_s = feed.sessions, self._clock.monotonic_s()
        if sessions.applied != self._seen:
            self._seen, self._seen_s, self._older_s = sessions.applied, now_s, 0.0
        if not self._has_looked and self._is_read():
            self._has_looked = True
            most_s = max(each.bmp_silence_s for each in feed.pop.router)
            self._older_s = min(max(self._clock.now_s() - sessions.at_s, 0.0), most_s)
        read_to_s = sessions.at_s + self._older_s + now_s - self._seen_s
        silent_s = read_to_s - sessions.heard[router] if router in sessions.heard else inf
        heard_s = sessions.heard.get(router, -1.0)
        if self._last.get(router, (None, 0.0))[0] != heard_s:
            self._last[router] = heard_s, now_s
        if self._has_looked and router in sessions.heard:
            silent_s = min(silent_s, now_s - self._last[router][1] + self._older_s)
        return Heard(silent_s, feed.tracker.is_doubtful(router, read_to_s))


class RoutesRead:
    """Whether a PoP's BMP topic was read to where it ended when reading began; after a rebalance, begins again."""

    def __init__(self, feeds: Callable[[], Mapping[str, RibFeed]], end_offset: EndOffset) -> None:
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
    return Reading("routes", state, state.topics, [table.table], state.checkpoint, leads=True)
