"""Who cannot start says why in a line: telemetry ends with exit code 1 for its supervisor, an actuator waits."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientError, ClientSession

from app.contract import topics
from app.errors import EnvironmentProblem
from app.kafka.admin import create_topics
from app.lab.daemons.deployment import write_inventory, write_settings
from app.lab.daemons.kafka import kafka, reached_at
from app.lab.daemons.ports import free_port
from tests.integration.bgp import eventually
from tests.integration.conftest import INVENTORY, unavailable
from tests.patience import PATIENCE_S

POP = "rhv1000"
LINES_MAX = 30  # a library may log each attempt; no traceback does


def command(process: str, tmp_path: Path, broker: str, **more: object) -> list[str]:
    settings = write_settings(
        tmp_path, write_inventory(tmp_path, INVENTORY), broker, {"state_port": free_port()} | more
    )
    return [sys.executable, "-m", "app", process, "--cell", POP, "--config", str(settings)]


async def said(tmp_path: Path, broker: str, **more: object) -> str:
    """What a telemetry worker that ends by itself with exit code 1 says on stderr."""
    argv = command("telemetry", tmp_path, broker, **more)
    running = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    try:
        _, err = await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
    text = err.decode()
    assert running.returncode == 1, text
    assert "Traceback" not in text
    assert len(text.splitlines()) <= LINES_MAX
    return text


@asynccontextmanager
async def waiting(
    tmp_path: Path, broker: str, reason: str, **more: object
) -> AsyncIterator[asyncio.subprocess.Process]:
    """An actuator that has said why it waits; it ends within a moment when it is told to."""
    argv = command("actuator", tmp_path, broker, **more)
    running = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    assert running.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for line in running.stderr:
                if b"waiting: " in line:
                    assert reason in line.decode()
                    break
        yield running
        running.terminate()
        async with asyncio.timeout(PATIENCE_S):
            await running.communicate()
        assert running.returncode == 0
    finally:
        if running.returncode is None:
            running.kill()


async def test_no_broker_is_said_with_its_address(tmp_path: Path) -> None:
    broker = f"127.0.0.1:{free_port()}"
    text = await said(tmp_path, broker)
    assert f"broker {broker}: " in text
    assert "is it running there, is kafka.broker right?" in text


async def test_an_actuator_waits_for_its_broker_and_can_be_ended(tmp_path: Path) -> None:
    """Its reapers guard what an earlier run left in the routers, with or without Kafka."""
    broker = f"127.0.0.1:{free_port()}"
    async with waiting(tmp_path, broker, f"broker {broker}: "):
        pass


@pytest.mark.services
async def test_a_missing_topic_is_named_and_awaited_by_the_actuator(tmp_path: Path) -> None:
    gone = topics.BMP.for_pop(POP)
    there = topics.named([POP])
    missing_one = {name: topic for name, topic in there.items() if name != gone}
    reason, port = f"no topic {gone}; `autopilot check` shows how to create it", free_port()
    try:
        async with kafka(missing_one) as broker:
            assert reason in await said(tmp_path, broker)
            async with waiting(tmp_path, broker, reason, actuator_port=port):
                await create_topics(reached_at(broker), {gone: there[gone]})
                await eventually(lambda: is_ready(port))
    except EnvironmentProblem as problem:
        unavailable(problem)


@pytest.mark.services
async def test_an_input_with_more_partitions_is_named(tmp_path: Path) -> None:
    """Faust's own answer was a PartitionsMismatch at the first record, at each start again."""
    flows = topics.FLOWS.for_pop(POP)
    two = msgspec.structs.replace(topics.FLOWS, name=flows, partitions=2)
    try:
        async with kafka({**topics.named([POP]), flows: two}) as broker:
            text = await said(tmp_path, broker)
            assert f"topic {flows} has 2 partitions, and only the first of them would be read" in text
            assert "PartitionsMismatch" not in text
    except EnvironmentProblem as problem:
        unavailable(problem)


async def is_ready(port: int) -> bool:
    try:
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.status == 200
    except ClientError:
        return False
