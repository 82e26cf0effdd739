"""What is queued to go out leaves when its flush sends it, and not before."""

from typing import Any, cast

import faust
import msgspec
import pytest
from faust.types import TP

from app.clock import utc
from app.contract.decoding import Rejected
from app.contract.schemas import Control, DeadLetter
from app.contract.topics import RECORD_BYTES_MAX
from app.stream.fetching import Record
from app.stream.publish import Publisher

ORDER = Control(pop="*", halt=True, by="ada", at=utc(0))


class Channels:
    """An app whose topics keep what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    def topic(self, name: str) -> Any:
        return self

    async def send(self, key: bytes, value: bytes) -> str:
        self.sent.append((key.decode(), value))
        return "answer"


async def test_a_record_leaves_when_it_is_sent_and_then_says_so() -> None:
    app, told = Channels(), list[int]()
    publisher = Publisher(cast(faust.App, app))
    publisher.put("control", "*", ORDER)
    publisher.put("control", "rhv1000", ORDER, sent=lambda: told.append(len(app.sent)))
    sends = publisher.take()
    assert (app.sent, told, publisher.take()) == ([], [], [])
    assert [await send() for send in sends] == ["answer", "answer"]
    encoded = msgspec.json.encode(ORDER)
    assert (app.sent, told) == ([("*", encoded), ("rhv1000", encoded)], [2])


async def test_a_record_that_no_broker_would_take_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Each flush would fail at it, and so would the next worker."""
    app = Channels()
    publisher = Publisher(cast(faust.App, app))
    publisher.put("control", "*", msgspec.structs.replace(ORDER, by="a" * RECORD_BYTES_MAX))
    publisher.put("control", "*", ORDER)
    assert [await send() for send in publisher.take()] == ["answer"]
    assert [key for key, _ in app.sent] == ["*"]
    assert "is not published: at most 900000" in caplog.text


async def test_a_dead_letter_says_which_line_it_is_and_for_how_many_it_stands() -> None:
    app = Channels()
    publisher = Publisher(cast(faust.App, app))
    record = Record(7, 0.0, None, b"x\nx")
    for rejected in (Rejected(b"x", "no JSON", index=1), Rejected(b"x", "400 more lines", index=2, records=400)):
        publisher.dead_letter(TP("flows", 0), record, rejected)
    for send in publisher.take():
        await send()
    letters = [msgspec.json.decode(value, type=DeadLetter) for _, value in app.sent]
    assert [(letter.offset, letter.index, letter.records) for letter in letters] == [(7, 1, 1), (7, 2, 400)]
