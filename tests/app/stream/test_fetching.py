"""What a fetch becomes, from batches as a broker sends them; the private names of aiokafka 0.14 that we lean on."""

import gc
import inspect
import struct
import weakref
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from faust.types import TP

from app.stream.fetching import Fetched, Record, SourceRecords, gather_records

SOURCE, CHANGELOG = TP("flows", 0), TP("rows-changelog", 0)
CONTROL = 0x20
ATTRIBUTES = 21


def batch(base: int, *values: bytes | None, attributes: int = 0) -> bytes:
    """Messages with these values from this offset on, at 1.5 s."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for number, value in enumerate(values):
        builder.append(number, 1500, b"k", value, [])
    made = bytearray(builder.build())
    struct.pack_into(">q", made, 0, base)
    struct.pack_into(">H", made, ATTRIBUTES, attributes)
    struct.pack_into(">I", made, ATTRIBUTES - 4, calc_crc32c(made[ATTRIBUTES:]))
    return bytes(made)


def theirs(batches: bytes, due: int, tp: TP = SOURCE) -> Any:
    return PartitionRecords(tp, MemoryRecords(batches), [], due, None, None, True, READ_UNCOMMITTED)


def test_the_pinned_aiokafka_has_what_we_lean_on() -> None:
    assert version("aiokafka") == "0.14.0"
    assert "self._proc_fetch_request(assignment, node_id, request)" in inspect.getsource(Fetcher)
    assert "self._records[tp] = FetchResult(" in inspect.getsource(Fetcher._proc_fetch_request)
    getall = inspect.getsource(FetchResult.getall)
    assert "for msg in self._partition_records:" in getall
    assert "self._partition_records.next_fetch_offset" in inspect.getsource(FetchResult._update_position)
    made = theirs(batch(4, b"a"), 4)
    assert (made._tp, made._check_crcs, made.next_fetch_offset) == (SOURCE, True, 4)
    assert made._records.has_next()
    assert made._records_iterator is not None


def test_a_fetch_is_one_list_of_records() -> None:
    batches = batch(4, b"a", None) + batch(6, b"c")
    records = SourceRecords(theirs(batches, 4))
    made = [Record(4, 1.5, b"k", b"a"), Record(5, 1.5, b"k", b""), Record(6, 1.5, b"k", b"c")]
    assert list(records) == [Fetched(made, len(batches))]
    assert records.next_fetch_offset == 7


def test_a_batch_that_begins_before_the_position_is_cut() -> None:
    (fetched,) = SourceRecords(theirs(batch(4, b"a", b"b", b"c"), 6))
    assert [record.offset for record in fetched.records] == [6]


def test_a_batch_that_the_broker_cut_off_is_left_for_the_next_fetch() -> None:
    records = SourceRecords(theirs(batch(4, b"a") + batch(5, b"b")[:-1], 4))
    assert [record.offset for fetched in records for record in fetched.records] == [4]
    assert records.next_fetch_offset == 5


def test_a_damaged_batch_is_refused() -> None:
    damaged = bytearray(batch(4, b"a", b"b"))
    damaged[-3] ^= 1
    with pytest.raises(CorruptRecordException, match="flows"):
        list(SourceRecords(theirs(bytes(damaged), 4)))


def test_what_is_no_record_is_passed() -> None:
    records = SourceRecords(theirs(batch(4, b"\0\0\0\0", attributes=CONTROL), 4))
    assert list(records) == []
    assert records.next_fetch_offset == 5


def test_a_fetch_is_freed_without_the_collector() -> None:
    """Else memory grows by every fetch until it comes: each page of the next is a new one (seen: twice the time)."""
    gc.disable()
    try:
        given = theirs(batch(4, b"a"), 4)
        kept = weakref.ref(given)
        SourceRecords(given)
        del given
        assert kept() is None
    finally:
        gc.enable()


class Assignment:
    """That of one partition, of which everything up to an offset was consumed."""

    active = True

    def __init__(self, position: int) -> None:
        self.position, self.paused = position, False

    def state_value(self, tp: TP) -> "Assignment":
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


async def fetched_by_aiokafka(tp: TP, assignment: Assignment) -> Any:
    """What a fetcher of theirs holds after a response with two messages, and gives out."""
    fetcher = SimpleNamespace(_records={})

    async def process(*_: Any) -> bool:
        records = theirs(batch(4, b"a", b"b"), 4, tp)
        fetcher._records[tp] = FetchResult(tp, assignment=assignment, partition_records=records, backoff=0)
        return True

    fetcher._proc_fetch_request = process
    gather_records(fetcher, lambda tp: tp == SOURCE)
    assert await fetcher._proc_fetch_request(assignment, 0, None)
    return fetcher._records[tp]


async def test_a_source_is_taken_at_once_and_its_position_moves() -> None:
    assignment = Assignment(4)
    result = await fetched_by_aiokafka(SOURCE, assignment)
    (fetched,) = result.getall()
    assert [record.value for record in fetched.records] == [b"a", b"b"]
    assert (assignment.position, result.has_more()) == (6, False)


async def test_after_a_seek_nothing_of_it_is_taken() -> None:
    assignment = Assignment(4)
    result = await fetched_by_aiokafka(SOURCE, assignment)
    assignment.position = 0
    assert result.getall() == []


async def test_a_changelog_stays_as_it_was() -> None:
    assignment = Assignment(4)
    result = await fetched_by_aiokafka(CHANGELOG, assignment)
    assert [record.offset for record in result.getall()] == [4, 5]
