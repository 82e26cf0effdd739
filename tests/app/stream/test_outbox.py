"""What waits for Kafka: it leaves in order, whenever the broker is there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any

import pytest
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaConnectionError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    PolicyViolationError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnknownError,
)

from app import metrics
from app.clock import ManualClock, utc
from app.contract import topics
from app.contract.schemas import Actuation, ActuatorStatus
from app.stream.outbox import Outbox
from tests.patience import PATIENCE_S


class Broker:
    """Takes what it is sent, but for the first `away` times, when it fails with `error`, and the `refused` records."""

    def __init__(
        self, away: float = 0, error: Exception | None = None, refused: Mapping[str, Exception] | None = None
    ) -> None:
        self.away = away
        self.error = error or KafkaConnectionError()
        self.refused = refused or {}
        self.taken: list[str] = []
        self._queue: list[Callable[[], Awaitable[Any]]] = []

    def put(self, topic: str, key: str, value: Actuation | ActuatorStatus) -> None:
        async def send() -> Awaitable[None]:
            if self.away:
                self.away -= 1
                raise self.error
            if value.id in self.refused:
                raise self.refused[value.id]
            self.taken.append(value.id)
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            answer.set_result(None)
            return answer

        self._queue.append(send)

    def take(self) -> list[Callable[[], Awaitable[Any]]]:
        queue, self._queue = self._queue, []
        return queue

    async def close(self) -> None:
        """Nothing is on its way."""


def record(id: str) -> Actuation:
    return Actuation(
        id=id, pop="rhv1000", router="r1", prefix="203.0.113.0/24", action="announced", reason="", next_hop=None,
        epoch=7, seq=1, at=utc(ManualClock().now_s()),
    )  # fmt: skip


def status(id: str, pop: str) -> ActuatorStatus:
    at = utc(ManualClock().now_s())
    return ActuatorStatus(id=id, pop=pop, at=at, mode="auto", halted_by=(), decision=None, injectors={})


async def delivered(broker: Broker, *ids: str) -> list[str]:
    outbox = Outbox(broker)
    task = asyncio.create_task(outbox.run())
    for id in ids:
        outbox.put(record(id))
    async with asyncio.timeout(PATIENCE_S):
        while len(broker.taken) < len(ids):
            await asyncio.sleep(0.01)
    task.cancel()
    return broker.taken


async def test_signs_of_life_do_not_wait_behind_many_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.stream.outbox.BATCH_EVERY_S", 0.01)
    monkeypatch.setattr("app.stream.outbox.BATCH", 2)
    broker = Broker()
    outbox = Outbox(broker)
    for number in range(9):
        outbox.put(record(str(number)))
    outbox.report(status("alive", "rhv1000"))
    task = asyncio.create_task(outbox.run())
    async with asyncio.timeout(PATIENCE_S):
        await outbox.drained()
    task.cancel()
    assert broker.taken.index("alive") == 2


@pytest.mark.parametrize(("away", "lost"), [(0, 0), (inf, 9)])
async def test_what_waits_at_the_end_is_sent_or_counted_as_lost(away: float, lost: int) -> None:
    broker, counted = Broker(away=away), metrics.UNPUBLISHED.labels(topics.ACTUATIONS.name)
    before = counted._value.get()
    outbox = Outbox(broker)
    task = asyncio.create_task(outbox.run())
    await asyncio.sleep(0)  # it runs
    for number in range(9):
        outbox.put(record(str(number)))
    task.cancel()
    await asyncio.wait([task])
    assert len(broker.taken) == 9 - lost
    assert counted._value.get() == before + lost


async def test_records_leave_in_order() -> None:
    assert await delivered(Broker(), "1", "2", "3") == ["1", "2", "3"]


@pytest.mark.parametrize(
    "error",
    [
        KafkaConnectionError(),
        NotEnoughReplicasError(),
        TopicAuthorizationFailedError(),  # somebody will mend it
        TimeoutError(),
        ConnectionResetError(),
    ],
    ids=repr,
)
async def test_a_broker_that_is_away_gets_them_when_it_is_back(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.stream.outbox.RETRY_S", 0.01)
    assert await delivered(Broker(away=3, error=error), "1", "2") == ["1", "2"]


@pytest.mark.parametrize(
    "error",
    [
        MessageSizeTooLargeError(),
        RecordTooLargeError(),
        InvalidTimestampError(),
        PolicyViolationError(),
        UnknownError(),
        AssertionError("Key and value can't be both None"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    ],
    ids=repr,
)
async def test_a_record_that_can_never_be_sent_is_dropped_and_counted_and_the_others_are_sent(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """It was sent again every second, and nothing else was published any more."""
    broker = Broker(refused={"2": error, "4": error})
    dropped = metrics.UNPUBLISHED.labels(topics.ACTUATIONS.name)
    before = dropped._value.get()
    outbox = Outbox(broker)
    for number in range(1, 6):
        outbox.put(record(str(number)))
    task = asyncio.create_task(outbox.run())
    async with asyncio.timeout(PATIENCE_S):
        while "5" not in broker.taken:
            await asyncio.sleep(0.01)
    task.cancel()
    assert broker.taken == ["1", "1", "3", "5"], "readers drop repeats by their id"
    assert sum("a record is dropped" in message for message in caplog.messages) == 2
    assert dropped._value.get() == before + 2


async def test_while_the_broker_is_away_the_oldest_make_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.stream.outbox.WAITING_MAX", 3)
    monkeypatch.setattr("app.stream.outbox.BATCH", 2)
    monkeypatch.setattr("app.stream.outbox.RETRY_S", 0.01)
    broker = Broker(away=inf)
    outbox = Outbox(broker)
    for number in range(5):
        outbox.put(record(str(number)))
    task = asyncio.create_task(outbox.run())
    async with asyncio.timeout(PATIENCE_S):
        while "records wait" not in caplog.text:
            await asyncio.sleep(0.01)
        for number in range(5, 100):
            outbox.put(record(str(number)))
        assert not broker.take(), "nothing waits in the publisher"
        broker.away = 0
        while "99" not in broker.taken:
            await asyncio.sleep(0.01)
    task.cancel()
    assert broker.taken == ["2", "3", "97", "98", "99"], "what is on its way stays, then the newest"


async def test_of_signs_of_life_the_newest_is_sent_and_a_lost_one_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.stream.outbox.RETRY_S", 0.01)
    broker = Broker()
    outbox = Outbox(broker)
    for number in (1, 2):
        outbox.report(status(f"a{number}", "a"))
    outbox.report(status("b1", "b"))
    task = asyncio.create_task(outbox.run())
    async with asyncio.timeout(PATIENCE_S):
        while len(broker.taken) < 2:
            await asyncio.sleep(0.01)
        broker.away = 1
        outbox.report(status("a3", "a"))
        while broker.away:
            await asyncio.sleep(0.01)
        outbox.put(record("1"))
        outbox.report(status("a4", "a"))
        while "a4" not in broker.taken:
            await asyncio.sleep(0.01)
    task.cancel()
    assert broker.taken == ["a2", "b1", "1", "a4"]
