"""`rib`: post-policy Adj-RIB-In paths, many prefixes to a row, because one write costs 175 us whatever its size.

| key | value |
|---|---|
| `pop|bucket|0000` | `RibRow`: all paths of the prefixes with this CRC-32 modulo BUCKETS, as of a position |
| `pop|bucket|0000|1` | `RibRow`: a part that was split off, because the row of the bucket became too large |
| `pop|progress` | the sessions as of the position up to which all rows are complete |

With a million prefixes from three peers a row has about 90 KB, and every update changes another row. So a flush writes
only some of the changed rows, those that waited longest first, and the progress stays before the first record that a
row lacks. The records from there on are in the topic: a start reads them again although they were acknowledged
(docs/decisions/0010-full-table.md). Only the routes agent writes this table.

Strangers choose which prefixes there are and how large their paths, so a row that becomes too large is split by more
bits of the CRC. Part n has the prefixes that agree with n in as many bits as n has, unless a higher part has them. A
row is written after the part that was split off it, so that no prefix is in neither, wherever the process ends.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Generic, TypeVar

import msgspec

from app.feeds.bmp_memory import Sessions
from app.feeds.rib_feed import RibFeed, StalePlaces
from app.te.routing.interning import PathSet
from app.te.routing.rib import BUCKETS, crc_of
from tables.store import ROW_BYTES_MAX, ExactTable, OpenTable, Rows, decoder_of

T = TypeVar("T")
RowId = tuple[int, int]  # bucket and part

VERSION = 5  # in rows of 4 a path without a local-pref has the one that the inventory had
PARTS_MAX = (1 << 32) // BUCKETS  # of a bucket: a CRC-32 has no more bits
SESSIONS_KEPT = 128  # copies at most while rows are behind, one a flush: with a thousand peers one has 100 KB


class RibRow(msgspec.Struct, gc=False):
    """All (prefix, packed PathSet) of one bucket; `awaited` lists by session those that it has not reported."""

    applied: int
    flush: int
    paths: list[tuple[str, msgspec.Raw]]
    awaited: dict[str, list[StalePlaces]] = {}
    is_of_before: bool = False  # made from a row of VERSION 4


def _upgraded(packed: bytes) -> RibRow:
    return msgspec.structs.replace(decoder_of(RibRow).decode(packed), is_of_before=True)


class RibTable:
    """The `rib` table with its bucket rows and progress rows."""

    def __init__(self, table: ExactTable) -> None:
        self.table = table
        self.rows = Rows(table, RibRow, lambda row: row.applied, VERSION, _upgraded)
        self.progress = Rows(table, Sessions, lambda row: row.applied, VERSION, decoder_of(Sessions).decode)


class Pace(msgspec.Struct, frozen=True):
    """How much a flush writes: all changed rows once in `records` records, and at least `bytes_min` bytes.

    If no record came since the last flush it writes at least `idle_bytes_min` bytes, so that rows catch up. A row is
    split beyond `row_bytes_max`.
    """

    records: int = 400_000
    bytes_min: int = 64 * 1024
    idle_bytes_min: int = 1 << 20
    row_bytes_max: int = ROW_BYTES_MAX // 2


class Unpacked(Generic[T]):
    """Unpacks each distinct value once: on average ten prefixes have the same paths."""

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
    """The rows of one PoP's Rib: which of them are behind, and which to write next.

    A row is the content of its bucket after the record at its position. A record that is read again changes nothing in
    a row that includes it, nor need the row be written for it.

    Flushes are numbered to distinguish rows that the changelog may lack from rows that it has. A process starts two
    above the last known number, because its predecessor may have begun the next flush, and writes no row before the
    changelog has its first number: otherwise a disk that comes back could have rows with the same numbers.
    """

    def __init__(self, feed: RibFeed, table: RibTable, pace: Pace) -> None:
        self.feed = feed
        self._table = table
        self.pace = pace
        self._parts: dict[int, list[int]] = {}  # of buckets that were split, the highest first
        self._included: dict[RowId, int] = {}  # position of each row
        self._behind: dict[RowId, int] = {}  # position up to which a row is complete, the oldest first
        self._outdated: set[RowId] = set()  # rows to be written again: of before, or with routers that left
        self._flushed = deque([copied(feed.sessions)])  # from where all rows are complete to the last flush
        self._applied = feed.sessions.applied  # at the last flush
        self._first_flush = feed.sessions.flush + 2
        self._flush = self._first_flush - 1
        self._is_moving = False  # this flush writes something

    def load(self) -> None:
        """Load all rows into the Rib, which must be empty."""
        rib = self.feed.rib
        of_today: Unpacked[PathSet] = Unpacked(PathSet, lambda paths: rib.share(self.feed.as_named(paths)))
        of_before: Unpacked[PathSet] = Unpacked(
            PathSet, lambda paths: rib.share(self.feed.as_reported(self.feed.as_named(paths)))
        )
        sessions, behind = self.feed.sessions, []
        buckets: dict[int, dict[str, PathSet]] = {}
        self._load_parts()
        for key, row in self._table.rows.items(f"{self.feed.pop.name}|bucket|"):
            row_id = bucket, _ = _row_id(key)
            unpacked = of_before if row.is_of_before else of_today
            if row.is_of_before or sessions.renamed:
                self._outdated.add(row_id)
            prefixes = {prefix: unpacked(packed) for prefix, packed in row.paths if self._row_of(prefix) == row_id}
            buckets.setdefault(bucket, {}).update(prefixes)
            self.feed.restore(
                row.applied,
                prefixes,
                {session: [each for each in places if each[0] in prefixes] for session, places in row.awaited.items()},
            )
            self._included[row_id] = row.applied
            if row.applied > sessions.applied and not sessions.first_flush <= row.flush <= sessions.flush:
                behind.append(row_id)  # the changelog may not have it
        for bucket, prefixes in buckets.items():
            rib.restore(bucket, prefixes)
        behind.sort(key=lambda row_id: -row_id[1])
        self._behind = dict.fromkeys(behind, sessions.applied)
        self._outdated.update(map(self._row_of, self.feed.restored()))
        self._behind |= dict.fromkeys(self._outdated - self._behind.keys(), sessions.applied)
        if not self._outdated:
            sessions.renamed = {}
        self.feed.replay_until = max(self._included.values(), default=-1)
        self.feed.included = lambda prefix: self._included.get(self._row_of(prefix), -1)

    def _load_parts(self) -> None:
        for key in [key.decode() for key, _ in self._table.table.items()]:
            if key.startswith(f"{self.feed.pop.name}|bucket|"):
                bucket, part = _row_id(key)
                if part:
                    self._parts.setdefault(bucket, [0]).append(part)
        for parts in self._parts.values():
            parts.sort(reverse=True)

    def touch(self, prefix: str, position: int) -> None:
        """Note that the record at this position changed the paths of the prefix."""
        row_id = self._row_of(prefix)
        if position > self._included.get(row_id, -1):
            self._behind.setdefault(row_id, self._flushed[-1].applied)

    def _row_of(self, prefix: str) -> RowId:
        """The row that has a prefix."""
        rest, bucket = divmod(crc_of(prefix), BUCKETS)
        for part in self._parts.get(bucket, ()):
            if rest % (1 << part.bit_length()) == part:
                return bucket, part
        return bucket, 0

    def write(self) -> None:
        """Write some changed rows, the more the more records came since the last flush; the first flush writes none."""
        new_records, is_first = self.feed.sessions.applied - self._applied, self._flush < self._first_flush
        self._is_moving = bool(is_first or new_records or self._behind)
        if not self._is_moving:
            return
        self._flush += 1
        if is_first:
            return
        rows_due = new_records * len(self._behind) / self.pace.records
        bytes_min = self.pace.bytes_min if new_records else self.pace.idle_bytes_min
        size_bytes = 0
        for count, row_id in enumerate(list(self._behind)):
            if count >= rows_due and size_bytes >= bytes_min:
                break
            del self._behind[row_id]
            size_bytes += self._write(row_id)
        self.feed.rib.sweep()
        self._flushed_to(self.feed.sessions)

    def _flushed_to(self, sessions: Sessions) -> None:
        """Keep a copy of the sessions for a later progress row; while rows are behind, not of every flush.

        None while records wait for their session to say who it is: no row has them, so a start must read them again.
        """
        self._applied = sessions.applied
        if self.feed.tracker.is_waiting:
            return
        if not self._behind or sessions.applied - self._flushed[-1].applied >= self.pace.records / SESSIONS_KEPT:
            self._flushed.append(copied(sessions))

    def _write(self, row_id: RowId) -> int:
        """Write one row and return its size in bytes; while its records are replayed it is written as it is."""
        key, sessions = self._key(row_id), self.feed.sessions
        if self._included.get(row_id, -1) > sessions.applied:
            if row_id in self._outdated:
                self._behind[row_id] = self._flushed[-1].applied
            return self._table.rows.touch(key)
        bucket = self.feed.rib.bucket(row_id[0])
        path_sets = {prefix: paths for prefix, paths in bucket.items() if self._row_of(prefix) == row_id}
        packed = [(prefix, msgspec.Raw(msgspec.msgpack.encode(paths))) for prefix, paths in path_sets.items()]
        is_large = len(packed) > 1 and sum(len(memoryview(paths)) for _, paths in packed) > self.pace.row_bytes_max
        if is_large and (other := self._split(row_id)) is not None:
            return self._write(other) + self._write(row_id)
        row = RibRow(sessions.applied, self._flush, packed, self.feed.stale(path_sets))
        self._included[row_id] = sessions.applied
        self._outdated.discard(row_id)
        if not self._outdated:
            sessions.renamed = {}
        return self._table.rows.put(key, row)

    def _split(self, row_id: RowId) -> RowId | None:
        """Split a new part off a row and return it; None if there are no more bits by which to split."""
        bucket, part = row_id
        parts = self._parts.setdefault(bucket, [0])
        bit = 1 << part.bit_length()
        while part + bit in parts:
            bit *= 2
        if part + bit >= PARTS_MAX:
            return None
        parts.append(part + bit)
        parts.sort(reverse=True)
        return bucket, part + bit

    def _key(self, row_id: RowId) -> str:
        bucket, part = row_id
        return f"{self.feed.pop.name}|bucket|{bucket:04d}" + (f"|{part}" if part else "")

    @property
    def checkpoint(self) -> int:
        """The position up to which all rows are complete."""
        return self._progress().applied

    def write_progress(self) -> None:
        """Write the progress row; call after the changelog has the rows."""
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
    """A deep copy of the sessions as they are now."""
    return _sessions.decode(msgspec.msgpack.encode(sessions))


def _row_id(key: str) -> RowId:
    """The row that this key is of. A PoP's name has no bar."""
    _, _, bucket, *part = key.split("|")
    return int(bucket), int(part[0]) if part else 0


def progress_key(pop: str) -> str:
    return f"{pop}|progress"


def open_rib(open_table: OpenTable) -> RibTable:
    return RibTable(open_table("rib"))
