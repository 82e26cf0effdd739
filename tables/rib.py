"""`rib`: post-policy Adj-RIB-In paths, packed many prefixes to a row, for one write costs 175 us whatever its size.

Key `pop|router|bucket` (bucket = CRC-32 of the prefix modulo BUCKETS), value `RibRow`; and `pop|progress` with the
sessions. Bound: BUCKETS rows a router; at a million prefixes with three peers a row has some 280 KB. A row without
paths stays: a deleted one could not tell that the changelog may lack its tombstone. Written by the routes agent only.
"""

import zlib

import faust
import msgspec

from app.feeds.resync import PathKey
from app.feeds.ribfeed import Sessions
from app.te.model import Path
from tables.store import ExactTable, Rows, open_table

BUCKETS = 1024


class RibRow(msgspec.Struct):
    """The paths of one bucket's prefixes, and which of them the router's session that began at `began` has not told."""

    paths: list[tuple[str, Path]]
    applied: int = -1
    began: int = -1
    untold: list[PathKey] = []


class RibTable:
    """The table with its two kinds of rows."""

    def __init__(self, table: ExactTable) -> None:
        self.table = table
        self.rows = Rows(table, RibRow, lambda row: row.applied)
        self.progress = Rows(table, Sessions, lambda row: row.applied)


def progress_key(pop: str) -> str:
    return f"{pop}|progress"


def bucket_of(prefix: str) -> int:
    """The same in every process and release: it is part of the key."""
    return zlib.crc32(prefix.encode()) % BUCKETS


def open_rib(app: faust.App) -> RibTable:
    return RibTable(open_table(app, "rib"))
