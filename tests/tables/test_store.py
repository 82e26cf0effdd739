"""Row codecs: version byte, bounds, and what a replay touches."""

import random
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import faust
import msgspec
import pytest

from app.config.settings import Settings
from app.errors import ExactnessError, RowFormatError
from app.feeds.bmp_memory import Sessions
from app.stream.worker import create_app
from app.te.traffic.demand import Demand
from app.te.traffic.windows import Progress, Sums
from tables.congestion import open_congestion
from tables.interfaces import CountersProgress, open_interfaces
from tables.link_windows import LinkWindowRow, key_of, open_link_windows, parts_of
from tables.rib import open_rib
from tables.store import HEADER, MIB, NO_OFFSET, ROW_BYTES_MAX, VERSION, ExactTable, Rows, open_table
from tests.tables.memory import memory_rows, memory_table, written


def test_rows_come_back_as_they_went() -> None:
    rows = memory_rows(LinkWindowRow)
    row = LinkWindowRow(Sums(applied=7, size_bytes=3, samples=1, demand=Demand.of({("r1", "20.0.0.0/24"): (3, 1)})))
    rows.put("a", row)
    assert rows.get("a") == row
    assert rows.get("b") is None
    assert list(rows.items("a")) == [("a", row)]
    assert list(rows.items("b")) == []


def test_a_row_of_another_version_is_refused() -> None:
    table = memory_table("sums")
    Rows(table, LinkWindowRow, version=VERSION + 1).put("a", LinkWindowRow(Sums()))
    with pytest.raises(RowFormatError, match="sums: row a has format 4, and this version of autopilot reads 3"):
        Rows(table, LinkWindowRow).get("a")


class Renamed(msgspec.Struct):
    """A row as it is today; the version before called the field `octets`."""

    size_bytes: int
    applied: int = -1


class Before(msgspec.Struct):
    octets: int
    applied: int = -1


def upgraded(packed: bytes) -> Renamed:
    before = msgspec.msgpack.decode(packed, type=Before)
    return Renamed(before.octets, before.applied)


def test_rows_of_the_version_before_are_converted_when_they_are_read() -> None:
    table = memory_table("sums")
    before = Rows(table, Before, lambda row: row.applied, VERSION - 1)
    before.put("a", Before(3, 7))
    before.put("b", Before(5, 8))
    today = Rows(table, Renamed, lambda row: row.applied, VERSION, upgraded)
    assert dict(today.items()) == {"a": Renamed(3, 7), "b": Renamed(5, 8)}
    today.put("a", Renamed(4, 9))
    today.touch("b")
    stored = cast(dict[bytes, bytes], table)
    assert [HEADER.unpack_from(stored[key]) for key in (b"a", b"b")] == [(VERSION, 9), (VERSION, 8)]
    assert today.get("b") == Renamed(5, 8)
    with pytest.raises(RowFormatError, match="row a has format 3, and this version of autopilot reads 2"):
        before.get("a")


@pytest.mark.parametrize(("version", "known"), [(VERSION - 2, "2 and 3"), (VERSION + 1, "2 and 3")])
def test_rows_of_an_older_or_a_newer_version_are_refused(version: int, known: str) -> None:
    table = memory_table("sums")
    Rows(table, Before, version=version).put("a", Before(3))
    with pytest.raises(
        RowFormatError, match=f"row a has format {version}, and this version of autopilot reads {known}"
    ):
        Rows(table, Renamed, version=VERSION, upgrade=upgraded).get("a")


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


def event(key: bytes, value: bytes | None, topic: str = "app-sums-changelog") -> Any:
    return SimpleNamespace(message=SimpleNamespace(topic=topic, partition=0, key=key, value=value))


def row(applied: int, version: int = VERSION, rest: bytes = b"") -> bytes:
    return HEADER.pack(version, applied) + rest


def applied_to(stored: dict[bytes, bytes], *batch: Any) -> list[tuple[bytes, bytes | None]]:
    """What is left of a batch for a table with these rows on its disk."""
    table = SimpleNamespace(
        name="sums", changelog_topic_name="app-sums-changelog", _stored=lambda partition, key: stored.get(key)
    )
    return [(cast(bytes, e.message.key), e.message.value) for e in ExactTable._newest(cast(ExactTable, table), batch)]


