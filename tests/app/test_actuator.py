"""The parts of the composition root that judge: whether routes were read, and what waits for Kafka."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError

from app.actuator import Background, Outbox, RoutesRead
from app.clock import ManualClock, utc
from app.contract.schemas import Actuation
from app.feeds.ribfeed import RibFeed
from app.stream.publish import Publisher
from app.te.routing.rib import Rib
from tests.pops import demo_pop

TOPIC = "bmp-rhv1000"


class Reading:
    """A feed of one PoP and the end of its topic."""

    def __init__(self) -> None:
        self.end: int | None = None
        self.begin()
        self.read = RoutesRead(lambda: {"rhv1000": self.feed}, self.end_of)

    def begin(self) -> None:
        """Recovery or a rebalance: a new feed."""
        self.feed = RibFeed(demo_pop(), Rib())

    def end_of(self, topic: str) -> int | None:
        assert topic == TOPIC
        return self.end

    def applied(self, offset: int) -> None:
        self.feed.sessions.applied = offset


def test_routes_are_read_once_the_end_that_was_seen_first_is_applied() -> None:
    reading = Reading()
    assert not reading.read("rhv1000")  # nothing fetched yet
    reading.end = 10
    reading.applied(8)
    assert not reading.read("rhv1000")
    reading.end = 1000  # it grows while we read
    reading.applied(9)
    assert reading.read("rhv1000")


def test_an_empty_topic_is_read() -> None:
    reading = Reading()
    reading.end = 0
    assert reading.read("rhv1000")


def test_after_a_rebalance_they_are_read_anew() -> None:
    reading = Reading()
    reading.end = 10
    reading.applied(9)
    assert reading.read("rhv1000")
    reading.begin()
    assert not reading.read("rhv1000")
    reading.applied(9)
    assert reading.read("rhv1000")


class Broker:
    """Takes what it is sent, but for the first `away` times."""

    def __init__(self, away: float = 0) -> None:
        self.away = away
        self.taken: list[str] = []
        self._queue: list[Callable[[], Awaitable[Any]]] = []

    def put(self, topic: str, key: str, value: Actuation) -> None:
        async def send() -> Awaitable[None]:
            if self.away:
                self.away -= 1
                raise KafkaConnectionError
            self.taken.append(value.id)
            return asyncio.sleep(0)

        self._queue.append(send)

    def take(self) -> list[Callable[[], Awaitable[Any]]]:
        queue, self._queue = self._queue, []
        return queue


def record(id: str) -> Actuation:
    return Actuation(
        id=id, pop="rhv1000", router="r1", prefix="203.0.113.0/24", action="announced", reason="", next_hop=None,
        epoch=7, seq=1, at=utc(ManualClock().now_s()),
    )  # fmt: skip


async def delivered(broker: Broker, *ids: str) -> list[str]:
    outbox = Outbox(cast(Publisher, broker), lambda: True)
    task = asyncio.create_task(outbox.run())
    for id in ids:
        outbox.put(record(id))
    async with asyncio.timeout(5):
        while len(broker.taken) < len(ids):
            await asyncio.sleep(0.01)
    task.cancel()
    return broker.taken


async def test_records_leave_in_order() -> None:
    assert await delivered(Broker(), "1", "2", "3") == ["1", "2", "3"]


async def test_a_broker_that_is_away_gets_them_when_it_is_back() -> None:
    assert await delivered(Broker(away=1), "1", "2") == ["1", "2"]


async def test_nothing_is_sent_before_a_broker_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.actuator.RETRY_S", 0.01)
    broker, asked = Broker(), 0

    def answers() -> bool:
        nonlocal asked
        asked += 1
        assert not broker.taken
        return asked > 3

    outbox = Outbox(cast(Publisher, broker), answers)
    outbox.put(record("1"))
    task = asyncio.create_task(outbox.run())
    async with asyncio.timeout(5):
        while not broker.taken:
            await asyncio.sleep(0.01)
    task.cancel()
    assert asked == 4


async def test_while_the_broker_is_away_the_oldest_make_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.actuator.WAITING_MAX", 3)
    monkeypatch.setattr("app.actuator.BATCH", 2)
    monkeypatch.setattr("app.actuator.RETRY_S", 0.01)
    broker = Broker(away=inf)
    outbox = Outbox(cast(Publisher, broker), lambda: True)
    for number in range(5):
        outbox.put(record(str(number)))
    task = asyncio.create_task(outbox.run())
    async with asyncio.timeout(5):
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


async def test_the_end_of_a_job_is_the_end_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons: list[str] = []
    monkeypatch.setattr("app.actuator.die", reasons.append)

    async def fails() -> None:
        raise ValueError("a bug")

    async def lives() -> None:
        await asyncio.Event().wait()

    background = Background(fails, lives)
    await background.start()
    async with asyncio.timeout(2):
        while not reasons:
            await asyncio.sleep(0)
    await background.stop()
    assert reasons == ["actuator: a job ended, which none may"]
