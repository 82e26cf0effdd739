"""Orders over the `control` topic."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.errors import KafkaConnectionError

from app.clock import ManualClock, utc
from app.config.settings import Kafka
from app.contract.schemas import Control
from app.contract.signing import Untrusted
from app.errors import DaemonError
from app.kafka.orders import ControlReader, Orders, send_control
from app.lab.daemons.ports import free_port
from tests.keys import ANYBODY
from tests.patience import PATIENCE_S

AT_S = ManualClock().now_s()


def order(pop: str, halt: bool) -> tuple[bytes, bytes]:
    record = Control(pop=pop, halt=halt, by="a test", at=utc(AT_S))
    return pop.encode(), msgspec.json.encode(record)


def nothing_refused(topic: str, record: Untrusted, at_s: float) -> None:
    raise AssertionError(record.reason)


def after(*orders: tuple[bytes | None, bytes | None]) -> Orders:
    made = Orders(ANYBODY)
    for key, value in orders:
        made.take(key, value, AT_S)
    return made


def test_without_orders_nothing_is_halted() -> None:
    assert not after().halted("rhv1000")


def test_the_last_order_of_a_pop_counts() -> None:
    assert after(order("rhv1000", False), order("rhv1000", True)).halted("rhv1000")
    assert not after(order("rhv1000", True), order("rhv1000", False)).halted("rhv1000")
    assert not after(order("fra1000", True)).halted("rhv1000")


def test_an_order_for_all_halts_every_pop_and_does_not_lift_one_of_its_own() -> None:
    assert after(order("*", True)).halted("rhv1000")
    assert after(order("rhv1000", True), order("*", True), order("*", False)).halted("rhv1000")
    assert not after(order("*", True), order("*", False)).halted("rhv1000")


def test_a_halt_names_the_order_that_counts() -> None:
    orders = after(order("rhv1000", True), order("*", True))
    halt = orders.halt("rhv1000")
    assert halt is not None
    assert (halt.pop, halt.by) == ("*", "a test")
    assert after(order("rhv1000", False)).halt("rhv1000") is None


def test_an_order_is_news_once() -> None:
    orders = Orders(ANYBODY)
    assert orders.take(*order("rhv1000", True), AT_S) is not None
    assert orders.take(*order("rhv1000", True), AT_S) is None
    assert orders.take(*order("rhv1000", False), AT_S) is not None


@pytest.mark.parametrize("name", ["rhv1000", "*"])
def test_a_tombstone_lifts_no_halt_and_says_so(name: str, caplog: pytest.LogCaptureFixture) -> None:
    key = name.encode()
    orders = after(order(name, True), (key, None))
    assert orders.halted("rhv1000")
    assert orders.unreadable.records == {"control": 1}
    assert f"the order to halt {name} was deleted, but it stands here: lift it with `autopilot resume`" in caplog.text
    orders.take(*order(name, False), AT_S)
    assert not orders.halted("rhv1000")


def test_a_tombstone_of_no_halt_is_counted_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    orders = after((b"fra1000", None), order("rhv1000", False), (b"rhv1000", None), (None, None))
    assert not orders.halted("rhv1000")
    assert orders.unreadable.records == {"control": 3}
    assert "the record of key 'fra1000' cannot be read: it has no value, which changes no order" in caplog.text
    assert "was deleted" not in caplog.text


@pytest.mark.parametrize("value", [b"", b"junk", b'{"by": "caf\xe9"}', b"[" * 200_000, b"\xff" * 10_000])
def test_what_cannot_be_read_changes_nothing(value: bytes) -> None:
    orders = after(order("rhv1000", True), (b"rhv1000", value), (b"\xff", value), (None, value))
    assert orders.halted("rhv1000")
    assert orders.unreadable.records == {"control": 3}


def test_an_order_under_another_key_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Kafka keeps the last record of each key: this order would outlive every later one for all PoPs."""
    _, lifts = order("*", False)
    orders = after(order("*", True), (b"harmless", lifts), (None, lifts))
    assert orders.halted("rhv1000")
    assert orders.unreadable.records == {"control": 2}
    assert "the record of key 'harmless' cannot be read: it is an order for *" in caplog.text