def test_a_changelog_record_that_goes_back_in_its_offset_is_ignored() -> None:
    """A worker that was frozen wrote it after its successor's: on the disk, or in the same batch."""
    assert applied_to({b"a": row(7)}, event(b"a", row(6)), event(b"b", row(6))) == [(b"b", row(6))]
    forth_and_back = [event(b"a", row(offset)) for offset in (5, 7, 6, 8)]
    assert applied_to({}, *forth_and_back) == [(b"a", row(5)), (b"a", row(7)), (b"a", row(8))]


def test_the_same_offset_is_set_again_and_a_tombstone_always_deletes() -> None:
    closed = row(7, rest=b"closed")
    assert applied_to({b"a": row(7)}, event(b"a", closed)) == [(b"a", closed)]
    assert applied_to({b"a": row(7)}, event(b"a", None), event(b"a", row(3))) == [(b"a", None), (b"a", row(3))]


@pytest.mark.parametrize("later", [row(NO_OFFSET), row(6, version=VERSION + 1), b"", b"\x02"])
def test_rows_without_an_offset_or_of_another_version_are_set_as_they_are(later: bytes) -> None:
    assert applied_to({b"a": row(7)}, event(b"a", later)) == [(b"a", later)]


def test_f27_a_record_of_another_table_is_not_applied() -> None:
    """After a quick double rebalance Faust gives it to the table of the record before."""
    assert applied_to({}, event(b"a", row(1), topic="app-rib-changelog"), event(b"b", row(1))) == [(b"b", row(1))]


def test_the_header_says_what_the_row_includes() -> None:
    table = memory_table("sums")
    Rows(table, LinkWindowRow, lambda row: row.sums.applied).put("a", LinkWindowRow(Sums(applied=7)))
    Rows(table, LinkWindowRow).put("b", LinkWindowRow(Sums(applied=7)))
    stored = cast(dict[bytes, bytes], table)
    assert [HEADER.unpack_from(stored[key]) for key in (b"a", b"b")] == [(VERSION, 7), (VERSION, NO_OFFSET)]


def opened(tmp_path: Path) -> faust.App:
    app = create_app("store-test", Settings(pops=("none",), data_dir=str(tmp_path)))
    for open_ in (open_link_windows, open_congestion, open_interfaces, open_rib):
        open_(partial(open_table, app))
    return app


def test_every_row_of_sums_and_of_progress_carries_its_offset(tmp_path: Path) -> None:
    app = create_app("store-test", Settings(pops=("none",), data_dir=str(tmp_path)))
    opened = partial(open_table, app)
    link_windows, congestion = open_link_windows(opened), open_congestion(opened)
    interfaces, rib = open_interfaces(opened), open_rib(opened)
    assert link_windows.offset_of(LinkWindowRow(Sums(applied=7))) == 7
    assert congestion.progress.offset_of(Progress(applied=7)) == 7
    assert interfaces.progress.offset_of(CountersProgress(applied=7)) == 7
    assert rib.progress.offset_of(Sessions(applied=7)) == 7


def test_f08_f09_f11_tables_are_not_windowed_bounded_and_without_a_ttl(tmp_path: Path) -> None:
    for table in opened(tmp_path).tables.values():
        store: Any = table.data
        options = store.rocksdb_options
        assert table.window is None
        assert (options.block_cache_size, options.write_buffer_size, options.max_open_files) == (16 * MIB, 4 * MIB, 256)
        assert not store.options.get("ttl")
        assert table.recovery_buffer_size * ROW_BYTES_MAX < 100 * MIB


async def test_rows_behind_a_damaged_block_are_not_passed_over(tmp_path: Path) -> None:
    """rocksdict's iterators end at a damaged block as if it were the last one; all rows behind it seemed not to be."""
    app = create_app("store-test", Settings(pops=("none",), data_dir=str(tmp_path)))
    table: Any = open_table(app, "sums")
    store = table.data
    path = store.partition_path(0)
    database = store._db_for_partition(0)
    for number in range(100):
        database.put(b"row %03d" % number, random.Random(number).randbytes(3000))
    database.put(store.offset_key, b"7")
    assert len(list(store._visible_items(database))) == len(list(store._visible_keys(database))) == 100
    database.close()
    (rows,) = path.glob("*.sst")
    content = bytearray(rows.read_bytes())
    content[len(content) // 2] ^= 0xFF
    rows.write_bytes(content)
    database = store.rocksdb_options.open(path)
    assert len(list(database.items())) < 100, "rocksdict was repaired"
    for read in (store._visible_items, store._visible_keys):
        with pytest.raises(Exception, match="Corruption"):
            list(read(database))
