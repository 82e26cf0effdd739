"""How all our tables are opened: raw bytes both ways, bounded RocksDB, and changelog answers that can be awaited."""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import faust
import msgspec
from faust.tables.table import Table
from faust.types import FutureMessage

from app.errors import ExactnessError

S = TypeVar("S", bound=msgspec.Struct)

MIB = 1 << 20
ROW_BYTES_MAX = 900_000  # with its envelope below a producer's max.request.size and a topic's max.message.bytes


class ExactTable(Table[bytes, bytes]):
    """A Faust table that keeps the futures of its changelog records until somebody takes them."""

    def send_changelog(self, *args: Any, **kwargs: Any) -> FutureMessage:
        """As Faust's, but the answer is kept: a failed send must not be followed by a commit."""
        answer = super().send_changelog(*args, **kwargs)
        self.__dict__.setdefault("_unanswered", []).append(answer)
        return answer

    def take_unanswered(self) -> list[FutureMessage]:
        """The futures of all changelog records sent since the last call."""
        unanswered: list[FutureMessage] = self.__dict__.pop("_unanswered", [])
        return unanswered

    def put(self, key: bytes, row: bytes) -> None:
        """Write a row; ExactnessError above the bound, for its changelog record would be refused."""
        if len(row) > ROW_BYTES_MAX:
            raise ExactnessError(f"{self.name}: row {key.decode()} has {len(row)} bytes, more than {ROW_BYTES_MAX}")
        self[key] = row


def open_table(app: faust.App, name: str) -> ExactTable:
    """Open a table of raw bytes with one partition. Only these arguments recover byte for byte."""
    # Faust's defaults are a 2 GiB block cache and 3 x 64 MiB buffers per partition. The dict must be fresh: Faust
    # takes keys out of it.
    options = {
        "max_open_files": 256,
        "block_cache_size": 16 * MIB,
        "write_buffer_size": 4 * MIB,
        "max_write_buffer_number": 2,
    }
    table = app.Table(name, key_type=bytes, value_type=bytes, partitions=1, options=options)
    assert isinstance(table, ExactTable), "the app was not made by create_app"
    return table


class Rows(Generic[S]):
    """Typed access to a raw table: msgpack behind one version byte; keys are text."""

    def __init__(self, table: ExactTable, kind: type[S], version: int = 1) -> None:
        self.table = table
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._version = bytes([version])

    def put(self, key: str, row: S) -> None:
        """Write one row (needs a current event)."""
        self.table.put(key.encode(), self._version + msgspec.msgpack.encode(row))

    def touch(self, key: str) -> None:
        """Write a row again as it is, so that the changelog has what the local disk has."""
        if (stored := self.table.get(key.encode())) is not None:
            self.table.put(key.encode(), stored)

    def delete(self, key: str) -> None:
        """Remove a row. Its tombstone goes out even where the local disk has no row: the changelog may have one."""
        del self.table[key.encode()]

    def get(self, key: str) -> S | None:
        stored = self.table.get(key.encode())
        return None if stored is None else self._decode(key, stored)

    def items(self, prefix: str = "", but: str = "") -> Iterator[tuple[str, S]]:
        """All rows whose key begins so, `but` one. Consume it without awaiting: an open iterator locks RocksDB."""
        for key, stored in self.table.items():
            name = key.decode()
            if name.startswith(prefix) and name != but:
                yield name, self._decode(name, stored)

    def _decode(self, key: str, stored: bytes) -> S:
        if stored[:1] != self._version:
            raise ExactnessError(f"{self.table.name}: row {key} has version {stored[0]}, this program knows another")
        return self._decoder.decode(stored[1:])
