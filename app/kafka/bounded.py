"""Reads what a fetch brought, batch by batch, with bounds: stands in for aiokafka's MemoryRecords in every consumer.

aiokafka decompresses a batch without a limit (0.3 MB of gzip became 1 GB), and a batch that it cannot read ends the
consumer, again at each start. Here a batch is decompressed into at most BATCH_BYTES_MAX, a fetch is read on only up to
FETCH_BYTES_MAX, and a batch that cannot be read becomes one record that says so (`refusal_of`), or what the caller of
`BoundedBatch.open` makes of it.

Relies on aiokafka 0.14: its fetcher makes `MemoryRecords(bytes)` and uses `has_next`, `next_batch`, `size_in_bytes`;
its `DefaultRecordBatch` takes a buffer. The format is that of Kafka's DefaultRecordBatch, version 2; brokers that we
can read from (3.0 or later) give no other.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import cramjam
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch

from app import private_names
from app.contract.decoding import RAW_BYTES_MAX

BATCH_BYTES_MAX = 64 * 1024 * 1024  # decompressed: 64 times what a broker accepts by default (message.max.bytes)
FETCH_BYTES_MAX = 16 * 1024 * 1024  # decompressed: what follows is fetched again
RECORDS_MAX = 1_000_000  # of a batch, the most that librdkafka's batch.num.messages allows
REFUSED = "batch-refused"

LENGTH, UNCOUNTED = struct.Struct(">8xi"), 12  # the length of a batch does not count its first 12 bytes
HEAD_BYTES = 61
FLAGS_AT, CODEC, IS_APPEND_TIME, IS_TRANSACTIONAL, IS_CONTROL = 22, 0x07, 0x08, 0x10, 0x20  # low byte of attributes
COUNT, COUNT_AT = struct.Struct(">i"), 57
XERIAL, XERIAL_HEAD_BYTES = b"\x82SNAPPY\0", 16


class ReadRecord(NamedTuple):
    """A record as aiokafka's own have it; times are in milliseconds."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None = None
    value: bytes | None = None
    headers: Iterable[tuple[str, bytes | None]] = ()
    checksum: None = None


class BoundedBatches:
    """The batches of one partition in one fetch, one after the other, with bounds."""

    def __init__(self, fetched: bytes | None) -> None:
        self.fetched = fetched or b""
        self._left = split(self.fetched)
        self._index, self._next = 0, next(self._left, None)
        self._last: BoundedBatch | None = None
        self._opened_bytes = 0

    def size_in_bytes(self) -> int:
        """How much was received, in bytes."""
        return len(self.fetched)

    def has_next(self) -> bool:
        """Whether there is a batch to read now; False as well when this fetch has brought enough."""
        return self._next is not None and not self.has_enough()

    def has_enough(self) -> bool:
        """Whether the batches taken so far have FETCH_BYTES_MAX without compression: what follows is fetched again."""
        if self._last is not None:
            self._opened_bytes += self._last.size_bytes
            self._last = None
        return self._opened_bytes >= FETCH_BYTES_MAX

    def next_batch(self) -> Any:
        """The next batch, None if there is none."""
        if not self.has_next():
            return None
        batch = self.batch(self._index)
        self._index, self._next = self._index + 1, next(self._left, None)
        return batch

    def batch(self, index: int) -> "BoundedBatch":
        """The batch of this index, which must not be before the one asked for last; IndexError if there is none."""
        while self._index < index:
            self._index, self._next = self._index + 1, next(self._left, None)
        if self._next is None:
            raise IndexError(f"no batch {index} in this fetch")
        self._last = BoundedBatch(self._next)
        return self._last


