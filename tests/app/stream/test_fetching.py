"""What a fetch becomes, from batches as a broker sends them."""

import gc
import re
import struct
import weakref
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from faust.types import TP

from app import metrics
from app.contract.decoding import RAW_BYTES_MAX
from app.kafka import bounded
from app.kafka.bounded import IS_CONTROL, IS_TRANSACTIONAL, BoundedBatches
from app.stream.fetching import Fetched, Hole, Record, SourceRecords, Times, gather_records

SOURCE, CHANGELOG = TP("flows", 0), TP("rows-changelog", 0)
ATTRIBUTES = 21
T0_MS = 1_795_246_100_500
COMMIT, ABORT = b"\0\0\0\1", b"\0\0\0\0"  # keys of the records that end a transaction
GZIP, SNAPPY, LZ4, ZSTD = CODECS = (1, 2, 3, 4)


def batch(
    base: int, *values: bytes | None, attributes: int = 0, producer: int = -1, codec: int = 0, at_ms: int = T0_MS
) -> bytes:
    """Messages with these values from this offset on."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=producer,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 30,
    )
    for number, value in enumerate(values):
        builder.append(number, at_ms, b"k", value, [("name", b"text")])
    return signed(bytes(builder.build()), base, codec | attributes)


def marker(base: int, key: bytes, producer: int = 7) -> bytes:
    """What the broker writes where a transaction ends."""
    builder = DefaultRecordBatchBuilder(2, 0, 1, producer, 0, -1, 1 << 20)
    builder.append(0, T0_MS, key, b"\0" * 6, [])
    return signed(bytes(builder.build()), base, IS_CONTROL | IS_TRANSACTIONAL)


def signed(made: bytes, base: int, attributes: int) -> bytes:
    """The batch from this offset on, with a checksum that matches it."""
    changed = bytearray(made)
    struct.pack_into(">q", changed, 0, base)
    struct.pack_into(">i", changed, 8, len(changed) - 12)
    struct.pack_into(">H", changed, ATTRIBUTES, attributes)
    struct.pack_into(">I", changed, ATTRIBUTES - 4, calc_crc32c(changed[ATTRIBUTES:]))
    return bytes(changed)


def theirs(
    batches: bytes, due: int, tp: TP = SOURCE, level: int = READ_UNCOMMITTED, aborted: Sequence[tuple[int, int]] = ()
) -> Any:
    return PartitionRecords(tp, BoundedBatches(batches), aborted, due, None, None, True, level)


def times_of(item: Fetched | Hole) -> list[float]:
    return [item.timestamp_s] if isinstance(item, Hole) else [record.timestamp_s for record in item.records]


def offsets(item: Fetched | Hole) -> list[int]:
    """Those of the records; none in a hole."""
    return [] if isinstance(item, Hole) else [record.offset for record in item.records]


def source(records: Any) -> SourceRecords:
    return SourceRecords(records, Times())


def test_a_fetch_is_one_list_of_records() -> None:
    batches = batch(4, b"a", None) + batch(6, b"c")
    records = source(theirs(batches, 4))
    made = [
        Record(4, T0_MS / 1000, b"k", b"a"),
        Record(5, T0_MS / 1000, b"k", b""),
        Record(6, T0_MS / 1000, b"k", b"c"),
    ]
    assert list(records) == [Fetched(made, len(batches))]
    assert records.next_fetch_offset == 7


def test_a_batch_that_begins_before_the_position_is_cut() -> None:
    (fetched,) = source(theirs(batch(4, b"a", b"b", b"c"), 6))
    assert offsets(fetched) == [6]


def test_a_batch_that_the_broker_cut_off_is_left_for_the_next_fetch() -> None:
    records = source(theirs(batch(4, b"a") + batch(5, b"b")[:-1], 4))
    assert [offsets(fetched) for fetched in records] == [[4]]
    assert records.next_fetch_offset == 5


def test_a_damaged_batch_is_refused() -> None:
    damaged = bytearray(batch(4, b"a", b"b"))
    damaged[-3] ^= 1
    with pytest.raises(CorruptRecordException, match="flows"):
        list(source(theirs(bytes(damaged), 4)))


@pytest.mark.parametrize("level", [READ_COMMITTED, READ_UNCOMMITTED])
def test_the_end_of_a_transaction_is_a_hole(level: int) -> None:
    """Nothing else says that offset 6 has no record, and a topic that ends with it would look as if records waited."""
    of_transaction = batch(4, b"a", b"b", attributes=IS_TRANSACTIONAL, producer=7)
    records = source(theirs(of_transaction + marker(6, COMMIT), 4, level=level))
    fetched, hole = records
    assert (offsets(fetched), hole) == ([4, 5], Hole(6, 7, T0_MS / 1000))
    assert records.next_fetch_offset == 7


def test_an_aborted_transaction_is_a_hole_and_others_are_read() -> None:
    """Its writer sends the records again, in a transaction that it commits: they must not count twice."""
    sent = b"".join(
        [
            batch(4, b"aborted", attributes=IS_TRANSACTIONAL, producer=7),
            batch(5, b"of another", attributes=IS_TRANSACTIONAL, producer=8),
            batch(6, b"plain"),
            batch(7, b"aborted, too", attributes=IS_TRANSACTIONAL, producer=7, codec=ZSTD),
            marker(8, ABORT),
            batch(9, b"again", attributes=IS_TRANSACTIONAL, producer=7),
            marker(10, COMMIT),
            marker(11, COMMIT, producer=8),
        ]
    )
    items = list(source(theirs(sent, 4, level=READ_COMMITTED, aborted=[(7, 4)])))
    assert [offsets(item) for item in items] == [[], [5, 6], [], [], [9], [], []]
    assert [(item.offset, item.next_offset) for item in items if isinstance(item, Hole)] == [
        *((4, 5), (7, 8), (8, 9), (10, 11), (11, 12))
    ]


@pytest.mark.parametrize("codec", CODECS)
def test_all_codecs_are_read(codec: int) -> None:
    sent = batch(4, b"a" * 1000, b"b", codec=codec) + batch(6, b"c")
    (fetched,) = source(theirs(sent, 5))
    assert isinstance(fetched, Fetched)
    assert [(record.offset, record.timestamp_s, record.value) for record in fetched.records] == [
        *((5, T0_MS / 1000, b"b"), (6, T0_MS / 1000, b"c"))
    ]
    assert fetched.size_bytes == len(sent), "as received"


def test_a_header_whose_name_is_no_text_costs_no_record() -> None:
    """The broker takes any bytes for the name; aiokafka raises UnicodeDecodeError at every fetch."""
    sent = signed(batch(4, b"a", b"b").replace(b"name", b"nam\xff"), 4, 0)
    with pytest.raises(UnicodeDecodeError):
        list(MemoryRecords(sent).next_batch())
    (fetched,) = source(theirs(sent + batch(6, b"c"), 4))
    assert isinstance(fetched, Fetched)
    assert fetched.records == [
        Record(4, T0_MS / 1000, b"k", b"a"),
        Record(5, T0_MS / 1000, b"k", b"b"),
        Record(6, T0_MS / 1000, b"k", b"c"),
    ]


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_that_would_fill_the_memory_is_a_hole_with_a_reason(
    codec: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bounded, "BATCH_BYTES_MAX", 1 << 20)
    bomb = batch(5, b"\0" * (1 << 20), b"", b"", codec=codec)
    before, hole, after = source(theirs(batch(4, b"a") + bomb + batch(8, b"b"), 4))
    assert (offsets(before), offsets(after)) == ([4], [8])
    assert isinstance(hole, Hole)
    assert hole.rejected is not None
    assert (hole.offset, hole.next_offset, len(hole.rejected.raw)) == (5, 8, min(len(bomb), RAW_BYTES_MAX))
    assert re.match(r"offsets 5 to 7: a batch whose \w+ data cannot be decompressed into 1 MiB: ", hole.rejected.reason)
    assert len(caplog.messages) == 1


def test_a_batch_of_an_unknown_codec_is_a_hole_with_a_reason() -> None:
    (hole,) = source(theirs(signed(batch(4, b"a"), 4, 5), 4))
    assert isinstance(hole, Hole)
    assert hole.rejected is not None
    assert hole.rejected.reason == "offsets 4 to 4: a batch with the unknown compression codec 5"


def test_a_batch_of_too_many_records_is_a_hole_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "RECORDS_MAX", 2)
    (hole,) = source(theirs(batch(4, b"a", b"b", b"c", codec=GZIP), 4))
    assert isinstance(hole, Hole)
    assert hole.rejected is not None
    assert "a batch of 3 records; at most 2 are accepted" in hole.rejected.reason


def test_a_fetch_is_read_only_until_it_has_brought_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else sixty batches just below the bound would be read at once."""
    monkeypatch.setattr(bounded, "FETCH_BYTES_MAX", 1000)
    sent = b"".join(batch(offset, b"\0" * 600, codec=ZSTD) for offset in range(4, 9))
    records = source(theirs(sent, 4))
    (fetched,) = records
    assert (offsets(fetched), records.next_fetch_offset) == ([4, 5], 6)


