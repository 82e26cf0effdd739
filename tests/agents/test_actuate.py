"""What of `decisions-<pop>` reaches the actuator, and what becomes a dead letter."""

from collections.abc import AsyncIterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from agents.actuate import UINT32_MAX, Following, decode
from app.contract.schemas import Decision
from app.feeds.rejected import Rejected
from app.stream.consumer import Record
from tests.agents.outbox import Outbox
from tests.app.actuation.pop import decision, override

TOPIC = TP("decisions-rhv1000", 0)
GOOD = decision(1_700_000_000.0, 41, [override()], ["203.0.0.0/24"])


def encoded(**changes: object) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(GOOD, **changes))


async def stream(*values: bytes) -> AsyncIterator[Any]:
    """One event with these records, as the batch consumer yields it."""
    records = [Record(offset, 0.0, b"rhv1000", value) for offset, value in enumerate(values)]
    yield SimpleNamespace(message=SimpleNamespace(tp=TOPIC), value=records)


async def followed(*values: bytes) -> tuple[list[Decision], list[str]]:
    taken: list[Decision] = []
    outbox = Outbox()
    events = cast(Any, SimpleNamespace(events=lambda: stream(*values)))
    await Following(["rhv1000"], taken.append, outbox.publisher).run(events)
    return taken, outbox.letters


def test_a_decision_is_read_as_it_was_written() -> None:
    assert decode("rhv1000", msgspec.json.encode(GOOD)) == GOOD


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "Input data was truncated"),
        (b"{", "Input data was truncated"),
        (b"null", "Expected `object`"),
        (encoded(pop="fra1000"), "a decision of fra1000 in the topic of rhv1000"),
        (encoded(epoch=UINT32_MAX + 1), "does not fit 32 bits"),
        (encoded(seq=-1), "does not fit 32 bits"),
        (encoded(add_until=datetime(2026, 11, 21)), "a time without its zone"),
        (encoded(hold_until=datetime(2026, 11, 21)), "a time without its zone"),
        (encoded(mode="never"), "Invalid enum value"),
        (encoded(schema="decision/2"), "Invalid enum value"),
    ],
)
def test_what_cannot_be_acted_on(message: bytes, reason: str) -> None:
    parsed = decode("rhv1000", message)
    assert isinstance(parsed, Rejected)
    assert reason in parsed.reason


@given(st.binary())
def test_any_bytes_are_a_decision_or_a_dead_letter(message: bytes) -> None:
    assert isinstance(decode("rhv1000", message), Rejected)


async def test_deep_nesting_is_a_dead_letter_too() -> None:
    assert isinstance(decode("rhv1000", b'{"pop":' + b"[" * 100_000), Rejected)


async def test_good_ones_pass_in_order_and_bad_ones_do_not_stop_them() -> None:
    first, second = encoded(seq=1), encoded(seq=2)
    taken, letters = await followed(first, b"junk", second)
    assert [each.seq for each in taken] == [1, 2]
    assert letters == ["decisions-rhv1000@1: JSON is malformed: invalid character (byte 0)"]
