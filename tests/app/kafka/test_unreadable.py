"""What a page or a command skips: counted, logged now and then, and never raised."""

from typing import Any

import msgspec
import pytest

from app.clock import ManualClock, utc
from app.config.settings import Kafka
from app.contract.decoding import Read, reader_of
from app.contract.schemas import Control
from app.kafka.bounded import REFUSED
from app.kafka.follow import TopicsReader
from app.kafka.unreadable import Unreadable, decoded
from tests.fuzz.memory_kafka import MemoryRecord

ORDER = Control(pop="*", halt=True, by="ada", at=utc(0))
read: Read[Control] = reader_of(Control)


def record(offset: int, value: bytes | None, *headers: tuple[str, bytes]) -> MemoryRecord:
    return MemoryRecord("control", offset, b"*", value, 0, headers)


def test_what_can_be_used_is_passed_on_in_order(caplog: pytest.LogCaptureFixture) -> None:
    good = msgspec.json.encode(ORDER)
    records: list[Any] = [record(3, good), record(4, b"\xe9"), record(5, None), record(6, good)]
    assert [(one.offset, order) for one, order in decoded(records, read)] == [(3, ORDER), (6, ORDER)]
    assert caplog.messages[0].startswith("control: the record at offset 4 cannot be read: ")
    assert len(caplog.messages) == 1, "and the 10th, the 100th, ..."


def test_a_flood_is_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    unreadable = Unreadable()
    for offset in range(2500):
        unreadable.note("control", f"the record at offset {offset}", "junk")
    assert unreadable.records == {"control": 2500}
    assert [message.partition(" (")[2] for message in caplog.messages] == [
        *("", "10 so far)", "100 so far)", "1000 so far)")
    ]


def test_a_batch_that_cannot_be_read_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    unreadable = Unreadable()
    records: list[Any] = [record(3, b"a"), record(9, None, (REFUSED, b"too large")), record(10, b"b")]
    assert [one.offset for one in unreadable.without_refused(records)] == [3, 10]
    assert caplog.messages == ["control: the batch up to offset 9 cannot be read: too large"]


def test_what_taking_a_record_raises_is_its_fault(caplog: pytest.LogCaptureFixture) -> None:
    taken: list[bytes | None] = []

    def take(_: bytes | None, value: bytes | None, at_s: float) -> None:
        if value == b"bad":
            raise ZeroDivisionError
        taken.append(value)

    reader = TopicsReader(Kafka(), {"control": take}, 60.0, ManualClock())
    for offset, value in enumerate((b"a", b"bad", b"b")):
        reader._take("control", offset, None, value, 0.0)
    assert taken == [b"a", b"b"]
    assert reader.unreadable.records == {"control": 1}
    assert caplog.messages == ["control: the record at offset 1 cannot be read: ZeroDivisionError"]
