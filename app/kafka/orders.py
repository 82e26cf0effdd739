"""The kill switch over Kafka: the `control` topic holds the last order for each PoP and the last for all PoPs (`*`)."""

import asyncio
import logging
from collections.abc import Callable

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.clock import Clock, SystemClock, utc
from app.config.settings import Kafka
from app.contract import topics
from app.contract.decoding import Read, Rejected, reader_of
from app.contract.schemas import Control
from app.errors import DaemonError
from app.kafka import client
from app.kafka.read import read_topic
from app.kafka.unreadable import Unreadable
from app.logs import OFTEN

ALL = "*"
RETRY_S = 2.0
POLL_MS = 500
INSTEAD = (
    "; create the halt file on the actuator's host instead: `halt_file` in what `autopilot check --offline --dump`"
    " prints there"
)

log = logging.getLogger(__name__)
_read: Read[Control] = reader_of(Control)


class Orders:
    """The last order of each key. A PoP is halted by its own order or by the order for all PoPs."""

    def __init__(self) -> None:
        self.unreadable = Unreadable()
        self._orders: dict[str, Control] = {}

    def take(self, key: bytes | None, value: bytes | None) -> Control | None:
        """Take one record and return its order if it is new.

        A record that cannot be read, that has another key than its PoP, or that deletes an order, is counted and
        changes nothing. Kafka keeps the last record of each key, so an order under a wrong key could outlive the one
        that lifts it; and nobody says by deleting a record that it is safe to go on.
        """
        name = (key or b"").decode(errors="replace")
        if value is None:
            self._ignore_deletion(name)
            return None
        order = _read(value)
        if isinstance(order, Rejected):
            self._refuse(name, order.reason)
            return None
        if order.pop.encode() != key:
            self._refuse(name, f"it is an order for {order.pop}")
            return None
        before, self._orders[name] = self._orders.get(name), order
        return None if order == before else order

    def _ignore_deletion(self, name: str) -> None:
        """Keep what was ordered. A process that starts after Kafka has dropped both records does not know the order."""
        order = self._orders.get(name)
        if order is not None and order.halt:
            message = "control: the order to halt %s was deleted, but it stands here: lift it with `autopilot resume`"
            log.warning(message, name, extra={"pop": name})
        self._refuse(name, "it has no value, which changes no order")

    def _refuse(self, name: str, reason: str) -> None:
        which = f"the record of key {name[:100]!r}"
        self.unreadable.note(topics.CONTROL.name, which, f"{reason}; use `autopilot halt` and `autopilot resume`")

    def halt(self, pop: str) -> Control | None:
        """The order that halts this PoP, or None; the order for all PoPs comes before its own."""
        return next((order for key in (ALL, pop) if (order := self._orders.get(key)) is not None and order.halt), None)

    def halted(self, pop: str) -> bool:
        return self.halt(pop) is not None


async def read_orders(kafka: Kafka) -> Orders:
    """The orders in force now; DaemonError if the topic cannot be read."""
    orders = Orders()
    for record in await read_topic(kafka, topics.CONTROL.name):
        orders.take(record.key, record.value)
    return orders


class ControlReader:
    """Reads the control topic from its beginning and follows it. Until `caught_up`, orders may be missing."""

    def __init__(self, kafka: Kafka, on_change: Callable[[Orders], None]) -> None:
        self.caught_up = False
        self._kafka = kafka
        self._on_change = on_change
        self._orders = Orders()

    @property
    def unreadable(self) -> int:
        """How many records could not be used since the start."""
        return self._orders.unreadable.records[topics.CONTROL.name]

    async def run(self) -> None:
        """Read until cancelled; while the broker is unreachable, retry, and the last orders stay in force."""
        while True:
            try:
                await self._follow()
            except KafkaError as error:
                reason = client.why(self._kafka, error)
                log.warning("control: broker %s: %s; trying again", self._kafka.broker, reason, extra=OFTEN)
                await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        """Read and follow. `on_change` is not called before the end is reached: until then old orders pass again."""
        partition, at_end = TopicPartition(topics.CONTROL.name, 0), False
        async with client.started(client.consumer(self._kafka, auto_offset_reset="earliest")) as consumer:
            consumer.assign([partition])
            end = (await consumer.end_offsets([partition]))[partition]
            while True:
                for records in (await consumer.getmany(partition, timeout_ms=POLL_MS)).values():
                    for record in self._orders.unreadable.without_refused(records):
                        if order := self._orders.take(record.key, record.value):
                            action = "halted" if order.halt else "resumed"
                            log.warning("control: %s %s by %s", order.pop, action, order.by, extra={"pop": order.pop})
                at_end = at_end or await consumer.position(partition) >= end
                if at_end:
                    self.caught_up = True
                    self._on_change(self._orders)


async def send_control(kafka: Kafka, pop: str, halt: bool, by: str, clock: Clock | None = None) -> None:
    """Write an order for one PoP or for all (`*`); DaemonError if the broker does not confirm it.

    An order for all does not lift the order for a PoP: each is resumed under the name it was halted by.
    """
    order = Control(pop=pop, halt=halt, by=by, at=utc((clock or SystemClock()).now_s()))
    try:
        async with client.started(client.producer(kafka, request_timeout_ms=10_000)) as producer:
            await producer.send_and_wait(topics.CONTROL.name, msgspec.json.encode(order), key=pop.encode())
    except KafkaError as error:
        raise DaemonError(
            f"broker {kafka.broker}: the order was not confirmed, {client.why(kafka, error)}{INSTEAD if halt else ''}"
        ) from error
