"""A broker with the smallest real workers on it, load all the time, and a ledger of what must come out."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from app.contract.topics import Topic
from app.kafka import client
from app.kafka.admin import create_topics
from app.lab.daemons.kafka import format_storage, reached_at, start_kafka
from app.lab.daemons.machine import make_run_dir, open_site
from app.lab.daemons.runner import Runner
from tests.integration.sums_worker import APP_ID, SOURCE, Options
from tests.integration.test_exact_state import Load, changelog_sums, clients, commits_past, committed
from tests.patience import PATIENCE_S

CHANGELOG = f"{APP_ID}-sums-changelog"
NUMBERS = Topic(SOURCE, "none", 1, 3_600_000, "delete", (), ())


class Worker:
    """One process; `log` is its stderr."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, state_port: int) -> None:
        self.process = process
        self.log = log
        self.state_port = state_port

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, within_s: float) -> int:
        """Its exit code."""
        return await asyncio.wait_for(self.process.wait(), within_s)

    def told(self) -> str:
        return self.log.read_text(errors="replace")

    async def probe(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and document of one of its probes; status 0 while nobody answers."""
        url = f"http://127.0.0.1:{self.state_port}{path}"
        with suppress(aiohttp.ClientError, TimeoutError):
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2)) as session, session.get(url) as answer:
                return answer.status, await answer.json()
        return 0, {}

    async def is_in(self, state: str, within_s: float = PATIENCE_S) -> None:
        """Until `/readyz` tells this state."""
        await until(lambda: self._tells(state), within_s)

    async def _tells(self, state: str) -> bool:
        assert self.process.returncode is None, self.told()[-2000:]
        return (await self.probe("/readyz"))[1].get("state") == state


class Rig:
    """What a test has in hand; workers are ended with it."""

    def __init__(
        self, broker: str, broker_pid: int, folder: Path, producer: AIOKafkaProducer, admin: AIOKafkaAdminClient
    ) -> None:
        self.broker = broker
        self.admin = admin
        self.producer = producer
        self.load = Load(producer, seed=7)
        self._broker_pid = broker_pid
        self._folder = folder
        self._loading: asyncio.Task[None] | None = None
        self.workers: list[Worker] = []

    async def start(self, disk: str, **options: Any) -> Worker:
        """A worker on the disk of this name."""
        chosen = Options(**options)
        log = self._folder / f"worker-{len(self.workers)}.log"
        argv = [sys.executable, "-m", "tests.integration.sums_worker", self.broker, str(self.disk(disk))]
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *argv, msgspec.json.encode(chosen).decode(), stdout=stderr, stderr=stderr
            )
        self.workers.append(Worker(process, log, chosen.state_port))
        return self.workers[-1]

    def disk(self, name: str) -> Path:
        return self._folder / name

    def wipe(self, name: str) -> None:
        shutil.rmtree(self.disk(name))

    def begin(self) -> None:
        """Send numbers from now on."""
        self._loading = asyncio.create_task(self.load.run())

    async def quiet(self) -> None:
        """Send no more until told to begin."""
        self.load.stopping = True
        if self._loading is not None:
            await self._loading
        self.load.stopping = False

    async def finish(self) -> None:
        """Send no more, and wait until all is committed."""
        await self.quiet()
        await self.commits_past(self.load.sent)

    async def commits_past(self, offset: int) -> None:
        await commits_past(self.admin, offset)

    async def commits(self) -> int:
        return await committed(self.admin)

    async def end_of(self, partition: TopicPartition) -> int:
        """The offset after the last record."""
        async with client.started(client.consumer(reached_at(self.broker))) as consumer:
            ends = await consumer.end_offsets([partition])
        return int(ends[partition])

    async def exact(self) -> bool:
        """The changelog alone says what was sent."""
        return await changelog_sums(self.broker) == dict(self.load.ledger)

    @asynccontextmanager
    async def frozen_broker(self) -> AsyncIterator[None]:
        os.kill(self._broker_pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._broker_pid, signal.SIGCONT)

    async def close(self) -> None:
        self.load.stopping = True
        for worker in self.workers:
            with suppress(ProcessLookupError):
                worker.signal(signal.SIGKILL)
            await worker.process.wait()
        if self._loading is not None:
            await self._loading


@asynccontextmanager
async def sums_rig(folder: Path) -> AsyncIterator[Rig]:
    """A broker of its own for one test."""
    site = open_site(make_run_dir(None))
    try:
        async with Runner(site.run_dir, site.user) as runner:
            await format_storage(runner, site)
            broker = await start_kafka(runner, site)
            await create_topics(reached_at(broker), {SOURCE: NUMBERS})
            async with clients(broker) as (producer, admin):
                rig = Rig(broker, runner.pid("kafka"), folder, producer, admin)
                try:
                    yield rig
                finally:
                    await rig.close()
    finally:
        shutil.rmtree(site.run_dir)


async def until(happened: Callable[[], Awaitable[bool]], within_s: float) -> None:
    """Await a condition; TimeoutError when it never holds."""
    async with asyncio.timeout(within_s):
        while not await happened():
            await asyncio.sleep(0.2)
