"""Orders that are signed: which of them count, in which turn, and how they are written."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from app.clock import ManualClock, utc
from app.config.settings import Kafka
from app.config.trusted_keys import TrustSettings, trust_of
from app.contract.schemas import Control
from app.contract.signing import Untrusted
from app.errors import DaemonError
from app.kafka import orders as orders_module
from app.kafka.orders import ISSUED_WITHIN_S, Orders, Seal, read_orders, send_control
from app.kafka.untrusted import RefusalLog
from tests.keys import signer, trusted

POP, T0 = "rhv1000", ManualClock().now_s()
ADA, BOB, STRANGER = signer(1), signer(2), signer(3)
TRUST = trust_of(TrustSettings(key=(trusted(ADA, "control"), trusted(BOB, "control"))))


def order(halt: bool, at_s: float, pop: str = POP, by: Any = ADA) -> tuple[bytes, bytes]:
    value = msgspec.json.encode(Control(pop=pop, halt=halt, by="a test", at=utc(at_s)))
    return pop.encode(), value if by is None else by.sign("control", pop, value)


class Reader:
    """Takes orders, and remembers why some were refused."""

    def __init__(self) -> None:
        self.causes: list[str] = []
        self.orders = Orders(TRUST, self._refused)

    def _refused(self, topic: str, record: Untrusted, at_s: float) -> None:
        self.causes.append(record.cause)

    def take(self, record: tuple[bytes, bytes | None], at_s: float) -> bool:
        """Whether the PoP is halted afterwards."""
        self.orders.take(*record, at_s)
        return self.orders.halted(POP)


def test_signed_orders_are_obeyed_whoever_gave_the_last_one() -> None:
    reader = Reader()
    assert reader.take(order(True, T0), T0)
    assert not reader.take(order(False, T0 + 1, by=BOB), T0 + 1)
    assert reader.take(order(True, T0 + 2), T0 + 2)
    assert reader.causes == []


def test_an_order_is_by_whose_key_signed_it_whatever_it_says() -> None:
    reader = Reader()
    assert reader.take(order(True, T0), T0)
    standing = reader.orders.halt(POP)
    assert standing is not None
    assert standing.by == f"a test (key {ADA.key_id})"
    assert reader.take(order(True, T0), T0 + 1), "the same again"
    assert reader.causes == []


def test_a_stranger_neither_lifts_nor_gives_a_halt() -> None:
    reader = Reader()
    assert not reader.take(order(True, T0, by=None), T0)
    assert not reader.take(order(True, T0, by=STRANGER), T0)
    assert reader.take(order(True, T0), T0)
    for forged in (order(False, T0 + 1, by=None), order(False, T0 + 1, by=STRANGER), (b"rhv1000", None)):
        assert reader.take(forged, T0 + 1)
    assert reader.causes == ["unsigned", "unknown-key", "unsigned", "unknown-key"]


def test_an_old_resume_lifts_no_newer_halt() -> None:
    reader, resume = Reader(), order(False, T0)
    assert not reader.take(resume, T0)
    assert reader.take(order(True, T0 + 10), T0 + 10)
    assert reader.take(resume, T0 + 20)
    assert reader.causes == ["replayed"]


def test_an_old_resume_lifts_no_halt_of_an_actuator_that_never_read_it() -> None:
    """Kafka may have dropped the newer halt as an older record of the same key."""
    reader, resume = Reader(), order(False, T0)
    assert reader.take(order(True, T0 + 10, pop="*"), T0 + 10)
    assert reader.take((b"*", resume[1]), T0 + 20), "under the key of the halt"
    assert reader.take(resume, T0 + ISSUED_WITHIN_S + 1)
    assert reader.causes == ["wrong-topic", "replayed"]
    assert reader.orders.last(POP) is None


def test_an_order_of_the_future_is_refused_and_one_of_a_clock_that_is_a_little_wrong_is_not() -> None:
    reader = Reader()
    assert not reader.take(order(True, T0 + ISSUED_WITHIN_S + 1), T0)
    assert reader.causes == ["replayed"]
    assert reader.take(order(True, T0 + ISSUED_WITHIN_S - 1), T0)


def test_the_same_order_again_is_no_replay() -> None:
    reader, halt = Reader(), order(True, T0)
    assert reader.take(halt, T0)
    assert reader.take(halt, T0 + 1000)
    assert reader.causes == []


def test_an_order_stands_after_its_key_is_retired() -> None:
    """An actuator that starts later reads it again."""
    retired = msgspec.structs.replace(trusted(ADA, "control"), until=utc(T0 + 60))
    trust = trust_of(TrustSettings(key=(retired, trusted(BOB, "control"))))
    orders, refused = Orders(trust), RefusalLog()
    orders.take(*order(True, T0), T0)
    assert orders.halted(POP)
    again = Orders(trust, refused.note)
    again.take(*order(True, T0), T0)
    again.take(*order(False, T0 + 120), T0 + 120)
    assert again.halted(POP)
    again.take(*order(False, T0 + 130, by=BOB), T0 + 130)
    assert not again.halted(POP)
    [of_control] = refused.of(["control"])
    assert (of_control.cause, of_control.records, of_control.last) == ("retired-key", 1, utc(T0 + 120))


class Topic:
    """Stands in for the topic `control`, with the broker's time in each record."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now_s: Callable[[], float]) -> None:
        self.records: list[Any] = []
        self.before_writing: list[tuple[bytes, bytes]] = []
        self._now_s = now_s
        monkeypatch.setattr(orders_module, "read_topic", self._read)
        monkeypatch.setattr("app.kafka.client.producer", lambda kafka, **options: self)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def _read(self, kafka: Kafka, topic: str) -> list[Any]:
        return list(self.records)

    async def send_and_wait(self, topic: str, value: bytes, key: bytes) -> Any:
        for each in [*self.before_writing, (key, value)]:
            at_ms = round(1000 * self._now_s())
            self.records.append(SimpleNamespace(key=each[0], value=each[1], timestamp=at_ms))
        self.before_writing.clear()
        return SimpleNamespace(timestamp=at_ms)