def test_a_fetch_is_freed_without_the_collector() -> None:
    """Else memory grows by every fetch until it comes: each page of the next is a new one (seen: twice the time)."""
    gc.disable()
    try:
        given = theirs(batch(4, b"a"), 4)
        kept = weakref.ref(given)
        source(given)
        del given
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("at_ms", [T0_MS * 1000, 2**63 - 1, -1, 0, -(2**62)])
def test_a_time_that_no_calendar_has_is_the_last_one_of_the_partition(
    at_ms: int, caplog: pytest.LogCaptureFixture
) -> None:
    times, counted = Times(), metrics.UNDATED.labels(SOURCE.topic)
    before = counted._value.get()
    (fetched,) = SourceRecords(theirs(batch(4, b"a") + batch(5, b"b", at_ms=at_ms) + batch(6, b"c"), 4), times)
    assert times_of(fetched) == [T0_MS / 1000] * 3
    (fetched,) = SourceRecords(theirs(batch(7, b"d", b"e", at_ms=at_ms), 7), times)
    assert times_of(fetched) == [T0_MS / 1000] * 2, "of an earlier fetch"
    (fetched,) = SourceRecords(theirs(batch(4, b"a", at_ms=at_ms), 4, CHANGELOG), times)
    assert times_of(fetched) == [0.0], "this partition never had one"
    (hole,) = SourceRecords(theirs(signed(batch(8, b"a", at_ms=at_ms), 8, 5), 8), times)
    assert times_of(hole) == [T0_MS / 1000]
    assert counted._value.get() - before == 4
    assert len([record for record in caplog.records if "impossible times" in record.message]) == 3


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
