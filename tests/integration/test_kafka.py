"""The broker holds exactly the topics of the table, with their configuration."""

import asyncio
from contextlib import aclosing

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from app.clock import BrokerClock, SystemClock
from app.contract import topics
from app.errors import DaemonError
from app.kafka.broker_time import ClockWatch, host_ahead_s
from app.kafka.read import follow, read_topic
from app.lab.daemons.stack import Stack
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]


async def test_topics_are_those_of_the_table(stack: Stack) -> None:
    wanted = topics.named([stack.pop.name])
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka.broker)
    await admin.start()
    try:
        described = {topic["topic"]: topic for topic in await admin.describe_topics()}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted]
        configs = [answer.resources[0] for answer in await admin.describe_configs(resources)]
    finally:
        await admin.close()

    assert set(wanted) == {name for name in described if not name.startswith("__")}
    assert all(len(described[name]["partitions"]) == topic.partitions for name, topic in wanted.items())
    for _, _, _, name, entries in configs:
        values = {entry[0]: entry[1] for entry in entries}
        assert wanted[name].config.items() <= values.items()
        by = "LogAppendTime" if wanted[name].broker_time else "CreateTime"
        assert values["message.timestamp.type"] == by


async def test_a_topic_that_nobody_made_is_refused(stack: Stack) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka.broker, request_timeout_ms=1000)
    await producer.start()
    try:
        with pytest.raises(KafkaError):
            await producer.send_and_wait("no-such-topic", b"")
    finally:
        await producer.stop()


async def test_following_begins_at_the_last_records_and_goes_on(stack: Stack) -> None:
    topic = topics.PREFIX_TRAFFIC.name
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka.broker)
    await producer.start()
    try:
        for value in (b"1", b"2", b"3"):
            await producer.send_and_wait(topic, value)
        async with aclosing(follow(stack.kafka, {topic: 2})) as records, asyncio.timeout(PATIENCE_S):
            assert [(await anext(records)).value, (await anext(records)).value] == [b"2", b"3"]
            await producer.send_and_wait(topic, b"4")
            assert (await anext(records)).value == b"4"
    finally:
        await producer.stop()
    with pytest.raises(DaemonError, match="no topic nowhere"):
        await anext(follow(stack.kafka, {"nowhere": 1}))


async def test_reading_begins_at_a_time(stack: Stack) -> None:
    topic, later_s = topics.PREFIX_TRAFFIC.name, round(SystemClock().now_s()) + 600
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka.broker)
    await producer.start()
    try:
        for second in (1, 2, 3):
            await producer.send_and_wait(topic, b"%d" % second, timestamp_ms=1000 * (later_s + second))
    finally:
        await producer.stop()
    for since_s, values in ((1.5, [b"2", b"3"]), (3.0, [b"3"]), (3.5, [])):
        records = await read_topic(stack.kafka, topic, since_s=later_s + since_s)
        assert [record.value for record in records] == values


class Skewed(SystemClock):
    """The clock of a host that is ahead by so many seconds."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s

    def now_s(self) -> float:
        return super().now_s() + self._ahead_s


@pytest.mark.parametrize("ahead_s", [-600.0, 0.0, 600.0])
async def test_the_broker_says_how_wrong_a_hosts_clock_is(stack: Stack, ahead_s: float) -> None:
    assert await host_ahead_s(stack.kafka, Skewed(ahead_s)) == pytest.approx(ahead_s, abs=0.5)


async def test_a_wrong_clock_is_set_right_and_named_once(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    clock = BrokerClock(Skewed(600.0))
    watching = asyncio.create_task(ClockWatch(stack.kafka, clock).run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while "the clock of this host is 600.0 s ahead of the broker's" not in caplog.text:
                await asyncio.sleep(0.1)
    finally:
        watching.cancel()
    assert clock.now_s() == pytest.approx(SystemClock().now_s(), abs=0.5)


async def test_a_clock_topic_with_the_time_of_its_writers_is_named_with_the_remedy(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.kafka.broker_time.CLOCK", topics.SOURCES)
    with pytest.raises(DaemonError, match=r"use `kafka-configs --alter --topic sources --add-config message\."):
        await host_ahead_s(stack.kafka, SystemClock())