async def halted() -> bool:
    return (await read_orders(Kafka(), TRUST)).halted(POP)


@pytest.mark.parametrize("ahead_s", [0.0, -7200.0, 7200.0, 200.0, -200.0])
async def test_operators_whose_clocks_differ_are_obeyed(monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> None:
    now, wrong = ManualClock(T0), ManualClock(T0 + ahead_s)
    Topic(monkeypatch, now.now_s)
    for halt in (True, False, True, False):
        await send_control(Kafka(), POP, halt, "ada", Seal(ADA, TRUST, wrong))
        assert await halted() is halt
        now.advance(1)
        await send_control(Kafka(), POP, not halt, "bob", Seal(BOB, TRUST, now))
        assert await halted() is not halt


async def test_a_halt_of_the_same_moment_is_not_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = ManualClock(T0)
    topic = Topic(monkeypatch, now.now_s)
    topic.before_writing = [order(True, T0 + 100, by=BOB)]
    with pytest.raises(
        DaemonError, match=rf"a test \(key {BOB.key_id}\) halted rhv1000 meanwhile, so it was not resumed"
    ):
        await send_control(Kafka(), POP, False, "ada", Seal(ADA, TRUST, now))
    assert await halted()


async def test_an_order_says_who_gave_it_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    now = ManualClock(T0)
    Topic(monkeypatch, now.now_s)
    await send_control(Kafka(), POP, True, "ada", Seal(ADA, TRUST, now), "a line is being moved")
    last = (await read_orders(Kafka(), TRUST)).last(POP)
    assert last is not None
    assert (last.by, last.reason) == (f"ada (key {ADA.key_id})", "a line is being moved")


async def test_a_halt_is_repeated_until_it_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = ManualClock(T0)
    topic = Topic(monkeypatch, now.now_s)
    topic.before_writing = [order(False, T0 + 100, by=BOB)]
    await send_control(Kafka(), POP, True, "ada", Seal(ADA, TRUST, now))
    assert await halted()


async def test_an_order_that_is_refused_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    now = ManualClock(T0)
    Topic(monkeypatch, now.now_s)
    with pytest.raises(DaemonError, match=r"it is refused; .* create the halt file on the actuator's host instead"):
        await send_control(Kafka(), POP, True, "mallory", Seal(STRANGER, TRUST, now))
    assert not await halted()
