"""Tables without Faust: the same rows and codecs over a dict."""

from typing import Any, TypeVar, cast

import msgspec

from tables.store import ExactTable, Rows

S = TypeVar("S", bound=msgspec.Struct)


class MemoryTable(dict[bytes, bytes]):
    """What Rows needs of a table; `written` lists the keys put or deleted, in order."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.written: list[str] = []

    def put(self, key: bytes, row: bytes) -> None:
        self.written.append(key.decode())
        self[key] = row

    def items(self) -> Any:
        """In the order of the keys, as RocksDB has them."""
        return sorted(super().items())

    def __delitem__(self, key: bytes) -> None:
        self.written.append(key.decode())
        self.pop(key, None)


def memory_table(name: str) -> ExactTable:
    return cast(ExactTable, MemoryTable(name))


def memory_rows(kind: type[S], name: str = "rows") -> Rows[S]:
    return Rows(memory_table(name), kind)


def written(table: Any) -> list[str]:
    """Keys written since the last call."""
    keys, table.written = table.written, []
    return list(keys)
