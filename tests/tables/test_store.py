"""Row codecs: version byte, bounds, and what a replay touches."""

from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from app.errors import ExactnessError
from app.te.windows import Sums
from tables.link_windows import LinkWindowRow, key_of, parts_of
from tables.store import HEADER, NO_OFFSET, ROW_BYTES_MAX, VERSION, ExactTable, Rows
from tests.tables.memory import memory_rows, memory_table, written


def test_rows_come_back_as_they_went() -> None:
    rows = memory_rows(LinkWindowRow)
    row = LinkWindowRow(Sums(applied=7, size_bytes=3, samples=1, demands={("r1", "20.0.0.0/24"): [3, 1]}))
    rows.put("a", row)
    assert rows.get("a") == row
    assert rows.get("b") is None
    assert list(rows.items("a")) == [("a", row)]
    assert list(rows.items("b")) == []


def test_a_row_of_another_version_is_refused() -> None:
    table = memory_table("sums")
    Rows(table, LinkWindowRow, version=VERSION + 1).put("a", LinkWindowRow(Sums()))
    with pytest.raises(ExactnessError, match="row a has version 3"):
        Rows(table, LinkWindowRow).get("a")


def test_touch_writes_the_same_bytes_again_and_only_what_is_there() -> None:
    rows = memory_rows(LinkWindowRow)
    rows.put("a", LinkWindowRow(Sums(applied=7)))
    written(rows.table)
    rows.touch("a")
    rows.touch("b")
    assert written(rows.table) == ["a"]


def test_delete_is_a_tombstone_even_where_the_local_disk_has_no_row() -> None:
    rows = memory_rows(LinkWindowRow)
    rows.put("a", LinkWindowRow(Sums()))
    rows.delete("a")
    rows.delete("a")
    assert written(rows.table) == ["a", "a", "a"]
    assert rows.get("a") is None


def test_keys_sort_by_time_and_come_apart_again() -> None:
    assert key_of("p", 999_999_990, "l") < key_of("p", 1_000_000_000, "l")
    assert parts_of(key_of("rhv1000", 1_795_246_100, "rhv1000/r1/et-0/0/1")) == (
        "rhv1000",
        1_795_246_100,
        "rhv1000/r1/et-0/0/1",
    )


def test_what_is_no_row_does_not_pass() -> None:
    table = memory_table("sums")
    table[b"a"] = HEADER.pack(VERSION, NO_OFFSET) + b"nonsense"
    with pytest.raises(msgspec.MsgspecError):
        Rows(table, LinkWindowRow).get("a")


def test_a_row_beyond_the_bound_is_refused_before_it_is_written() -> None:
    with pytest.raises(ExactnessError, match="row a has"):
        ExactTable.put(cast(ExactTable, SimpleNamespace(name="sums")), b"a", b"x" * (ROW_BYTES_MAX + 1))
