"""Opens all our tables: raw bytes both ways, bounded RocksDB, and changelog answers that can be awaited.

A row is a header and msgpack. The header shows, without decoding, which source offset the row includes. A changelog
record that goes back in it was sent by a worker that already had a successor, and is ignored (exact for rows of sums,
which depend on nothing but the records up to that offset).
"""

import logging
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import faust
import msgspec
from faust.stores import STORES
from faust.stores.rocksdb import Store
from faust.tables.table import Table
from faust.types import EventT, FutureMessage

from app.errors import ExactnessError, RowFormatError
from app.private_names import StoreNames, database_of

S = TypeVar("S", bound=msgspec.Struct)
log = logging.getLogger(__name__)

HEADER = struct.Struct(">Bq")  # version of the row, source offset that it includes
VERSION = 3
NO_OFFSET = -(1 << 63)  # of rows that may be written in any order
CHANGELOG_BUFFER = 100  # records that wait until they are applied; Faust's 1000 could be 900 MB of the largest rows
MIB = 1 << 20
# Faust's defaults are a 2 GiB block cache and 3 x 64 MiB buffers per partition.
TABLE_OPTIONS = {
    "max_open_files": 256,
    "block_cache_size": 16 * MIB,
    "write_buffer_size": 4 * MIB,
    "max_write_buffer_number": 2,
}
STORE_SCHEME = "checked-rocksdb"
STORES.aliases[STORE_SCHEME] = f"{__name__}:CheckedStore"
STORE_URL = f"{STORE_SCHEME}://?driver=rocksdict"
ROW_BYTES_MAX = 900_000  # with its envelope below a producer's max.request.size and a topic's max.message.bytes


def whole_items(database: Any) -> Iterator[tuple[bytes, bytes]]:
    """All (key, row) of a RocksDB, its own included; raises an Exception at a damaged block.

    rocksdict's own `items`, `keys` and `values` end there as if it were the last one: the other rows would be lost
    without a word.
    """
    iterator = database.iter()
    iterator.seek_to_first()
    while iterator.valid():
        yield iterator.key(), iterator.value()
        iterator.next()
    iterator.status()


class CheckedStore(StoreNames, Store):
    """Faust's RocksDB store, but nothing that iterates over it ends at a damaged block without an exception."""

    def visible_items(self, database: Any) -> Iterator[tuple[bytes, bytes]]:
        return ((key, row) for key, row in whole_items(database) if key != self.offset_key)


class ExactTable(Table[bytes, bytes]):
    """A Faust table that keeps the futures of its changelog records until `take_unanswered`."""

    def send_changelog(self, *args: Any, **kwargs: Any) -> FutureMessage:
        """Send as Faust does, but keep the future: no commit may follow a send that failed."""
        answer = super().send_changelog(*args, **kwargs)
        self.__dict__.setdefault("_unanswered", []).append(answer)
        return answer

    def take_unanswered(self) -> list[FutureMessage]:
        """Return the futures of all changelog records sent since the last call."""
        unanswered: list[FutureMessage] = self.__dict__.pop("_unanswered", [])
        return unanswered

    def put(self, key: bytes, row: bytes) -> None:
        """Write a row; ExactnessError if it is too large, because the broker would refuse its changelog record."""
        if len(row) > ROW_BYTES_MAX:
            raise ExactnessError(f"{self.name}: row {key.decode()} has {len(row)} bytes, more than {ROW_BYTES_MAX}")
        self[key] = row

    def send_only(self, key: bytes, row: bytes | None) -> None:
        """Send a changelog record, a tombstone if there is no row; no current event is needed, the disk stays as is."""
        self.send_changelog(0, key, row)

    def store_only(self, key: bytes, row: bytes | None) -> None:
        """Write or delete the row on the local disk, and send nothing."""
        if row is None:
            self._database(0).delete(key)
        else:
            self._database(0).put(key, row)

    def stored(self, key: bytes) -> bytes | None:
        """The row on the local disk."""
        return self._stored(0, key)

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        """Apply as Faust does, but ignore records that go back in their offset or are of other tables (Faust's F27)."""
        super().apply_changelog_batch(self._newest(batch))

    def _newest(self, batch: Iterable[EventT[Any]]) -> Iterator[EventT[Any]]:
        seen: dict[bytes, bytes | None] = {}
        for event in batch:
            message: Any = event.message
            if message.topic != self.changelog_topic_name:
                log.error("%s: ignored a record of %s, which is not its changelog", self.name, message.topic)
                continue
            before = seen[message.key] if message.key in seen else self._stored(message.partition, message.key)
            if goes_back(before, message.value):
                log.warning("%s: ignored a changelog record that is older than its row %s", self.name, message.key)
                continue
            seen[message.key] = message.value
            yield event

    def _stored(self, partition: int, key: bytes) -> bytes | None:
        """The row on the local disk, without a current event and before Faust knows which partitions it owns."""
        row: bytes | None = self._database(partition).get(key)
        return row

    def _database(self, partition: int) -> Any:
        return database_of(self.data, partition)


