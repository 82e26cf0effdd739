"""`rib`: post-policy Adj-RIB-In paths, packed many prefixes to a row, for one write costs 175 us whatever its size.

| key | value |
|---|---|
| `pop|bucket|0000` | `RibRow`: all paths of the prefixes with this CRC-32 modulo BUCKETS, as of a position |
| `pop|progress` | the sessions as of the position up to which all rows are whole |

At a million prefixes with three peers a row has some 90 KB, and every update is of another row. So a flush writes only
some of the rows that changed, the longest unwritten first, and the progress stays before the first record that a row
lacks. What lies between is in the topic: it is read again at the start, though it was acknowledged
(docs/decisions/0010-full-table.md). Written by the routes agent only.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Generic, TypeVar

import msgspec

from app.feeds.bmp_sessions import RibFeed, Sessions, StalePlaces
from app.te.routing.interning import PathSet
from app.te.routing.rib import BUCKETS, bucket_of
from tables.store import ExactTable, OpenTable, Rows

T = TypeVar("T")

VERSION = 4
SESSIONS_KEPT = 128  # of so many flushes at most while rows are behind: with a thousand peers one has 100 KB


class RibRow(msgspec.Struct, gc=False):
    """(prefix, packed PathSet) of one bucket; which of them the sessions that began at `began` have not refreshed."""

    applied: int
    flush: int
    began: dict[str, int]
    paths: list[tuple[str, msgspec.Raw]]
    stale: list[StalePlaces] = msgspec.field(default_factory=list, name="untold")


class RibTable:
    """The table with its two kinds of rows."""

    def __init__(self, table: ExactTable) -> None:
        self.table = table
        self.rows = Rows(table, RibRow, lambda row: row.applied, VERSION)
        self.progress = Rows(table, Sessions, lambda row: row.applied, VERSION)


class Pace(msgspec.Struct, frozen=True):
    """How much a flush writes: all rows that changed in so many records, and at least so many bytes.

    More where nothing came since the last one: then all that is behind is made up for, once.
    """

    records: int = 400_000
    bytes_min: int = 64 * 1024
    idle_bytes_min: int = 1 << 20


class Unpacked(Generic[T]):
    """Unpacks each distinct value once: ten prefixes on average have the same paths."""

    def __init__(self, kind: Any, then: Callable[[T], T]) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._then = then
        self._known: dict[bytes, T] = {}

    def __call__(self, packed: msgspec.Raw) -> T:
        key = bytes(packed)
        if (known := self._known.get(key)) is None:
            known = self._known[key] = self._then(self._decoder.decode(key))
        return known


class KeptRib:
    """The rows of one PoP's Rib.

    A row is what its bucket held when the record at its position had been applied. So a record may be applied again to
    a row that has it: the last word is the same, and the row need not be written for it.

    Flushes are numbered, so that a row that the changelog may lack is told from one that it has. A process takes its
    first number two above the last one that is known, for what died may have begun the next, and writes no row before
    the changelog has that: else a disk that comes back could have rows of the same numbers.
    """

    def __init__(self, feed: RibFeed, table: RibTable, pace: Pace) -> None:
        self.feed = feed
        self._table = table
        self.pace = pace
        self._included = [-1] * BUCKETS  # positions of the rows
        self._behind: dict[int, int] = {}  # bucket -> position up to which its row is whole, the oldest first
        self._flushed = deque([copied(feed.sessions)])  # from where rows are whole to the last flush
        self._applied = feed.sessions.applied  # at the last flush
        self._first_flush = feed.sessions.flush + 2
        self._flush = self._first_flush - 1
        self._is_moving = False  # this flush writes something

    def load(self) -> None:
        """Into an empty Rib."""
        unpacked: Unpacked[PathSet] = Unpacked(PathSet, self.feed.rib.share)
        sessions = self.feed.sessions
        for key, row in self._table.rows.items(f"{self.feed.pop.name}|bucket|"):
            number = int(key.rpartition("|")[2])
            prefixes = {prefix: unpacked(packed) for prefix, packed in row.paths}
            self.feed.rib.restore(number, prefixes)
            self.feed.restore(row.began, prefixes, row.stale)
            self._included[number] = row.applied
            if row.applied > sessions.applied and not sessions.first_flush <= row.flush <= sessions.flush:
                self._behind[number] = sessions.applied  # the changelog may not have it
        self.feed.restored()
        self.feed.replay_until = max(self._included)

    def touch(self, prefix: str, position: int) -> None:
        """The record at this position changed what is held of the prefix."""
        bucket = bucket_of(prefix)
        if position > self._included[bucket]:
            self._behind.setdefault(bucket, self._flushed[-1].applied)

    def write(self) -> None:
        """Write some of what changed; more of it the more records came since the last flush. No row by the first."""
        came, is_first = self.feed.sessions.applied - self._applied, self._flush < self._first_flush
        self._is_moving = bool(is_first or came or self._behind)
        if not self._is_moving:
            return
        self._flush += 1
        if is_first:
            return
        rows_due = came * len(self._behind) / self.pace.records
        bytes_min = self.pace.bytes_min if came else self.pace.idle_bytes_min
        size_bytes = 0
        for count, bucket in enumerate(list(self._behind)):
            if count >= rows_due and size_bytes >= bytes_min:
                break
            size_bytes += self._write(bucket)
        self.feed.rib.sweep()
        self._flushed_to(self.feed.sessions)

    def _flushed_to(self, sessions: Sessions) -> None:
        """What a progress may say from now on. While rows are behind the sessions of some flushes do."""
        self._applied = sessions.applied
        if not self._behind or sessions.applied - self._flushed[-1].applied >= self.pace.records / SESSIONS_KEPT:
            self._flushed.append(copied(sessions))

    def _write(self, bucket: int) -> int:
        """One whole row, as it is where its records still come again; its size."""
        key, sessions = f"{self.feed.pop.name}|bucket|{bucket:04d}", self.feed.sessions
        del self._behind[bucket]
        if self._included[bucket] > sessions.applied:
            return self._table.rows.touch(key)
        held = self.feed.rib.bucket(bucket)
        paths = [(prefix, msgspec.Raw(msgspec.msgpack.encode(one))) for prefix, one in held.items()]
        row = RibRow(sessions.applied, self._flush, sessions.began, paths, self.feed.stale(held))
        self._included[bucket] = sessions.applied
        return self._table.rows.put(key, row)

    @property
    def checkpoint(self) -> int:
        """The position up to which all rows are whole."""
        return self._progress().applied

    def write_progress(self) -> None:
        """Say so, after the rows were answered."""
        if not self._is_moving:
            return
        row = msgspec.structs.replace(self._progress(), first_flush=self._first_flush, flush=self._flush)
        self._table.progress.put(progress_key(self.feed.pop.name), row)

    def _progress(self) -> Sessions:
        oldest = next(iter(self._behind.values()), inf)
        while len(self._flushed) > 1 and self._flushed[1].applied <= oldest:
            self._flushed.popleft()
        return self._flushed[0]


_sessions = msgspec.msgpack.Decoder(Sessions)


def copied(sessions: Sessions) -> Sessions:
    """As they are now."""
    return _sessions.decode(msgspec.msgpack.encode(sessions))


def progress_key(pop: str) -> str:
    return f"{pop}|progress"


def open_rib(open_table: OpenTable) -> RibTable:
    return RibTable(open_table("rib"))
