"""The RIB at full table in the real telemetry worker, with a real broker, for tests/bench/fulltable.py.

The dump waits in the topic when the worker starts for the first time. Then random updates come, a thousand a second;
in their midst it is killed and started again with its disk, and once more without. Each time it is timed from its
start until it has applied all that is in the topic, and must hold every path.
"""

import asyncio
import random
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice
from math import nan
from pathlib import Path

import aiohttp
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from app.clock import SystemClock
from app.contract import topics
from app.errors import DaemonError
from app.kafka.admin import create_topics
from app.lab.daemons.deployment import write_settings
from app.lab.daemons.kafka import format_storage, reached_at, start_kafka
from app.lab.daemons.machine import CHECKOUT, make_run_dir, open_site
from app.lab.daemons.ports import free_port
from app.lab.daemons.runner import Program, Runner
from app.lab.demo.state_client import StateClient
from tests.bench import internet, network
from tests.bench.popfeed import BATCH_BYTES, batches, send

POP, CELL, WORKER = "rhv9", "full", "telemetry"
TOPIC = topics.BMP.for_pop(POP)
CAPACITY_BPS = 100e9
AT_ONCE = 20_000
DONE_WITHIN_S, LOOK_EVERY_S = 900.0, 0.2
CHURN_S, UPDATES_A_SECOND = 60, 1_000
MIB = 1 << 20
Figures = dict[str, float]


