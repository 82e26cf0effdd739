"""What any consumer of ours reads of a fetch, by aiokafka's own iteration."""

import random
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import TopicPartition

from app.config.settings import Kafka
from app.kafka import bounded, client
from app.kafka.bounded import IS_CONTROL, BoundedBatch, BoundedBatches, refusal_of, varint
from tests.app.stream.test_fetching import CODECS, GZIP, SNAPPY, T0_MS, ZSTD, batch, signed

VALUES = [b"a" * 500, None, b"", b"\x00\xff"]


def read(fetched: bytes, due: int = 4) -> list[Any]:
    """As a consumer of aiokafka gives them out; it checks the checksums, too."""
    made = PartitionRecords(
        TopicPartition("t", 0), BoundedBatches(fetched), [], due, None, None, True, READ_UNCOMMITTED
    )
    return list(made)


async def test_every_consumer_reads_with_bounds() -> None:
    await client.consumer(Kafka(broker="127.0.0.1:1")).stop()
    assert fetcher.MemoryRecords is BoundedBatches


@pytest.mark.parametrize("codec", [0, *CODECS])
def test_records_are_read_as_they_were_written(codec: int) -> None:
    records = read(batch(4, *VALUES, codec=codec) + batch(8, b"last"))
    assert [record.value for record in records] == [*VALUES, b"last"]
    assert [record.offset for record in records] == [4, 5, 6, 7, 8]
    assert {record.timestamp for record in records} == {T0_MS}
    assert [refusal_of(record) for record in records] == [None] * 5


@pytest.mark.parametrize("codec", [0, *CODECS])
def test_reading_without_headers_gives_the_same(codec: int) -> None:
    opened = BoundedBatch(batch(4, *VALUES, codec=codec))
    opened.open()
    plain = [(record.offset, record.timestamp, record.key, record.value) for record in opened.without_headers()]
    assert plain == [(4 + number, T0_MS, b"k", value) for number, value in enumerate(VALUES)]


def test_what_cannot_be_read_is_one_record_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "BATCH_BYTES_MAX", 1000)
    bomb = batch(5, b"\0" * 1000, b"", codec=ZSTD)
    before, refused, after = read(batch(4, b"a") + bomb + batch(7, b"b"))
    assert (before.value, refused.offset, refused.value, after.offset) == (b"a", 6, None, 7)
    assert "zstd data cannot be decompressed" in (refusal_of(refused) or "")


def test_a_header_whose_name_is_no_text_costs_no_record() -> None:
    sent = signed(batch(4, b"a", b"b").replace(b"name", b"nam\xff"), 4, 0)
    assert [(record.offset, record.key, record.value) for record in read(sent)] == [(4, b"k", b"a"), (5, b"k", b"b")]


def test_what_a_fetch_has_too_much_is_left_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "FETCH_BYTES_MAX", 1000)
    sent = b"".join(batch(offset, b"\0" * 600, codec=SNAPPY) for offset in range(4, 9))
    assert [record.offset for record in read(sent)] == [4, 5]


@pytest.mark.parametrize("codec", [0, GZIP])
def test_a_damaged_batch_is_an_error_that_is_fetched_again(codec: int) -> None:
    damaged = bytearray(batch(4, b"a" * 100, codec=codec))
    damaged[-3] ^= 1
    with pytest.raises(CorruptRecordException):
        read(bytes(damaged))
    with pytest.raises(CorruptRecordException):
        read(b"\0" * 20)


def test_what_ends_a_transaction_is_no_record() -> None:
    assert read(batch(4, b"\0\0\0\0", attributes=IS_CONTROL)) == []


def test_there_may_be_nothing() -> None:
    empty = BoundedBatches(None)
    assert (empty.has_next(), empty.next_batch(), empty.size_in_bytes()) == (False, None, 0)


@pytest.mark.parametrize("number", [0, 1, -1, 63, -64, 64, 2**31, -(2**63), 2**63 - 1])
def test_numbers_of_any_length_are_read(number: int) -> None:
    zigzag = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while zigzag > 0x7F:
        encoded.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    encoded.append(zigzag)
    assert varint(bytes(encoded), 0) == (number, len(encoded))


@pytest.mark.parametrize("codec", [0, *CODECS])
def test_any_content_is_records_or_a_refusal(codec: int) -> None:
    """With a checksum that matches, for the writer makes it."""
    rng = random.Random(codec)
    whole = batch(4, *VALUES, codec=codec)
    for _ in range(2000):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(57, len(changed))] = rng.randrange(256)
        records = read(signed(bytes(changed[: rng.choice([len(changed), rng.randrange(61, len(changed))])]), 4, codec))
        assert all(isinstance(record.value, bytes | None) for record in records)
