"""One broker, the generator, and cells of real workers: what tests/bench/pops.py measures, and with what."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from app.clock import SystemClock
from app.contract import topics
from app.contract.topics import Topic
from app.errors import DaemonError
from app.kafka.admin import create_topics
from app.lab.daemons.deployment import write_settings
from app.lab.daemons.kafka import format_storage, reached_at, start_kafka
from app.lab.daemons.machine import CHECKOUT, make_run_dir, open_site
from app.lab.daemons.ports import free_port
from app.lab.daemons.runner import Program, Runner
from app.lab.demo.state_client import StateClient
from tests.bench import network
from tests.bench.popfeed import BATCH_BYTES, PURGES, Recording, batches, capacity_bps, send
from tests.bench.popfigures import LOST_S, Measured, at_end
from tests.bench.traffic import REFRESH_S, WINDOW_S
from tests.consumers import consuming
from tests.soak import sample

FLOWS_BYTES_MAX, SEGMENT_BYTES = 128 << 20, 16 << 20  # of a flow topic: hours of all PoPs would not fit a disk
TOPICS_AT_ONCE = 100
DENSER = 8  # times the records of a PoP, of as many fewer PoPs
STARTS_AT_ONCE = os.cpu_count() or 1
READY_WITHIN_S, EVERY_S = 180.0, 5.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SHARED = (topics.LINK_UTILIZATION.name, topics.PREFIX_TRAFFIC.name)


class ShortTopic(Topic, frozen=True):
    """One that keeps little, whatever its retention says."""

    @property
    def config(self) -> dict[str, str]:
        kept = {"retention.bytes": str(FLOWS_BYTES_MAX), "segment.bytes": str(SEGMENT_BYTES)}
        return {"cleanup.policy": self.cleanup, **kept}


class Cell(msgspec.Struct, frozen=True):
    """A telemetry worker that runs."""

    name: str
    pops: tuple[str, ...]
    settings: Path

    @property
    def told(self) -> Sequence[str]:
        return "--cell", self.name, "--config", str(self.settings)

    @property
    def group(self) -> str:
        return f"autopilot-telemetry-{self.name}"

    @property
    def actuator_group(self) -> str:
        return f"autopilot-actuator-{self.name}"


class Snapshot(msgspec.Struct, frozen=True):
    """Seconds of CPU since each began; `busy_s` and `waited_s` are those of the machine."""

    at_s: float
    cpu_s: dict[str, float]
    busy_s: float
    waited_s: float
    written: Counter[str]


class Rig:
    """Entered it has a broker with topics of `pops` and as many `quiet` ones, and routes to the first."""

    def __init__(self, pops: int, records_per_s: int, flows: int) -> None:
        self.pops = [f"pop{number}" for number in range(pops)]
        self.quiet = [f"quiet{number}" for number in range(pops)]
        self.recording = Recording(records_per_s, flows)
        self.dense = Recording(DENSER * records_per_s, flows)
        self.silence = Recording(0, flows)
        self.prefixes = self.recording.prefixes() | self.dense.prefixes()
        self._phase = 0
        self.path_bytes = 0.0
        self._flows = flows
        self._clock = SystemClock()
        self._exit = AsyncExitStack()
        self._runner: Runner
        self._broker = ""
        self._run_dir = make_run_dir(None)

    async def __aenter__(self) -> Self:
        self._exit.callback(shutil.rmtree, self._run_dir)
        try:
            site = open_site(self._run_dir)
            self._runner = await self._exit.enter_async_context(Runner(self._run_dir, site.user))
            await format_storage(self._runner, site)
            self._broker = await start_kafka(self._runner, site)
            self._admin = AIOKafkaAdminClient(bootstrap_servers=self._broker)
            self._exit.push_async_callback(self._admin.close)
            await self._admin.start()
            await self._make_topics()
            await self._announce()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self._exit.aclose()

    async def _make_topics(self) -> None:
        wanted = list(topics.named([*self.pops, *self.quiet]).items())
        flows = {topics.FLOWS.for_pop(pop) for pop in [*self.pops, *self.quiet]}
        for first in range(0, len(wanted), TOPICS_AT_ONCE):
            some = dict(wanted[first : first + TOPICS_AT_ONCE])
            short = {name: ShortTopic(**msgspec.structs.asdict(some[name])) for name in some.keys() & flows}
            await create_topics(reached_at(self._broker), some | short)

    async def _announce(self) -> None:
        """The same routes for each PoP, to the prefixes that its flows go to."""
        messages = [
            message
            for message in network.bmp_messages()
            if (prefix := json.loads(message).get("ip_prefix")) is None or prefix in self.prefixes
        ]
        producer = AIOKafkaProducer(bootstrap_servers=self._broker, acks=1, max_batch_size=BATCH_BYTES)
        await producer.start()
        try:
            built = batches(producer, messages, int(self._clock.now_s() * 1000))
            for pop in self.pops:
                await send(producer, topics.BMP.for_pop(pop), built)
        finally:
            await producer.stop()
        paths = len(self.prefixes) * network.EXITS * len(self.pops)
        self.path_bytes = self._written()["bmp"] / paths

    async def measure(
        self, pops: Sequence[str], recording: Recording, pops_per_cell: int, warm_s: float, seconds: float
    ) -> Measured:
        """Cells of one size over these PoPs, from start to end; DaemonError when they do not come up."""
        self._phase += 1
        capacity = capacity_bps(recording.records_per_s)
        cells = [
            self._cell(f"phase{self._phase}x{first}", tuple(pops[first : first + pops_per_cell]), capacity)
            for first in range(0, len(pops), pops_per_cell)
        ]
        names = [cell.name for cell in cells]
        try:
            await self._start_all(cells)
            await self._start_actuator(cells[0])
            await self._start_feed(pops, recording)
            await asyncio.sleep(warm_s)
            return await self._watch(cells, recording, seconds)
        finally:
            for name in ("feed", "actuator", *names):
                await self._runner.stop(name)

    async def _start_all(self, cells: Sequence[Cell]) -> None:
        limit = asyncio.Semaphore(STARTS_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as starts:
                for cell in cells:
                    starts.create_task(self._start(cell, limit))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group

    def _cell(self, name: str, pops: tuple[str, ...], capacity: float) -> Cell:
        """Its settings name no PoP but its own: a process reads every inventory that they name.

        Each PoP is a network of its own, because PoPs of one network have no address in common.
        """
        directory = self._run_dir / name
        directory.mkdir()
        for number, pop in enumerate(pops):
            # Nobody listens on the ports 1 to 4: the actuator is told of injectors that are never there.
            text = network.inventory(pop, capacity).replace(":5005", ":")
            text = text.replace("asn = 64512", f"asn = {64512 + number}", 1)
            (directory / f"{pop}.toml").write_text(text, encoding="utf-8")
        ours = {"cells": {name: list(pops)}, "pops": [f"{pop}.toml" for pop in pops]}
        return Cell(name, pops, write_settings(directory, directory / f"{pops[0]}.toml", self._broker, ours))

    async def _start(self, cell: Cell, limit: asyncio.Semaphore) -> None:
        """Start it behind what earlier cells were sent, and wait until it knows its routes."""
        port = free_port()
        program = _program(cell.name, "app", "telemetry", *cell.told, "--state-port", str(port))

        async def missing() -> str | None:
            try:
                for pop in cell.pops:
                    state = StateClient(port, pop)
                    if not await state.get("ready", bool):
                        return f"{pop} recovers"
                    ribs = await state.get("rib", dict[str, dict[str, int]])
                    known = sum(router["prefixes"] for router in ribs.values())
                    if pop in self.pops and known < len(self.prefixes) * network.EXITS:
                        return f"{pop} has {known} routes"
            except DaemonError as error:
                return str(error)
            return None

        async with limit:
            await self._skip_old(cell)
            await self._runner.start(program, missing, READY_WITHIN_S)

    async def _skip_old(self, cell: Cell) -> None:
        old = [TopicPartition(kind.for_pop(pop), 0) for kind in (topics.FLOWS, topics.COUNTERS) for pop in cell.pops]
        async with consuming(self._broker, cell.group) as consumer:
            consumer.assign(old)
            await consumer.commit(await consumer.end_offsets(old))

    async def _start_actuator(self, cell: Cell) -> None:
        """And wait until it has read its routes."""
        routes = [TopicPartition(topics.BMP.for_pop(pop), 0) for pop in cell.pops]
        async with consuming(self._broker) as consumer:

            async def missing() -> str | None:
                behind = await self._behind(consumer, {cell.actuator_group: routes})
                return f"{behind} routes are not read" if behind else None

            await self._runner.start(_program("actuator", "app", "actuator", *cell.told), missing, READY_WITHIN_S)

    async def _start_feed(self, pops: Sequence[str], recording: Recording) -> None:
        told = ("--broker", self._broker, "--flows", self._flows, "--records-per-second", recording.records_per_s)
        (self._run_dir / "feed.log").unlink(missing_ok=True)
        await self._runner.start(_program("feed", "tests.bench.popfeed", *map(str, told), *pops))

    async def _watch(self, cells: Sequence[Cell], recording: Recording, seconds: float) -> Measured:
        """Sample until `seconds` are over, whole windows of them, or a process ends, or all is lost."""
        names = [cell.name for cell in cells]
        flows = {cell.group: [TopicPartition(topics.FLOWS.for_pop(pop), 0) for pop in cell.pops] for cell in cells}
        lag_s: list[float] = []
        mib: dict[str, float] = defaultdict(float)
        began_s, first = self._clock.now_s(), self._snapshot(names)
        async with consuming(self._broker) as consumer:
            for number in range(1, 1 + round(seconds / EVERY_S)):
                await asyncio.sleep(began_s + number * EVERY_S - self._clock.now_s())
                if self._runner.ended:
                    break
                lag_s.append(await self._behind(consumer, flows) * REFRESH_S / recording.messages_a_purge)
                with suppress(OSError):  # one ends at this moment
                    for name in (*names, "actuator", "kafka"):
                        mib[name] = max(mib[name], self._rss_mib(name))
                if max(lag_s[-1], self._late_s(began_s)) > LOST_S:
                    break
        last = self._snapshot(names)
        span_s = last.at_s - first.at_s
        cores = defaultdict(float, {name: (used_s - first.cpu_s[name]) / span_s for name, used_s in last.cpu_s.items()})
        ended = [f"{name} ended with status {status}" for name, status in self._runner.ended.items()]
        self._runner.ended.clear()
        pops = [pop for cell in cells for pop in cell.pops]
        flow_bytes = sum(map(len, (value for number in range(PURGES) for value in recording.purge(number, 0))))
        written = {kind: size / span_s for kind, size in (last.written - first.written).items() if kind != "bmp"}
        return Measured(
            pops=len(pops),
            pops_per_cell=max(len(cell.pops) for cell in cells),
            cells=len(cells),
            records_per_s=recording.records_per_s,
            prefixes=len(self.prefixes) if recording.records_per_s else 0,
            seconds=round(span_s, 1),
            lag_s=[round(lag, 2) for lag in lag_s],
            late_s=self._late_s(began_s),
            worker_cores=sum(cores[name] for name in names),
            busiest_worker_cores=max(cores[name] for name in names),
            worker_mib=sum(mib[name] for name in names),
            actuator_cores=cores["actuator"],
            actuator_mib=mib["actuator"],
            broker_cores=cores["kafka"],
            broker_mib=mib["kafka"],
            feed_cores=cores["feed"],
            machine_cores=os.cpu_count() or 1,
            busy_cores=(last.busy_s - first.busy_s) / span_s,
            disk_wait=(last.waited_s - first.waited_s) / span_s / (os.cpu_count() or 1),
            written=written | {"flows": flow_bytes * len(pops) / WINDOW_S},
            telemetry_changelogs=self._changelogs(cells[0].group),
            actuator_changelogs=self._changelogs(cells[0].actuator_group),
            ended=ended,
        )

    async def _behind(self, consumer: AIOKafkaConsumer, groups: Mapping[str, Sequence[TopicPartition]]) -> int:
        """Messages that groups have not committed, of the partition that is furthest behind."""
        ends = await consumer.end_offsets([one for partitions in groups.values() for one in partitions])
        behind = 0
        for group, partitions in groups.items():
            committed: Any = await self._admin.list_consumer_group_offsets(group)
            at = {one: committed[one].offset if one in committed else 0 for one in partitions}
            behind = max(behind, *(ends[one] - at[one] for one in partitions))
        return behind

    def _snapshot(self, names: Iterable[str]) -> Snapshot:
        cpu_s = {}
        for name in (*names, "actuator", "kafka", "feed"):
            with suppress(OSError):  # it has ended
                cpu_s[name] = self._cpu_s(name)
        user, nice, system, _, waited, *interrupts = map(int, Path("/proc/stat").read_text().split()[1:9])
        busy_s = (user + nice + system + sum(interrupts)) / TICKS_PER_S
        return Snapshot(self._clock.monotonic_s(), cpu_s, busy_s, waited / TICKS_PER_S, self._written())

    def _cpu_s(self, name: str) -> float:
        fields = (self._proc(name) / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def _rss_mib(self, name: str) -> float:
        return sample(self._proc(name)).rss_mib

    def _proc(self, name: str) -> Path:
        return Path("/proc") / str(self._runner.pid(name))

    def _written(self) -> Counter[str]:
        """Bytes of logs by kind of topic, but for the flows, which are removed while they come."""
        written: Counter[str] = Counter()
        for log in (self._run_dir / "kafka").glob("*/*.log"):
            if kind := _kind(log.parent.name.rpartition("-")[0]):
                written[kind] += log.stat().st_size
        return written

    def _changelogs(self, group: str) -> int:
        return len(list((self._run_dir / "kafka").glob(f"{group}-*-changelog-0")))

    def _late_s(self, since_s: float) -> float:
        """Of the generator, in the end. One that is stuck tells nothing: it is late for as long."""
        told = [json.loads(line) for line in self._runner.log("feed").read_text().splitlines() if line[:1] == "{"]
        silent_s = self._clock.now_s() - max((one["at_s"] for one in told), default=since_s) - REFRESH_S
        return max(silent_s, at_end([one["late_s"] for one in told if one["at_s"] >= since_s] or [0.0]))


def _program(name: str, *module_and_told: str) -> Program:
    """One that is killed in the end: an orderly one takes each worker a second and a half, and all is thrown away."""
    argv, env = (sys.executable, "-m", *module_and_told), {"PYTHONPATH": str(CHECKOUT)}
    return Program(name=name, argv=argv, env=env, stop_signal=signal.SIGKILL, keeps_user=True)


def _kind(topic: str) -> str | None:
    if topic.endswith("-changelog"):
        return "changelogs"
    if topic in SHARED:
        return topic
    kinds = {"sfacctd-counters": "counters", "bmp": "bmp", "decisions": "decisions"}
    return next((kind for start, kind in kinds.items() if topic.startswith(f"{start}-")), None)