class BoundedBatch:
    """One batch: the attributes of aiokafka's (`is_control_batch`, `next_offset` and so on), and its records.

    `inner` is aiokafka's own; iterating over it may raise. `size_bytes` is that of an opened batch without compression.
    """

    def __init__(self, raw: bytes | memoryview) -> None:
        if len(raw) < HEAD_BYTES:
            raise CorruptRecordException(f"a batch of {len(raw)} bytes")
        self._raw = raw
        self.inner = DefaultRecordBatch(raw)
        self.flags = raw[FLAGS_AT]
        self.size_bytes = len(raw)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __next__(self) -> Any:
        return next(self.inner)

    def __iter__(self) -> Iterator[Any]:
        """The records; of a batch that cannot be read a single one, which says so, at its last offset."""
        try:
            return iter(self._read())
        except Exception as error:
            reason = [(REFUSED, str(error).encode())]
            return iter([ReadRecord(self.next_offset - 1, self.max_timestamp, self.timestamp_type, headers=reason)])

    def _read(self) -> list[Any]:
        self.open()
        try:
            return list(self.inner)
        except Exception:
            return list(self.without_headers())

    @property
    def head(self) -> bytes:
        """The first bytes as they are now, for a dead letter."""
        return bytes(self._raw[:RAW_BYTES_MAX])

    def open(self) -> None:
        """Decompress the batch if need be; ValueError if it exceeds the bounds."""
        (count,) = COUNT.unpack_from(self._raw, COUNT_AT)
        if count > RECORDS_MAX:
            raise ValueError(f"a batch of {count} records; at most {RECORDS_MAX} are accepted")
        if codec := self.flags & CODEC:
            self._raw = uncompressed(self._raw, codec)
            self.inner = DefaultRecordBatch(self._raw)
            self.flags = self._raw[FLAGS_AT]
            self.size_bytes = len(self._raw)

    def without_headers(self) -> Iterator[ReadRecord]:
        """The records of an open batch, without what aiokafka fails at: headers whose name is not UTF-8."""
        base, first_ms, last_ms = self.base_offset, self.first_timestamp, self.max_timestamp
        is_append_time = bool(self.flags & IS_APPEND_TIME)
        (count,) = COUNT.unpack_from(self._raw, COUNT_AT)
        at = HEAD_BYTES
        for _ in range(count):
            length, at = varint(self._raw, at)
            end = at + length
            if not at < end <= len(self._raw):
                raise ValueError(f"a record of {length} bytes does not fit into its batch")
            since_ms, place = varint(self._raw, at + 1)  # after one byte of attributes
            number, place = varint(self._raw, place)
            key, place = field(self._raw, place, end)
            value, place = field(self._raw, place, end)
            at_ms = last_ms if is_append_time else first_ms + since_ms
            yield ReadRecord(base + number, at_ms, int(is_append_time), key, value)
            at = end


def bound_consumers() -> None:
    """Make every consumer of this process read its fetches by this module."""
    private_names.read_fetches_by(BoundedBatches)


def refusal_of(record: Any) -> str | None:
    """Why the batch that this ConsumerRecord stands for could not be read; None for a real record."""
    return next((str(value or b"", "utf-8", "replace") for name, value in record.headers if name == REFUSED), None)


def split(batches: bytes) -> Iterator[memoryview]:
    """Yield the batches of a fetch one by one, without the last one if the broker has cut it off.

    What is too short for a batch is yielded, too, and ends the rest: where the next one begins is not known.
    """
    at, view = 0, memoryview(batches)
    while at + UNCOUNTED <= len(batches):
        end = max(at, at + UNCOUNTED + int(LENGTH.unpack_from(batches, at)[0]))
        if end > len(batches):
            return
        yield view[at:end]
        if end < at + HEAD_BYTES:
            return
        at = end


def uncompressed(raw: bytes | memoryview, codec: int) -> bytes:
    """The batch as it would be without compression; ValueError if that is not possible within BATCH_BYTES_MAX."""
    if codec not in CODECS:
        raise ValueError(f"a batch with the unknown compression codec {codec}")
    name, decompress = CODECS[codec]
    import numpy as np  # slow to import, and `autopilot halt` must not wait for it

    out = np.empty(BATCH_BYTES_MAX, dtype=np.uint8).data  # costs only what is filled
    try:
        size = decompress(raw[HEAD_BYTES:], out)
    except Exception as error:
        limit = f"{BATCH_BYTES_MAX >> 20} MiB"
        raise ValueError(f"a batch whose {name} data cannot be decompressed into {limit}: {error}") from error
    head = bytearray(raw[:HEAD_BYTES])
    head[FLAGS_AT] &= ~CODEC
    return b"".join([head, out[:size]])


def _snappy(packed: bytes | memoryview, out: memoryview) -> int:
    """Decompress what xerial's library (Java) wrote in blocks, or what librdkafka wrote as one; return the size."""
    if bytes(packed[: len(XERIAL)]) != XERIAL:
        return int(cramjam.snappy.decompress_raw_into(packed, out))
    at, size = XERIAL_HEAD_BYTES, 0
    while at < len(packed):
        (length,) = struct.unpack_from(">i", packed, at)
        at += 4
        if not 0 < length <= len(packed) - at:
            raise ValueError(f"a block of {length} bytes")
        size += int(cramjam.snappy.decompress_raw_into(packed[at : at + length], out[size:]))
        at += length
    return size


CODECS: dict[int, tuple[str, Callable[[Any, Any], int]]] = {
    1: ("gzip", cramjam.gzip.decompress_into),
    2: ("snappy", _snappy),
    3: ("lz4", cramjam.lz4.decompress_into),
    4: ("zstd", cramjam.zstd.decompress_into),
}


def varint(raw: bytes | memoryview, at: int) -> tuple[int, int]:
    """The zigzag number (as in Protocol Buffers) at this place, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
    raise ValueError("a number of more than 10 bytes")


def field(raw: bytes | memoryview, at: int, end: int) -> tuple[bytes | None, int]:
    """The bytes behind their length, None if that is -1, and the place after them."""
    length, at = varint(raw, at)
    if length == -1:
        return None, at
    if not 0 <= length <= end - at:
        raise ValueError(f"a field of {length} bytes does not fit into its record")
    return bytes(raw[at : at + length]), at + length
