"""SIGKILL under load: nothing lost, nothing doubled, judged by the changelog (a local disk hides what it lacks)."""

import asyncio
import contextlib
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from app.contract.topics import Topic
from app.errors import EnvironmentProblem
from app.kafka.read import read_topic
from app.lab.daemons.kafka import kafka, reached_at
from tables.store import HEADER
from tests.integration.conftest import unavailable
from tests.integration.sums_worker import APP_ID, SOURCE, SUM, Row, key_of

KILLS = 5
BATCH = 50

pytestmark = [pytest.mark.services]


class Load:
    """Sends numbers all the time and keeps the ledger of their sums."""

    def __init__(self, producer: AIOKafkaProducer, seed: int) -> None:
        self.ledger: Counter[str] = Counter()
        self.sent = 0
        self.stopping = False
        self._producer = producer
        self._random = random.Random(seed)

    async def run(self) -> None:
        while not self.stopping:
            for number in self._random.choices(range(1, 1_000_000), k=BATCH):
                await self._producer.send(SOURCE, str(number).encode())
                self.ledger[key_of(number)] += number
                self.sent += 1
            await self._producer.flush()
            await asyncio.sleep(0.05)


async def committed(admin: AIOKafkaAdminClient) -> int:
    with contextlib.suppress(KafkaError):  # no coordinator yet
        offsets = await admin.list_consumer_group_offsets(APP_ID)
        return next((offset.offset for tp, offset in offsets.items() if tp.topic == SOURCE), 0)
    return 0


async def commits_past(admin: AIOKafkaAdminClient, offset: int) -> None:
    while await committed(admin) < offset:
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def clients(broker: str) -> AsyncIterator[tuple[AIOKafkaProducer, AIOKafkaAdminClient]]:
    producer, admin = AIOKafkaProducer(bootstrap_servers=broker), AIOKafkaAdminClient(bootstrap_servers=broker)
    await producer.start()
    await admin.start()
    try:
        yield producer, admin
    finally:
        await producer.stop()
        await admin.close()


async def start_worker(broker: str, data: Path) -> asyncio.subprocess.Process:
    argv = [sys.executable, "-m", "tests.integration.sums_worker", broker, str(data)]
    return await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )


async def changelog_sums(broker: str) -> dict[str, int]:
    records = await read_topic(reached_at(broker), f"{APP_ID}-sums-changelog")
    return {
        record.key.decode(): msgspec.msgpack.decode(record.value[HEADER.size :], type=Row).total
        for record in records
        if record.value and record.key.startswith(SUM.encode())
    }


async def test_sums_survive_sigkill_with_and_without_the_disk(tmp_path: Path) -> None:
    topic = Topic(SOURCE, "none", 1, 3_600_000, "delete", (), ())
    moments = random.Random(7)
    try:
        async with kafka({SOURCE: topic}) as broker, clients(broker) as (producer, admin):
            load = Load(producer, seed=7)
            loading = asyncio.create_task(load.run())
            worker = await start_worker(broker, tmp_path)
            for kill in range(KILLS):
                await commits_past(admin, await committed(admin) + BATCH)
                await asyncio.sleep(moments.uniform(0, 1.0))
                worker.kill()
                await worker.wait()
                if kill % 2:
                    shutil.rmtree(tmp_path / APP_ID)
                worker = await start_worker(broker, tmp_path)
            load.stopping = True
            await loading
            await commits_past(admin, load.sent)
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait() == 0
            assert await changelog_sums(broker) == dict(load.ledger)
    except EnvironmentProblem as problem:
        unavailable(problem)
