"""The kill switch over Kafka: the `control` topic holds the last order for each PoP and the last for all PoPs (`*`).

Where orders are signed, each is newer than the one before it by its own time, and was written to Kafka at that time:
an old one that is sent again lifts no halt. Kafka keeps what was written under a key for a month at least, so an order
stands although somebody else writes after it.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from app.clock import Clock, SystemClock, utc
from app.config.settings import Kafka
from app.contract import topics
from app.contract.decoding import Read, Rejected, reader_of
from app.contract.schemas import Control
from app.contract.signing import Keyring, Signer, TrustedSigner, Untrusted, untrusted
from app.errors import DaemonError
from app.kafka import client
from app.kafka.read import read_topic
from app.kafka.unreadable import Unreadable
from app.logs import OFTEN

ALL = "*"
RETRY_S = 2.0
POLL_MS = 500
ISSUED_WITHIN_S = 300.0  # of its time in Kafka
ATTEMPTS = 3
INSTEAD = (
    "; create the halt file on the actuator's host instead: `halt_file` in what `autopilot check --offline --dump`"
    " prints there"
)

log = logging.getLogger(__name__)
_read: Read[Control] = reader_of(Control)
OnRefused = Callable[[str, Untrusted, float], None]  # topic, record, Kafka time


class Orders:
    """The last order of each key. A PoP is halted by its own order or by the order for all PoPs.

    What is refused because of its signature goes to `on_refused`, or else counts as unreadable.
    """

    def __init__(self, trust: Keyring, on_refused: OnRefused | None = None) -> None:
        self.unreadable = Unreadable()
        self.trust = trust
        self._on_refused = on_refused
        self._orders: dict[str, Control] = {}

    def take(self, key: bytes | None, value: bytes | None, at_s: float) -> Control | None:
        """Take one record, which came at Kafka time `at_s`, and return its order if it is new.

        A record that cannot be read, that is not trusted, that has another key than its PoP, or that deletes an order,
        is counted and changes nothing. Kafka keeps the last record of each key, so an order under a wrong key could
        outlive the one that lifts it; and nobody says by deleting a record that it is safe to go on.
        """
        name = (key or b"").decode(errors="replace")
        if value is None:
            self._ignore_deletion(name)
            return None
        order = self.trust.read(_read, topics.CONTROL.name, key, value, at_s)
        if isinstance(order, Control):
            order = self._in_turn(name, _credited(order, self.trust.signer_of(value)), value, at_s)
        if isinstance(order, Untrusted) and self._on_refused is not None:
            self._on_refused(topics.CONTROL.name, order, at_s)
            return None
        if isinstance(order, Rejected):
            self._refuse(name, order.reason)
            return None
        if order.pop.encode() != key:
            self._refuse(name, f"it is an order for {order.pop}")
            return None
        before, self._orders[name] = self._orders.get(name), order
        return None if order == before else order

    def _in_turn(self, name: str, order: Control, value: bytes, at_s: float) -> Control | Untrusted:
        """The order, if it is of now and newer than the last one of its key, or the same."""
        before = self._orders.get(name)
        if not self.trust.demands or order == before:
            return order
        if abs(order.at.timestamp() - at_s) > ISSUED_WITHIN_S:
            return untrusted(value, "replayed", f"it came to Kafka long before or after it was given, at {order.at}")
        if before is not None and order.at <= before.at:
            return untrusted(value, "replayed", f"it is older than the order of {before.at}")
        return order

    def last(self, key: str) -> Control | None:
        """The last order of a key: a PoP, or ALL."""
        return self._orders.get(key)

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


async def read_orders(kafka: Kafka, trust: Keyring) -> Orders:
    """The orders in force now; DaemonError if the topic cannot be read."""
    orders = Orders(trust)
    await _news(kafka, orders)
    return orders


async def _news(kafka: Kafka, orders: Orders) -> list[Control]:
    """Let `orders` take every record that there is now, and return those that it obeyed."""
    records = await read_topic(kafka, topics.CONTROL.name)
    taken = [orders.take(record.key, record.value, record.timestamp / 1000) for record in records]
    return [order for order in taken if order is not None]


class ControlReader:
    """Reads the control topic from its beginning and follows it. Until `caught_up`, orders may be missing."""

    def __init__(
        self, kafka: Kafka, trust: Keyring, on_change: Callable[[Orders], None], on_refused: OnRefused
    ) -> None:
        self.caught_up = False
        self._kafka = kafka
        self._on_change = on_change
        self._orders = Orders(trust, on_refused)

    def obey(self, trust: Keyring) -> None:
        """Judge what comes from now on by other keys; the orders that were taken stand."""
        self._orders.trust = trust

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
                        if order := self._orders.take(record.key, record.value, record.timestamp / 1000):
                            action, why = "halted" if order.halt else "resumed", because(order)
                            said = (order.pop, action, order.by, why)
                            log.warning("control: %s %s by %s%s", *said, extra={"pop": order.pop})
                at_end = at_end or await consumer.position(partition) >= end
                if at_end:
                    self.caught_up = True
                    self._on_change(self._orders)


def _credited(order: Control, signer: TrustedSigner | None) -> Control:
    """The order by whoever signed it: what else it says of that is a claim."""
    if signer is None or signer.name == order.by:
        return order
    return msgspec.structs.replace(order, by=f"{order.by} (key {signer.name})")


def because(order: Control) -> str:
    """The reason of an order as the rest of a sentence, if one was given."""
    return f" ({order.reason})" if order.reason else ""


class Seal(NamedTuple):
    """What orders are signed with, by what those that stand are judged, and the clock that they are dated by."""

    signer: Signer
    trust: Keyring
    clock: Clock = SystemClock()


async def send_control(
    kafka: Kafka, pop: str, halt: bool, by: str, seal: Seal | None = None, reason: str | None = None
) -> None:
    """Write an order for one PoP or for all (`*`); DaemonError if the broker does not confirm it.

    An order for all does not lift the order for a PoP: each is resumed under the name it was halted by. A signed order
    is read again after it was written: whoever trusts the same keys obeys it.
    """
    clock = seal.clock if seal is not None else SystemClock()
    order = Control(pop=pop, halt=halt, by=by, at=utc(clock.now_s()), reason=reason)
    instead = INSTEAD if halt else ""
    try:
        async with client.started(client.producer(kafka, request_timeout_ms=10_000)) as producer:
            if seal is None:
                await producer.send_and_wait(topics.CONTROL.name, msgspec.json.encode(order), key=pop.encode())
                return
            await _send_signed(kafka, producer, order, seal)
    except DaemonError as error:
        raise DaemonError(f"{error}{instead}") from error
    except KafkaError as error:
        raise DaemonError(
            f"broker {kafka.broker}: the order was not confirmed, {client.why(kafka, error)}{instead}"
        ) from error


async def _send_signed(kafka: Kafka, producer: AIOKafkaProducer, order: Control, seal: Seal) -> None:
    """Write an order until it is obeyed: clocks differ, and so do the orders of two who give them at once.

    A halt that somebody else ordered meanwhile is not lifted.
    """
    last = (await read_orders(kafka, seal.trust)).last(order.pop)
    for _ in range(ATTEMPTS):
        order = _after(last, order)
        value = seal.signer.sign(topics.CONTROL.name, order.pop, msgspec.json.encode(order))
        sent = await producer.send_and_wait(topics.CONTROL.name, value, key=order.pop.encode())
        orders = Orders(seal.trust)
        if _credited(order, seal.trust.signers.get(seal.signer.key_id)) in await _news(kafka, orders):
            return
        before, last = last, orders.last(order.pop)
        if last is not None and last.halt and last != before and not order.halt:
            raise DaemonError(f"{last.by} halted {last.pop} meanwhile, so it was not resumed")
        order = msgspec.structs.replace(order, at=utc(sent.timestamp / 1000))  # by the broker's clock
    raise DaemonError("the order was written, but it is refused; `autopilot check` says what is wrong")


def _after(last: Control | None, order: Control) -> Control:
    """The order with a time after that of the last one: clocks of operators differ."""
    if last is None or order.at > last.at:
        return order
    return msgspec.structs.replace(order, at=last.at + timedelta(milliseconds=1))
