"""The audit trail on a real broker: a record that its topic will never take stops nobody behind it."""

import asyncio
import gc

import msgspec
import pytest

from app import metrics
from app.clock import SystemClock, utc
from app.contract import topics
from app.contract.schemas import TEXT_MAX, Actuation
from app.contract.topics import Topic
from app.kafka.direct import DirectPublisher
from app.lab.daemons.kafka import kafka, reached_at
from app.stream.outbox import Outbox
from tests.integration.bgp import eventually
from tests.integration.kafka_reader import Record, records_until

pytestmark = [pytest.mark.services]

RECORD_BYTES_MAX = 1500
TOPIC = topics.ACTUATIONS.name


class NarrowTopic(Topic, frozen=True):
    """A topic that somebody keeps from growing."""

    @property
    def config(self) -> dict[str, str]:
        return {"max.message.bytes": str(RECORD_BYTES_MAX)}


def record(number: int, reason: str) -> Actuation:
    return Actuation(
        id=str(number), pop="rhv1000", router="r1", prefix="203.0.113.0/24", action="refused", reason=reason,
        next_hop=None, epoch=7, seq=number, at=utc(SystemClock().now_s()),
    )  # fmt: skip


async def test_a_producer_whose_sender_ended_is_replaced_and_no_record_is_lost(
    daemons: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await found_after_an_end(monkeypatch)
    gc.collect()  # what the ended producer never told anybody is logged here, and not amid another test
    assert {each["id"] for each in found} == {"1", "2", "3"}


async def found_after_an_end(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """What is published when the producer's sender ends on the way."""
    async with kafka({TOPIC: topics.ACTUATIONS}) as broker:
        publisher = DirectPublisher(reached_at(broker))
        outbox = Outbox(publisher)
        sending = asyncio.create_task(outbox.run())
        outbox.put(record(1, "a reason"))
        await records_until(broker, TOPIC, lambda records: len(records) == 1)
        first = publisher._producer
        assert first is not None
        with monkeypatch.context() as patched:

            def fail(*_: object) -> None:
                raise AttributeError("what nobody expects")

            patched.setattr(first._message_accumulator, "drain_by_nodes", fail)
            patched.setattr("aiokafka.producer.sender.log.exception", lambda *_: None)  # it would keep the error alive
            outbox.put(record(2, "a reason"))

            async def has_ended() -> bool:
                return bool(first._sender.sender_task.done())

            await eventually(has_ended)
        outbox.put(record(3, "a reason"))
        found = await records_until(broker, TOPIC, lambda records: len(records) >= 3)
        sending.cancel()
        await asyncio.wait([sending])
    return found


async def test_a_record_that_its_topic_will_never_take_is_dropped_and_the_rest_of_its_batch_goes(daemons: None) -> None:
    topic = NarrowTopic(**{key: getattr(topics.ACTUATIONS, key) for key in topics.ACTUATIONS.__struct_fields__})
    dropped = metrics.UNPUBLISHED.labels(TOPIC)
    before = dropped._value.get()
    async with kafka({TOPIC: topic}) as broker:
        outbox = Outbox(DirectPublisher(reached_at(broker)))
        numbers = range(1, 61)
        for number in numbers:
            outbox.put(record(number, "x" * TEXT_MAX if number % 20 == 0 else "a reason"))
        sending = asyncio.create_task(outbox.run())
        large = {str(number) for number in numbers if number % 20 == 0}
        rest = {str(number) for number in numbers} - large

        def are_all_there(records: list[Record]) -> bool:
            return {each["id"] for each in records} >= rest

        async def are_dropped() -> bool:
            return bool(dropped._value.get() - before == len(large) == 3)

        found = await records_until(broker, TOPIC, are_all_there)
        await eventually(are_dropped)
        sending.cancel()
        await asyncio.wait([sending])
    assert {each["id"] for each in found} == rest
    assert max(len(msgspec.json.encode(each)) for each in found) < RECORD_BYTES_MAX
