"""What of `decisions-<pop>` reaches the actuator, and what becomes a dead letter."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from agents.actuate import Following, decode
from app.contract.decoding import Rejected
from app.contract.schemas import OVERRIDES_MAX, Decision
from app.contract.signing import Untrusted
from app.contract.topics import DECISION_BYTES_MAX
from app.stream.consumer import Record
from app.stream.fetching import Hole
from tests.agents.outbox import Outbox
from tests.app.actuation.pop import decision, override
from tests.keys import ANYBODY

TOPIC = TP("decisions-rhv1000", 0)
AT_S = 1_700_000_000.0
GOOD = decision(AT_S, 41, [override()], ["203.0.0.0/24"])
UINT32_MAX = 2**32 - 1


def nothing_refused(topic: str, record: Untrusted, at_s: float) -> None:
    raise AssertionError(record.reason)


def encoded(**changes: object) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(GOOD, **changes))


async def stream(*values: bytes) -> AsyncIterator[Any]:
    """One event with these records, as the batch consumer yields it."""
    records = [Record(offset, AT_S, b"rhv1000", value) for offset, value in enumerate(values)]
    yield SimpleNamespace(message=SimpleNamespace(tp=TOPIC), value=records)


async def letters_of(events: AsyncIterator[Any], follow: Callable[[Decision], None]) -> list[str]:
    outbox = Outbox()
    await Following(["rhv1000"], ANYBODY, follow, nothing_refused, outbox.publisher).run(
        cast(Any, SimpleNamespace(events=lambda: events))
    )
    return outbox.letters


async def followed(*values: bytes) -> tuple[list[Decision], list[str]]:
    taken: list[Decision] = []
    return taken, await letters_of(stream(*values), taken.append)


def test_a_decision_is_read_as_it_was_written() -> None:
    assert decode("rhv1000", ANYBODY, Record(0, AT_S, b"rhv1000", msgspec.json.encode(GOOD))) == GOOD


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "an empty record"),
        (msgspec.json.encode(GOOD).replace(b"203.0.113.0/24", b"caf\xe9"), "'utf-8' codec can't decode byte 0xe9"),
        (b"{", "Input data was truncated"),
        (b"null", "Expected `object`"),
        (encoded(pop="fra1000"), "a decision of fra1000 in the topic of rhv1000"),
        (encoded(epoch=UINT32_MAX + 1), "Expected `int` <= 4294967295"),
        (encoded(epoch=UINT32_MAX), "is more than an hour ahead of its record"),
        (encoded(seq=-1), "Expected `int` >= 0"),
        (encoded(add_until=datetime(2026, 11, 21)), "Expected `datetime` with a timezone component"),
        (encoded(hold_until=datetime(2026, 11, 21)), "Expected `datetime` with a timezone component"),
        (encoded(made_at=datetime(2026, 11, 21, tzinfo=UTC)).replace(b"2026", b"9999"), "is not a time between"),
        (encoded(overrides=[override()] * (OVERRIDES_MAX + 1)), "Expected `array` of length <= 10000"),
        (encoded(barred="x" * 2001), "Expected `str` of length <= 2000"),
        (encoded(barred="x" * DECISION_BYTES_MAX), "at most 12500000 are accepted"),
        (encoded(egress_mismatch_share=1e300), "Expected `float` <= 1e+18"),
        (encoded(mode="never"), "Invalid enum value"),
        (encoded(schema="decision/2"), "Invalid enum value"),
    ],
)
def test_what_cannot_be_acted_on(message: bytes, reason: str) -> None:
    parsed = decode("rhv1000", ANYBODY, Record(0, AT_S, b"rhv1000", message))
    assert isinstance(parsed, Rejected)
    assert reason in parsed.reason


@given(st.binary())
def test_any_bytes_are_a_decision_or_a_dead_letter(message: bytes) -> None:
    assert isinstance(decode("rhv1000", ANYBODY, Record(0, AT_S, b"rhv1000", message)), Rejected)


async def test_deep_nesting_is_a_dead_letter_too() -> None:
    assert isinstance(decode("rhv1000", ANYBODY, Record(0, AT_S, b"rhv1000", b'{"pop":' + b"[" * 100_000)), Rejected)


async def test_good_ones_pass_in_order_and_bad_ones_do_not_stop_them() -> None:
    first, second = encoded(seq=1), encoded(seq=2)
    taken, letters = await followed(first, b"junk", second)
    assert [each.seq for each in taken] == [1, 2]
    assert letters == ["decisions-rhv1000@1: JSON is malformed: invalid character (byte 0)"]


async def test_a_decision_that_cannot_be_followed_is_a_dead_letter_and_the_next_is_followed() -> None:
    """Else the process would end at the same record again after each start."""
    followed: list[int] = []

    def follow(decision: Decision) -> None:
        if decision.seq == 1:
            raise ZeroDivisionError("a bug")
        followed.append(decision.seq)

    letters = await letters_of(stream(encoded(seq=1), encoded(seq=2)), follow)
    assert followed == [2]
    assert letters == ["decisions-rhv1000@0: it cannot be followed: ZeroDivisionError: a bug"]


async def test_a_batch_that_cannot_be_read_is_a_dead_letter_and_the_end_of_a_transaction_is_none() -> None:
    async def events() -> AsyncIterator[Any]:
        for hole in (Hole(3, 5, AT_S, Rejected(b"raw", "why")), Hole(5, 6, AT_S)):
            yield SimpleNamespace(message=SimpleNamespace(tp=TOPIC), value=hole)

    assert await letters_of(events(), lambda _: None) == ["decisions-rhv1000@3: why"]


async def test_a_stop_leaves_the_answer_of_a_dead_letter_to_faust() -> None:
    """Faust takes the result of it in a callback, where a cancelled one is an exception in the log."""
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    sent = asyncio.Event()

    async def send() -> asyncio.Future[None]:
        sent.set()
        return answer

    outbox = Outbox()
    outbox.take = lambda: [send]  # type: ignore[method-assign]
    following = Following(["rhv1000"], ANYBODY, lambda decision: None, nothing_refused, outbox.publisher)
    running = asyncio.ensure_future(following.run(SimpleNamespace(events=lambda: stream(b"junk"))))
    await sent.wait()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert not answer.cancelled()