def test_an_order_without_a_key_is_for_nobody() -> None:
    _, halts = order("", True)
    orders = after((None, halts))
    assert orders.unreadable.records == {"control": 1}


async def test_an_order_that_no_broker_takes_says_what_else_to_do() -> None:
    with pytest.raises(DaemonError, match="create the halt file on the actuator's host instead: `halt_file` in"):
        await send_control(Kafka(broker=f"127.0.0.1:{free_port()}"), "*", True, "a test")


async def test_a_halt_file_resumes_nothing() -> None:
    with pytest.raises(DaemonError, match="the order was not confirmed") as caught:
        await send_control(Kafka(broker=f"127.0.0.1:{free_port()}"), "*", False, "a test")
    assert "halt file" not in str(caught.value)


async def test_a_reader_without_a_broker_waits_and_does_not_end() -> None:
    reader = ControlReader(Kafka(broker=f"127.0.0.1:{free_port()}"), ANYBODY, lambda orders: None, nothing_refused)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await reader.run()
    assert not reader.caught_up


class Broker:
    """What consumers of the topic are given, fetch by fetch: records, or an error. Without more they wait."""

    def __init__(self, end: int, *fetches: list[tuple[bytes, bytes | None]] | Exception) -> None:
        self.end = end
        self.all_read = asyncio.Event()
        self._fetches = list(fetches)

    def consumer(self, kafka: Kafka, **options: Any) -> "Consumer":
        return Consumer(self)

    async def fetch(self) -> list[tuple[bytes, bytes | None]]:
        if not self._fetches:
            self.all_read.set()
            await asyncio.Event().wait()
        fetched = self._fetches.pop(0)
        if isinstance(fetched, Exception):
            raise fetched
        return fetched


class Consumer:
    """As much of aiokafka's as the reader uses."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._position = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def assign(self, partitions: list[Any]) -> None: ...

    async def end_offsets(self, partitions: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(partitions, self._broker.end)

    async def position(self, partition: Any) -> int:
        return self._position

    async def getmany(self, partition: Any, timeout_ms: int) -> dict[Any, list[Any]]:
        fetched = await self._broker.fetch()
        self._position += len(fetched)
        return {
            partition: [
                SimpleNamespace(key=key, value=value, headers=(), timestamp=1000 * AT_S) for key, value in fetched
            ]
        }


async def halted_over_time(monkeypatch: pytest.MonkeyPatch, broker: Broker) -> list[bool]:
    """Whether the PoP is halted, as told by the reader each time."""
    monkeypatch.setattr("app.kafka.client.consumer", broker.consumer)
    monkeypatch.setattr("app.kafka.orders.RETRY_S", 0.0)
    told: list[bool] = []
    reader = asyncio.create_task(
        ControlReader(
            Kafka(broker="nowhere:1"), ANYBODY, lambda orders: told.append(orders.halted("rhv1000")), nothing_refused
        ).run()
    )
    async with asyncio.timeout(PATIENCE_S):
        await broker.all_read.wait()
    reader.cancel()
    return told


async def test_orders_stand_while_the_topic_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = order("rhv1000", False), order("rhv1000", True)
    broker = Broker(2, [first, last], KafkaConnectionError(), [], [first], [last], [])
    told = await halted_over_time(monkeypatch, broker)
    assert told
    assert all(told)


async def test_orders_stand_where_the_topic_lost_its_records(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(0, [order("rhv1000", True)], KafkaConnectionError(), [], [])
    told = await halted_over_time(monkeypatch, broker)
    assert told
    assert all(told)


async def test_an_order_that_came_during_an_error_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, go = order("rhv1000", True), order("rhv1000", False)
    assert await halted_over_time(monkeypatch, Broker(1, [stop], KafkaConnectionError(), [stop], [go])) == [
        True,
        True,
        False,
    ]
