"""What `autopilot state reset --from-inputs` deletes, on a real broker."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import NewTopic

from app.errors import DaemonError, EnvironmentProblem
from app.kafka import client
from app.kafka.admin import create, delete_changelogs, delete_group
from app.kafka.topic_ids import describe_topics
from app.lab.daemons.kafka import kafka, reached_at
from app.stream.startup import commits_of
from tests.integration.conftest import unavailable
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.services
APP_ID = "autopilot-telemetry-ams"
OURS = [f"{APP_ID}-{table}-changelog" for table in ("congestion", "rib")]
OTHERS = ["autopilot-telemetry-ams-b-rib-changelog", "numbers"]


async def join(broker: str) -> AIOKafkaConsumer:
    """A member of the group that has committed."""
    member = AIOKafkaConsumer("numbers", bootstrap_servers=broker, group_id=APP_ID, enable_auto_commit=False)
    await member.start()
    async with asyncio.timeout(PATIENCE_S):
        while not member.assignment():
            await asyncio.sleep(0.05)
        await member.commit(dict.fromkeys(member.assignment(), 0))
    return member


async def test_the_group_goes_when_it_has_no_member_and_only_this_cells_changelogs(tmp_path: Path) -> None:
    try:
        async with kafka({}) as broker:
            here = reached_at(broker)
            await create(here, [NewTopic(name, 1, 1) for name in (*OURS, *OTHERS)])
            member = await join(broker)
            with pytest.raises(DaemonError, match=f"group {APP_ID} has members: stop its workers first"):
                await delete_group(here, APP_ID)
            await member.stop()
            async with client.started(client.admin(here)) as admin:
                assert await commits_of(admin, APP_ID)
                before = await describe_topics(admin, [*OURS, *OTHERS])
                assert await delete_group(here, APP_ID)
                assert not await commits_of(admin, APP_ID)
                assert not await delete_group(here, APP_ID)
                assert await delete_changelogs(here, APP_ID) == OURS
                await create(here, [NewTopic(name, 1, 1) for name in OURS])
                after = await describe_topics(admin, [*OURS, *OTHERS])
            assert after.cluster_id == before.cluster_id
            assert {name for name, topic_id in after.ids.items() if before.ids[name] == topic_id} == set(OTHERS)
    except EnvironmentProblem as problem:
        unavailable(problem)
