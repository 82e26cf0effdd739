"""Commits of a topic that was deleted and recreated, at a real broker."""

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from app.config.settings import Kafka, Settings
from app.contract.topics import FLOWS
from app.errors import DaemonError, EnvironmentProblem
from app.lab.daemons.kafka import kafka, reached_at
from app.stream.incarnations import Found
from app.stream.startup import ask, forget_old_commits, input_ids
from app.stream.worker import create_app
from tests.consumers import consuming
from tests.faults.feed import exact_producer
from tests.integration.conftest import unavailable

pytestmark = [pytest.mark.services]

GROUP, TOPIC = "incarnations-test", "numbers"
PARTITION = TopicPartition(TOPIC, 0)
RECORDS = 9


async def commit(broker: str, mark: str, offset: int = 5) -> None:
    """As a worker of this incarnation does."""
    async with consuming(broker, GROUP) as consumer:
        consumer.assign([PARTITION])
        await consumer.commit({PARTITION: OffsetAndMetadata(offset, mark)})


async def fill(broker: str) -> None:
    """So many records that the commits are of some of them."""
    async with exact_producer(broker) as producer:
        for _ in range(RECORDS):
            await producer.send_and_wait(TOPIC, b"1")


async def test_commits_of_an_earlier_incarnation_are_set_back(tmp_path: object) -> None:
    try:
        async with kafka({TOPIC: FLOWS}) as broker:
            app = create_app(GROUP, Settings(pops=("none",), data_dir=str(tmp_path), kafka=Kafka(broker=broker)))
            app.inputs.ids = ids = await input_ids(reached_at(broker), [TOPIC])
            await fill(broker)
            await forget_old_commits(app)
            assert await ask(reached_at(broker), GROUP, TOPIC) == Found(ids[TOPIC], "")
            for mark, left in {"": "", ids[TOPIC]: ids[TOPIC], "another": ids[TOPIC]}.items():
                await commit(broker, mark)
                await forget_old_commits(app)
                assert await ask(reached_at(broker), GROUP, TOPIC) == Found(ids[TOPIC], left)
            assert await committed(broker) == 0
            await commit(broker, ids[TOPIC], RECORDS + 50)
            await forget_old_commits(app)
            assert await committed(broker) == RECORDS, "the broker has lost what was committed"
            assert await ask(reached_at(broker), GROUP, "nobody") == Found(None, "")
    except EnvironmentProblem as problem:
        unavailable(problem)


async def committed(broker: str) -> int | None:
    async with consuming(broker, GROUP) as consumer:
        offset: int | None = await consumer.committed(PARTITION)
        return offset


async def test_they_are_not_while_somebody_may_commit_again(tmp_path: object) -> None:
    try:
        async with kafka({TOPIC: FLOWS}) as broker:
            app = create_app(GROUP, Settings(pops=("none",), data_dir=str(tmp_path), kafka=Kafka(broker=broker)))
            app.inputs.ids = await input_ids(reached_at(broker), [TOPIC])
            await fill(broker)
            await commit(broker, "another")
            member = AIOKafkaConsumer(TOPIC, bootstrap_servers=broker, group_id=GROUP, enable_auto_commit=False)
            await member.start()
            try:
                with pytest.raises(DaemonError, match="cannot be set back"):
                    await forget_old_commits(app)
            finally:
                await member.stop()
            await forget_old_commits(app)
            assert await committed(broker) == 0
    except EnvironmentProblem as problem:
        unavailable(problem)