class Rig:
    """A broker with the dump of all peers, and one cell."""

    def __init__(self, runner: Runner, broker: str, run_dir: Path, prefixes: int) -> None:
        self._runner = runner
        self._run_dir = run_dir
        self._prefixes = prefixes
        self._port = free_port()
        self._clock = SystemClock()
        self._chance = random.Random(1)
        inventory = run_dir / f"{POP}.toml"
        inventory.write_text(network.inventory(POP, CAPACITY_BPS), encoding="utf-8")
        self._settings = write_settings(run_dir, inventory, broker, {"cells": {CELL: [POP]}})
        self._producer = AIOKafkaProducer(bootstrap_servers=broker, acks=1, max_batch_size=BATCH_BYTES)

    @classmethod
    @asynccontextmanager
    async def of(cls, prefixes: int) -> AsyncIterator["Rig"]:
        run_dir = make_run_dir(None)
        site = open_site(run_dir)
        try:
            async with Runner(run_dir, site.user) as runner:
                await format_storage(runner, site)
                broker = await start_kafka(runner, site)
                await create_topics(reached_at(broker), topics.named([POP]))
                rig = cls(runner, broker, run_dir, prefixes)
                await rig._producer.start()
                try:
                    yield rig
                finally:
                    await rig._producer.stop()
        finally:
            shutil.rmtree(run_dir)

    async def measure(self) -> Figures:
        """One after the other; DaemonError where the worker ends or does not get there."""
        await self._tell(internet.sessions())
        dump = internet.dump(self._prefixes)
        while some := list(islice(dump, AT_ONCE)):
            await self._tell(some)
        figures = {"worker_cold_load_s": await self._take_up()} | self._memory("worker_cold")
        figures |= {"worker_cold_changelog_mib": self._changelog_bytes() / MIB}
        figures |= await self._churn()
        await self._kill()
        figures |= {"worker_recovery_disk_s": await self._take_up()} | self._memory("worker_disk")
        await self._kill()
        shutil.rmtree(self._run_dir / "data")
        figures |= {"worker_changelog_mib": self._changelog_bytes() / MIB}
        figures |= {"worker_recovery_changelog_s": await self._take_up()} | self._memory("worker_changelog")
        return figures

    async def _tell(self, messages: Sequence[bytes]) -> None:
        await send(self._producer, TOPIC, batches(self._producer, messages, int(self._clock.now_s() * 1000)))

    async def _take_up(self) -> float:
        """Start the worker; seconds until it holds all."""
        told = ("--cell", CELL, "--config", str(self._settings), "--state-port", str(self._port))
        argv = (sys.executable, "-m", "app", "telemetry", *told)
        began_s = self._clock.monotonic_s()
        await self._runner.start(Program(name=WORKER, argv=argv, env={"PYTHONPATH": str(CHECKOUT)}, stop_within_s=20))
        async with asyncio.timeout(DONE_WITHIN_S):
            while await self._lag():
                if self._runner.ended:
                    raise DaemonError(f"the worker ended; its log:\n{self._runner.log(WORKER).read_text()[-2000:]}")
                await asyncio.sleep(LOOK_EVERY_S)
        took_s = self._clock.monotonic_s() - began_s
        held = await StateClient(self._port, POP).get("rib", dict[str, dict[str, int]])
        routers = [f"r{1 + peer // network.LINKS_A_ROUTER}" for peer in internet.PEERS]
        if any(held[router]["prefixes"] != self._prefixes for router in routers):
            raise DaemonError(f"each of {routers} announced {self._prefixes} prefixes, the worker has {held}")
        return took_s

    async def _kill(self) -> None:
        """At once. The group waits for it until its session ends."""
        await self._runner.kill(WORKER)
        await self._runner.stop(WORKER)

    async def _lag(self) -> float:
        """Records of the topic that the worker has not applied; not a number, which is true, while it does not say."""
        url = f"http://127.0.0.1:{self._port}/metrics"
        with suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                session.get(url) as told,
            ):
                for family in text_string_to_metric_families(await told.text()):
                    for one in family.samples:
                        if one.name == "autopilot_consumer_lag_records" and one.labels["topic"] == TOPIC:
                            return float(one.value)
        return nan

    async def _churn(self) -> Figures:
        """Random updates for a while. They come in tenths of a second; at the end nothing is withdrawn."""
        began_s, cpu_s, size = self._clock.monotonic_s(), self._cpu_s(), self._changelog_bytes()
        lags, late_s = list[float](), 0.0
        for tenth in range(CHURN_S * 10):
            await asyncio.sleep(began_s + tenth / 10 - self._clock.monotonic_s())
            late_s = max(late_s, self._clock.monotonic_s() - began_s - tenth / 10)
            await self._tell([self._update(1 + tenth) for _ in range(UPDATES_A_SECOND // 10)])
            if tenth % 10 == 9:
                lags.append(await self._lag())
        span_s = self._clock.monotonic_s() - began_s
        return {
            "worker_churn_cpu_s_a_second": (self._cpu_s() - cpu_s) / span_s,
            "worker_churn_changelog_mib_a_second": (self._changelog_bytes() - size) / span_s / MIB,
            "worker_churn_lag_records_max": max(lags),
            "worker_churn_lag_records_last": lags[-1],
            "worker_churn_sent_late_s": late_s,
        } | self._memory("worker_churn")

    def _update(self, generation: int) -> bytes:
        place = self._chance.randrange(self._prefixes), self._chance.randrange(len(internet.PEERS))
        return internet.update(*place, self._prefixes, generation)

    def _memory(self, when: str) -> Figures:
        status = (self._proc / "status").read_text()
        return {
            f"{when}_{name}_mib": int(status.partition(f"{field}:")[2].split()[0]) / 1024
            for name, field in (("resident", "VmRSS"), ("peak", "VmHWM"))
        }

    def _cpu_s(self) -> float:
        """Of the worker, all threads."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    @property
    def _proc(self) -> Path:
        return Path("/proc") / str(self._runner.pid(WORKER))

    def _changelog_bytes(self) -> int:
        logs = (self._run_dir / "kafka").glob(f"autopilot-telemetry-{CELL}-rib-changelog-0/*.log")
        return sum(log.stat().st_size for log in logs)


async def measure(prefixes: int) -> Figures:
    """All of it, with a broker and a worker of its own."""
    async with Rig.of(prefixes) as rig:
        return await rig.measure()
