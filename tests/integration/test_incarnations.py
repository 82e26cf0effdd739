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
from tests.integration.conftest import unavailable

pytestmark = [pytest.mark.services]

GROUP, TOPIC = "incarnations-test", "numbers"
PARTITION = TopicPartition(TOPIC, 0)


async def commit(broker: str, mark: str) -> None:
    """As a worker of this incarnation does."""
    async with consuming(broker, GROUP) as consumer:
        consumer.assign([PARTITION])
        await consumer.commit({PARTITION: OffsetAndMetadata(5, mark)})


async def test_commits_of_an_earlier_incarnation_are_set_back(tmp_path: object) -> None:
    try:
        async with kafka({TOPIC: FLOWS}) as broker:
            app = create_app(GROUP, Settings(pops=("none",), data_dir=str(tmp_path), kafka=Kafka(broker=broker)))
            app.inputs.ids = ids = await input_ids(reached_at(broker), [TOPIC])
            await forget_old_commits(app)
            assert await ask(reached_at(broker), GROUP, TOPIC) == Found(ids[TOPIC], "")
            for mark, left in {"": "", ids[TOPIC]: ids[TOPIC], "another": ids[TOPIC]}.items():
                await commit(broker, mark)
                await forget_old_commits(app)
                assert await ask(reached_at(broker), GROUP, TOPIC) == Found(ids[TOPIC], left)
            assert await committed(broker) == 0
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