def goes_back(before: bytes | None, after: bytes | None) -> bool:
    """Whether both are rows of the same version and the later one includes less of the source."""
    if not before or not after or min(len(before), len(after)) < HEADER.size:
        return False
    (version_before, offset_before), (version, offset) = HEADER.unpack_from(before), HEADER.unpack_from(after)
    return bool(version_before == version and NO_OFFSET < offset < offset_before)


def newest_offset(table: ExactTable) -> int:
    """The highest source offset that a row of the table includes; -1 if no row includes one."""
    newest = -1
    for row in table.values():
        newest = max(newest, HEADER.unpack_from(row)[1])
    return newest


OpenTable = Callable[[str], ExactTable]  # by name


def open_table(app: faust.App, name: str) -> ExactTable:
    """Open a table of raw bytes with one partition. Only these arguments recover byte for byte."""
    table = app.Table(
        name,
        key_type=bytes,
        value_type=bytes,
        partitions=1,
        options=dict(TABLE_OPTIONS),  # Faust takes keys out of it
        recovery_buffer_size=CHANGELOG_BUFFER,
    )
    assert isinstance(table, ExactTable), "the app was not made by create_app"
    return table


_encoder = msgspec.msgpack.Encoder(enc_hook=lambda value: value.packed())


def decoder_of(kind: type[S]) -> msgspec.msgpack.Decoder[S]:
    """The decoder for what follows the header of a row."""
    return msgspec.msgpack.Decoder(kind, dec_hook=_unpack)


def _unpack(kind: Any, packed: Any) -> Any:
    """msgspec's hook for values that are not structs: their own `unpacked` decodes them."""
    return kind.unpacked(packed)


class Rows(Generic[S]):
    """Typed access to a raw table: msgpack behind the header; keys are text.

    `applied` returns the source offset that a row includes; without it, rows may be written in any order. `upgrade`
    reads what follows the header of a row of version - 1; without it, only rows of `version` can be read.
    """

    def __init__(
        self,
        table: ExactTable,
        kind: type[S],
        applied: Callable[[S], int] | None = None,
        version: int = VERSION,
        upgrade: Callable[[bytes], S] | None = None,
    ) -> None:
        self.table = table
        self._applied = applied
        self._version = version
        self._decoders: dict[int, Callable[[bytes], S]] = {version: decoder_of(kind).decode}
        if upgrade is not None:
            self._decoders[version - 1] = upgrade

    def put(self, key: str, row: S) -> int:
        """Write one row (needs a current event) and return its size in bytes."""
        packed = self.packed(row)
        self.table.put(key.encode(), packed)
        return len(packed)

    def packed(self, row: S) -> bytes:
        """A row as the table has it."""
        return HEADER.pack(self._version, self.offset_of(row)) + _encoder.encode(row)

    def offset_of(self, row: S) -> int:
        """The source offset that the row includes, or NO_OFFSET."""
        return NO_OFFSET if self._applied is None else self._applied(row)

    def touch(self, key: str) -> int:
        """Write a row again as it is, so that the changelog has what the disk has, and return its size in bytes.

        A row of the version before is written in today's, so that the next version finds none of it.
        """
        if (stored := self.table.get(key.encode())) is None:
            return 0
        if stored[0] != self._version:
            return self.put(key, self._decode(key, stored))
        self.table.put(key.encode(), stored)
        return len(stored)

    def delete(self, key: str) -> None:
        """Delete a row. Its tombstone is sent even if the local disk has no row, because the changelog may have one."""
        del self.table[key.encode()]

    def get(self, key: str) -> S | None:
        stored = self.table.get(key.encode())
        return None if stored is None else self._decode(key, stored)

    def items(self, prefix: str = "", but: str = "") -> Iterator[tuple[str, S]]:
        """Rows whose key begins with `prefix`, except key `but`. Do not await meanwhile: an iterator locks RocksDB."""
        for key, stored in self.table.items():
            name = key.decode()
            if name.startswith(prefix) and name != but:
                yield name, self._decode(name, stored)

    def _decode(self, key: str, stored: bytes) -> S:
        if (decode := self._decoders.get(stored[0])) is None:
            known = " and ".join(str(version) for version in sorted(self._decoders))
            raise RowFormatError(
                f"{self.table.name}: row {key} has format {stored[0]}, and this version of autopilot reads {known}"
            )
        return decode(stored[HEADER.size :])
