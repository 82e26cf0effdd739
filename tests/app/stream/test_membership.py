"""What a worker may send: only while its group has confirmed it, and nothing of a membership that is over."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder, MessageBatch
from aiokafka.producer.sender import Sender
from aiokafka.structs import TopicPartition

from app import private_names
from app.clock import ManualClock
from app.stream import membership as module
from app.stream.app import forget_together
from app.stream.membership import Membership, MembershipLost
from tests.app.stream.test_exact import Stream, reader

SESSION_S = 10.0
CHANGELOG = TopicPartition("app-sums-changelog", 0)
NODE = 1


class Coordinator:
    """aiokafka's, as far as heartbeats go: `answer_s` is how long the broker takes."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.answer_s, self.knows = clock, 0.0, True

    async def _do_heartbeat(self) -> bool:
        self.clock.advance(self.answer_s)
        if not self.knows:
            self.reset_generation()
        return self.knows

    async def _do_rejoin_group(self, subscription: Any) -> bool:
        self.clock.advance(self.answer_s)
        return self.knows

    def reset_generation(self) -> None:
        self.was_reset = True


class Rig:
    """A membership between a coordinator and a sender; `sent` lists what left the producer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock()
        self.membership = Membership(SESSION_S, self.clock.monotonic_s)
        self.coordinator = Coordinator(self.clock)
        self.membership.watch(self.coordinator)
        self.sender = SimpleNamespace(_in_flight=set(), _muted_partitions=set())
        self.membership.guard(self.sender)
        self.sent: list[TopicPartition] = []
        rig = self

        class Handler:
            def __init__(self, sender: Any, batches: Any) -> None:
                self.batches = batches

            async def do(self, node_id: int) -> None:
                rig.sent += self.batches
                for batch in self.batches.values():
                    batch.done(0)

        monkeypatch.setattr(private_names, "SendProduceReqHandler", Handler)
        monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)

    def batch(self, ttl_s: float = 100.0) -> Any:
        batch = MessageBatch(CHANGELOG, BatchBuilder(1000, 0), ttl_s, 0)
        batch._ctime = self.clock.monotonic_s()
        batch.answer = batch.append(b"key", b"row", None)
        batch.drain_ready()
        batch.expired = lambda: self.clock.monotonic_s() - batch._ctime > ttl_s
        return batch

    def send(self, batch: Any) -> asyncio.Task[None]:
        self.sender._in_flight.add(NODE)
        self.sender._muted_partitions.add(CHANGELOG)
        return asyncio.ensure_future(self.sender._send_produce_req(NODE, {CHANGELOG: batch}))

    async def beat(self) -> None:
        await self.coordinator._do_heartbeat()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_member_sends_at_once(rig: Rig) -> None:
    await rig.beat()
    await rig.send(rig.batch())
    assert rig.sent == [CHANGELOG]
    assert (rig.sender._in_flight, rig.sender._muted_partitions) == (set(), set())


async def test_who_is_not_sure_waits_and_sends_when_the_group_still_knows_it(rig: Rig) -> None:
    """A coordinator that was elected anew: nobody could take the partitions meanwhile."""
    await rig.beat()
    rig.clock.advance(SESSION_S)
    batch = rig.batch()
    sending = rig.send(batch)
    await turns()
    assert rig.sent == []
    await rig.beat()
    await sending
    assert rig.sent == [CHANGELOG]
    assert await batch.answer


async def test_what_a_lost_member_has_left_is_never_sent(rig: Rig) -> None:
    """A worker that was cut off: its successor has written when it can send again."""
    await rig.beat()
    rig.clock.advance(SESSION_S)
    before = rig.batch()
    sending = rig.send(before)
    await turns()
    rig.coordinator.knows = False
    await rig.beat()
    await sending
    with pytest.raises(MembershipLost):
        await before.answer
    rig.coordinator.knows = True
    await rig.coordinator._do_rejoin_group(None)
    await rig.send(before)
    assert rig.sent == [], "nor when it is a member again, and its retry comes"
    rig.clock.advance(0.1)
    await rig.send(rig.batch())
    assert rig.sent == [CHANGELOG]


async def test_a_lost_member_sends_nothing_new(rig: Rig) -> None:
    rig.coordinator.knows = False
    await rig.beat()
    batch = rig.batch()
    await rig.send(batch)
    with pytest.raises(MembershipLost):
        await batch.answer
    assert rig.sent == []


async def test_a_heartbeat_counts_from_when_it_was_sent(rig: Rig) -> None:
    """The broker counts from when it came, which is later, but nobody knows by how much."""
    rig.coordinator.answer_s = SESSION_S - 1
    await rig.beat()
    assert rig.membership.is_sure()
    rig.clock.advance(1.0)
    assert not rig.membership.is_sure()


async def test_nothing_is_sent_before_the_group_was_joined(rig: Rig) -> None:
    sending = rig.send(rig.batch())
    await turns()
    assert rig.sent == []
    await rig.coordinator._do_rejoin_group(None)
    await sending
    assert rig.sent == [CHANGELOG]


async def test_what_waited_too_long_fails(rig: Rig) -> None:
    batch = rig.batch(ttl_s=5.0)
    sending = rig.send(batch)
    rig.clock.advance(6.0)
    await sending
    with pytest.raises(KafkaTimeoutError):
        await batch.answer


async def test_a_lost_membership_ends_no_process_and_acknowledges_nothing() -> None:
    """The rebalance that follows makes it read again what was not confirmed: the disk is ahead, as after a kill."""
    log: list[str] = []
    lost = reader(log, answer=lambda future: future.set_exception(MembershipLost("forgotten")))
    await lost.run(Stream(log, [[0]]))
    assert log == ["apply 0", "rows", "changelog"]
    log.clear()
    await lost.run(Stream(log, [[1]]))
    await lost._flush()
    assert log == [], "until the tables are recovered it takes and writes nothing"
    await forget_together([lost])
    assert log == ["reset"]


def test_the_names_that_are_relied_on() -> None:
    assert {"_do_heartbeat", "_do_rejoin_group", "reset_generation"} <= vars(GroupCoordinator).keys()
    assert "_send_produce_req" in vars(Sender)
    sender = Sender(None, acks=-1, txn_manager=None, message_accumulator=None, retry_backoff_ms=1, request_timeout_ms=1)
    assert {"_in_flight", "_muted_partitions"} <= vars(sender).keys()
