"""Brokers, collectors and a supervised telemetry worker under one roof; faults are noted here and judged at the end."""

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from itertools import chain
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Self

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.clock import SystemClock
from app.config.inventory import load_pop
from app.config.settings import Kafka
from app.config.thresholds import WindowSettings
from app.contract import topics
from app.errors import DaemonError, EnvironmentProblem
from app.kafka import client
from app.kafka.admin import create_topics
from app.lab.daemons.deployment import with_sockets_in, write_inventory, write_settings
from app.lab.daemons.kafka import reached_at
from app.lab.daemons.ports import free_port
from app.lab.demo.state_client import StateClient
from app.te.traffic.windows import Progress
from tests.faults import evidence
from tests.faults.brokers import Brokers
from tests.faults.feed import Feed, exact_producer
from tests.faults.pmbmpd import arrivals, collector
from tests.faults.traffic import LONGEST_S, PREFIXES
from tests.faults.worker import Worker
from tests.patience import PATIENCE_S

INVENTORY = Path(__file__).parents[2] / "deploy" / "local" / "rhv1000.toml"
CELL = "cell"
APP_ID = f"autopilot-telemetry-{CELL}"
# Short windows: a fault is seen in the output within seconds.
WINDOWS = WindowSettings(length_s=2, grace_s=2, refresh_s=1, retention_s=120)
SETTINGS: dict[str, object] = {
    "windows": msgspec.structs.asdict(WINDOWS),
    "pacing": {"share_decay_s": 10.0, "share_attack_s": 2.0},
}
POLL_S = 0.2
TELEMETRY = ("-m", "app", "telemetry")


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a row of faults needs beside one PoP, one broker and one worker. `worker` is what the worker is run as.

    With `may_lose`, bytes may be missing in windows that say so. If `reordered`, the first BMP records are not in the
    order in which they were sent, and flows come before anybody has read them.
    """

    pops: tuple[str, ...] = ("rhv1000",)
    brokers: int = 1
    worker: tuple[str, ...] = TELEMETRY
    standby: bool = False
    disk_bytes: int | None = None  # of a file system of its own for the workers' data; takes root
    may_lose: bool = False
    reordered: bool = False


@contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[None]:
    """A file system in memory at `path`; EnvironmentProblem for who may not mount."""
    if os.geteuid():
        raise EnvironmentProblem("a small file system takes root")
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


class Moment(msgspec.Struct, frozen=True):
    """When a fault began and when it was over, Unix seconds."""

    began_s: float
    ended_s: float


class Rig:
    """Entering it returns when windows close; `moments` are the faults that were injected."""

    def __init__(self, setup: Setup, seed: str, keep_logs: bool = True) -> None:
        self.setup = setup
        self.random = random.Random(seed)
        self.clock = SystemClock()
        self.moments: list[Moment] = []
        self.problems: list[str] = []
        self.has_counters = False  # whether every window must have them
        self.has_whole_changelogs = True  # and not only the rows that are kept
        self.feeds: dict[str, Feed] = {}
        self.workers: list[Worker] = []
        self.brokers: Brokers
        self.run_dir: Path
        self.inventories: dict[str, Path] = {}
        self.lengths_s = {WINDOWS.length_s}  # of the windows that were configured
        self._seed = seed
        self._keep_logs = keep_logs
        self._exit = AsyncExitStack()
        self._loads: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.run_dir = Path(mkdtemp(prefix="faults-"))
        self.run_dir.chmod(0o755)
        if self.setup.disk_bytes is not None:
            self._exit.enter_context(small_disk(self.run_dir / "data", self.setup.disk_bytes))
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self._exit.aclose()
        if not self._keep_logs or (kind is None and not self.problems):
            shutil.rmtree(self.run_dir)

    async def _start(self) -> None:
        self.brokers = await self._exit.enter_async_context(Brokers(self.run_dir, self.setup.brokers))
        self.broker = self.brokers.address
        await create_topics(
            Kafka(broker=self.broker, replication_factor=self.setup.brokers), topics.named(self.setup.pops)
        )
        producer = await self._exit.enter_async_context(exact_producer(self.broker))
        self.inventories = self._write_settings()
        for name, path in self.inventories.items():
            self.feeds[name] = Feed(load_pop(path), WINDOWS, producer, self.clock, f"{self._seed} {name}")
            sessions = collector(self.feeds[name].pop, 1, self.clock.now_s())
            in_order = chain.from_iterable(sessions)
            await self.feeds[name].announce(arrivals(sessions, self.random) if self.setup.reordered else in_order)
        if self.setup.reordered:
            self._begin_loads()
        for name in ("worker", "standby")[: 1 + self.setup.standby]:
            self.workers.append(self._new_worker(name))
            await self.workers[-1].start()
            self._exit.push_async_callback(self.workers[-1].stop)
        try:
            await self.until(self._knows_routes, PATIENCE_S)
            if not self._loads:
                self._begin_loads()
            await self.until(self._closes_windows, PATIENCE_S)
        except TimeoutError:
            raise DaemonError(f"the worker closes no window; its log is in {self.run_dir}") from None

    def _begin_loads(self) -> None:
        self._loads = [asyncio.create_task(feed.run(), name="feed") for feed in self.feeds.values()]
        self._exit.push_async_callback(self._stop_loads)

    def _write_settings(self) -> dict[str, Path]:
        """One inventory a PoP, alike but for the name and the AS, and the settings that name them.

        Each is a network of its own: PoPs of one network have no router, no address and no gobgpd in common.
        """
        text = INVENTORY.read_text(encoding="utf-8")
        paths = {}
        for number, name in enumerate(self.setup.pops):
            source = self.run_dir / f"{name}.toml"
            named = with_sockets_in(self.run_dir / name, text).replace('name = "rhv1000"', f'name = "{name}"')
            source.write_text(named.replace("asn = 64512", f"asn = {64512 + number}", 1), encoding="utf-8")
            paths[name] = write_inventory(self.run_dir, source)
        ours = {
            "pops": [str(path.relative_to(self.run_dir)) for path in paths.values()],
            "cells": {CELL: list(paths)},
            "kafka": {
                "session_timeout_s": 6.0,
                "replication_factor": self.setup.brokers,
                "standby_replicas": int(self.setup.standby),
            },
        }
        self.settings_file = write_settings(self.run_dir, paths[self.setup.pops[0]], self.broker, SETTINGS | ours)
        return paths

    def arguments(self, name: str, port: int) -> tuple[str, ...]:
        """What telemetry is told."""
        ours = ("--instance", name, "--state-port", str(port))
        return ("--cell", CELL, "--config", str(self.settings_file), *ours)

    def _new_worker(self, name: str) -> Worker:
        """A supervised worker with a port and a data directory of its own, not started."""
        port = free_port()
        argv = (*self.setup.worker, *self.arguments(name, port))
        data_dir = self.run_dir / "data" / name / APP_ID
        return Worker((sys.executable, *argv), self.run_dir / f"{name}.log", data_dir, port, self.clock)

    @property
    def feed(self) -> Feed:
        """That of the first PoP."""
        return next(iter(self.feeds.values()))

    @property
    def worker(self) -> Worker:
        """The one that is there when there is one."""
        return self.workers[0]

    async def renew_producer(self) -> None:
        """One that knows nothing of a topic that is gone."""
        producer = await self._exit.enter_async_context(exact_producer(self.broker))
        for feed in self.feeds.values():
            feed.producer = producer

    async def set_commits_to_end(self) -> None:
        """Commit the ends of all inputs for the group, once it has no members any more."""
        inputs = [
            TopicPartition(topic.for_pop(pop), 0)
            for pop in self.feeds
            for topic in (topics.FLOWS, topics.COUNTERS, topics.BMP)
        ]

        async def are_set() -> bool:
            async with client.started(client.consumer(reached_at(self.broker), group_id=APP_ID)) as consumer:
                consumer.assign(inputs)
                try:
                    await consumer.commit(await consumer.end_offsets(inputs))
                except KafkaError:
                    return False  # it still has a member
                return True

        await self.until(are_set, PATIENCE_S)

    async def active(self) -> Worker:
        """The worker that has taken most of the first PoP's flows; DaemonError when none answers."""
        return (await self._furthest(self.feed.pop.name))[1]

    async def progress(self, pop: str) -> Progress:
        """As the active worker tells it; DaemonError when none answers."""
        return (await self._furthest(pop))[0]

    async def _furthest(self, pop: str) -> tuple[Progress, Worker]:
        told = []
        for worker in self.workers:
            with suppress(DaemonError):
                told.append((await _progress_of(worker, pop), worker))
        if not told:
            raise DaemonError("no worker answers on its port")
        return max(told, key=lambda pair: pair[0].applied)

    async def until(self, happened: Callable[[], Awaitable[bool]], within_s: float) -> None:
        """Await a condition of a worker that may not answer now; TimeoutError."""
        async with asyncio.timeout(within_s):
            while True:
                for load in filter(asyncio.Task.done, self._loads):
                    load.result()
                try:
                    if await happened():
                        return
                except DaemonError:
                    pass
                await asyncio.sleep(POLL_S)

    async def _knows_routes(self) -> bool:
        """The active worker does; which one that is the group decides."""
        return any([await self._has_routes(worker) for worker in self.workers])

    async def _has_routes(self, worker: Worker) -> bool:
        for name, feed in self.feeds.items():
            try:
                ribs = await StateClient(worker.port, name).get("rib", dict[str, dict[str, int]])
            except DaemonError:
                return False
            if any(ribs[router.name]["prefixes"] < len(PREFIXES) for router in feed.pop.router):
                return False
        return True

    async def _closes_windows(self) -> bool:
        progress = [await self.progress(name) for name in self.feeds]
        return all(one.counted_bytes > 0 for one in progress)

    @asynccontextmanager
    async def fault(self) -> AsyncIterator[None]:
        """The block in which a fault is made; its moments are noted."""
        began_s = self.clock.now_s()
        yield
        self.moments.append(Moment(began_s, self.clock.now_s()))

    async def goes_on(self) -> None:
        """Wait until the worker has taken what was sent by now; a problem when it does not."""
        wanted = {name: feed.last_position for name, feed in self.feeds.items()}

        async def has_taken() -> bool:
            return all([(await self.progress(name)).applied >= position for name, position in wanted.items()])

        try:
            await self.until(has_taken, PATIENCE_S)
        except TimeoutError:
            self.problems.append(f"the worker did not go on within {PATIENCE_S:g} s")

    async def closes_beyond(self, at_s: float) -> None:
        """Wait until all windows before this time are closed; a problem when they are not."""

        async def is_closed() -> bool:
            return all([((await self.progress(name)).closed_up_to_s or 0) > at_s for name in self.feeds])

        try:
            await self.until(is_closed, PATIENCE_S)
        except TimeoutError:
            self.problems.append(f"windows before {at_s:.0f} were not closed within {PATIENCE_S:g} s")

    async def drain(self) -> None:
        """No more traffic, but markers, until all windows are closed; then the feeds end, and all is written."""
        try:
            await self.until(self._passed_the_faults, PATIENCE_S)
            for feed in self.feeds.values():
                feed.records = 0
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*(feed.settled() for feed in self.feeds.values()))
            await self.until(self._closed_everything, PATIENCE_S)
            await self._stop_loads()
            await self.until(self._wrote_everything, PATIENCE_S)
        except TimeoutError:
            self.problems.append(f"the last windows were not closed and written within {PATIENCE_S:g} s")
            await self._stop_loads()

    async def all_serve(self) -> None:
        """Wait until every worker answers on its port; a problem when one does not.

        A worker that was just started again does not catch SIGTERM yet, and would seem to end by it.
        """

        async def answer() -> bool:
            for worker in self.workers:
                await _progress_of(worker, self.feed.pop.name)
            return True

        try:
            await self.until(answer, PATIENCE_S)
        except TimeoutError:
            self.problems.append(f"a worker did not answer on its port within {PATIENCE_S:g} s at the end")

    async def _wrote_everything(self) -> bool:
        """The changelog is there, not only the worker's memory."""
        written = {name: await evidence.changelog_progress(self.broker, CELL, name) for name in self.feeds}
        return all(
            (row := written[name]) is not None and row.applied >= feed.last_position
            for name, feed in self.feeds.items()
        )

    async def _passed_the_faults(self) -> bool:
        """A window after the last fault is closed, so that there is something to be right."""
        ended_s = max((moment.ended_s for moment in self.moments), default=0.0)
        return all([((await self.progress(name)).closed_up_to_s or 0) > ended_s + LONGEST_S for name in self.feeds])

    async def _closed_everything(self) -> bool:
        for name, feed in self.feeds.items():
            newest_s = max(slot.start_s for slot in feed.traffic.ledger.rows())
            if ((await self.progress(name)).closed_up_to_s or 0) <= newest_s:
                return False
        return True

    async def _stop_loads(self) -> None:
        for feed in self.feeds.values():
            feed.stop()
            feed.resume()
        await asyncio.gather(*self._loads)
        self._loads = []
        await asyncio.gather(*(feed.settled() for feed in self.feeds.values()))


async def _progress_of(worker: Worker, pop: str) -> Progress:
    """As this worker tells it; DaemonError when it does not answer."""
    return await StateClient(worker.port, pop).get("progress", Progress)
