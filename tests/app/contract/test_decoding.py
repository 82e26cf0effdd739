"""The one function that decodes: a record or a reason, whatever the bytes are and whatever decoding raises."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clock import utc
from app.contract.decoding import (
    RAW_BYTES_MAX,
    REASON_CHARS_MAX,
    Read,
    Rejected,
    decode_or_rejected,
    reader_of,
)
from app.contract.schemas import PUBLISHED, Control
from app.contract.topics import DECISION_BYTES_MAX
from tests.fuzz.corpus import example

ORDER = Control(pop="*", halt=True, by="ada", at=utc(0))
read: Read[Control] = reader_of(Control)


def reason(raw: bytes | None) -> str:
    rejected = read(raw)
    assert isinstance(rejected, Rejected)
    return rejected.reason


@pytest.mark.parametrize("kind", PUBLISHED)
def test_what_we_publish_is_read_as_it_was_written(kind: type[msgspec.Struct]) -> None:
    record = example(kind)
    accept: Read[msgspec.Struct] = reader_of(kind)
    assert accept(msgspec.json.encode(record)) == record


@pytest.mark.parametrize(
    "error",
    [
        msgspec.ValidationError("bad"),
        UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "bad"),
        RecursionError(),
        OverflowError("bad"),
        MemoryError(),
        KeyError("bad"),
        ZeroDivisionError(),
        SystemError("bad"),
    ],
)
def test_whatever_decoding_raises_is_a_reason(error: Exception) -> None:
    def decode(raw: bytes) -> int:
        raise error

    rejected = decode_or_rejected(decode, b"raw")
    assert isinstance(rejected, Rejected)
    assert rejected.reason
    assert rejected.raw == b"raw"


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(1)])
def test_a_signal_is_no_fault_of_a_record(end: BaseException) -> None:
    def decode(raw: bytes) -> int:
        raise end

    with pytest.raises(type(end)):
        decode_or_rejected(decode, b"raw")


@given(st.binary())
def test_any_bytes_are_a_record_or_rejected(raw: bytes) -> None:
    assert isinstance(read(raw), Rejected)


def test_reasons_and_bytes_are_cut() -> None:
    rejected = read(b'{"pop": "' + b"x" * 200_000 + b'", "halt": 7}')
    assert isinstance(rejected, Rejected)
    assert (len(rejected.raw), len(rejected.reason) <= REASON_CHARS_MAX) == (RAW_BYTES_MAX, True)


def test_nothing_is_no_record() -> None:
    assert reason(None) == reason(b"") == "an empty record"
    assert "at most 12500000 are accepted" in reason(b" " * (DECISION_BYTES_MAX + 1))
    assert reason(b"[" * 200_000) != ""


@pytest.mark.parametrize(
    "at",
    [
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2200-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2026-11-21T07:30:00",
    ],
)
def test_a_time_that_nobody_can_reckon_with_is_refused(at: str) -> None:
    """`utc(at + 10 s)` and differences to other times must not raise."""
    assert reason(msgspec.json.encode(ORDER).replace(b"1970-01-01T00:00:00Z", at.encode()))


def test_a_time_in_any_zone_is_read() -> None:
    at = datetime(2026, 11, 21, 7, 30, tzinfo=timezone(timedelta(hours=14)))
    order = read(msgspec.json.encode(msgspec.structs.replace(ORDER, at=at)))
    assert isinstance(order, Control)
    assert order.at.astimezone(UTC) == datetime(2026, 11, 20, 17, 30, tzinfo=UTC)
