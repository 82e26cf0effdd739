"""Ours: the real telemetry worker, `python -m app telemetry`, with its whole job.

Each run is a new cell. Its flows wait until it has read all routes, so it is measured from the first records that its
read-only port shows until the group's committed offset is the end of the topic: by then the windows are closed,
decisions are published, and rows and progress are in the changelog. It reads the counters meanwhile.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from timeit import default_timer

import msgspec

from app.clock import SystemClock
from app.contract import topics
from app.contract.schemas import Decision, LinkUtilization
from app.errors import DaemonError
from app.kafka.read import read_topic
from app.lab.daemons.deployment import load_local, write_settings
from app.lab.daemons.kafka import reached_at
from app.lab.daemons.machine import CHECKOUT
from app.lab.daemons.ports import free_port
from app.lab.daemons.runner import Program
from app.lab.demo.state_client import StateClient
from app.te.traffic.windows import Progress
from tests.bench import network
from tests.bench.figures import Run
from tests.bench.offsets import Offsets
from tests.bench.peers import Bench
from tests.bench.traffic import Sums, key_of, start_of

READY_WITHIN_S, DONE_WITHIN_S = 180.0, 600.0
LOOK_EVERY_S = 0.05


class Worker:
    """One run: a cell of its own."""

    def __init__(
        self, bench: Bench, offsets: Offsets, pop: str, capacity_bps: float, cell: str, by_tls: bool = False
    ) -> None:
        self._bench = bench
        self._offsets = offsets
        self._cell = cell
        self._pop = pop
        self._group = f"autopilot-telemetry-{cell}"
        self._flows = topics.FLOWS.for_pop(pop)
        self._port = free_port()
        self._state = StateClient(self._port, pop)
        directory = bench.run_dir / cell
        directory.mkdir()
        inventory = directory / f"{pop}.toml"
        inventory.write_text(network.inventory(pop, capacity_bps), encoding="utf-8")
        overrides = {"cells": {cell: [pop]}, "kafka": bench.tls if by_tls else {}}
        self._settings = write_settings(directory, inventory, bench.broker, overrides)

    async def measure(self, expected: Sums) -> Run:
        """Let it read the whole flow topic, in which there are these sums."""
        since_s = SystemClock().now_s()
        async with self._running("measured"):
            first = await self._first_progress()
            began = default_timer()
            await self._has_read(self._flows, DONE_WITHIN_S)
            seconds = default_timer() - began
            last = await self._state.get("progress", Progress)
        settings = load_local(self._settings).settings
        return Run(
            records=last.records - first.records,
            seconds=seconds,
            sums=await self._published(since_s),
            settings={
                "security": settings.kafka.security,
                "session_timeout_s": settings.kafka.session_timeout_s,
                **{f"windows.{key}": value for key, value in msgspec.structs.asdict(settings.windows).items()},
            },
            wrong=[*wrong(last, expected), *await self._undecided(since_s, set(map(start_of, expected)))],
        )

    @asynccontextmanager
    async def _running(self, what: str) -> AsyncIterator[None]:
        name = f"{self._cell}-{what}"
        told = ("--cell", self._cell, "--config", str(self._settings), "--state-port", str(self._port))
        argv = self._bench.pinned(sys.executable, "-m", "app", "telemetry", *told)
        program = Program(name=name, argv=argv, env={"PYTHONPATH": str(CHECKOUT)}, stop_within_s=20)
        await self._bench.runner.start(program)
        try:
            yield
        finally:
            await self._bench.runner.stop(name)

    async def _first_progress(self) -> Progress:
        """What it had taken when it was first seen to have taken anything."""
        found: Progress | None = None

        async def has_begun() -> bool:
            nonlocal found
            with suppress(DaemonError):
                found = await self._state.get("progress", Progress)
            return found is not None and found.records > 0

        await self._until(has_begun, READY_WITHIN_S, "took no record")
        assert found is not None, "it has begun"
        return found

    async def _has_read(self, topic: str, within_s: float) -> None:
        """Wait until the group has committed all that the topic holds."""
        end = await self._offsets.end(topic)

        async def is_there() -> bool:
            return await self._offsets.committed(self._group, topic) >= end

        await self._until(is_there, within_s, f"did not commit the end of {topic}, {end}")

    async def _until(self, happened: Callable[[], Awaitable[bool]], within_s: float, otherwise: str) -> None:
        logs = self._bench.run_dir / self._cell
        try:
            async with asyncio.timeout(within_s):
                while not await happened():
                    if ended := self._bench.runner.ended:
                        raise DaemonError(f"{self._cell} ended by itself, {ended}; its logs are {logs}-*.log")
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise DaemonError(f"{self._cell} {otherwise} within {within_s:g} s; its logs are {logs}-*.log") from None

    async def _published(self, since_s: float) -> Sums:
        """Bytes of every link and closed window, as any consumer of `link-utilization` reads them."""
        links = {network.link_id(self._pop, link): link for link in range(network.LINKS)}
        sums: Sums = {}
        for message in await read_topic(reached_at(self._bench.broker), topics.LINK_UTILIZATION.name):
            record = msgspec.json.decode(message.value, type=LinkUtilization)
            if record.pop == self._pop and message.timestamp / 1000 >= since_s:
                link, start_s = links[record.link], int(record.window_start.timestamp())
                key = key_of(network.agent(link), network.ifindex(link), start_s)
                sums[key] = sums.get(key, 0) + record.sampled_bytes
        return sums

    async def _undecided(self, since_s: float, starts: set[int]) -> list[str]:
        records = await read_topic(reached_at(self._bench.broker), topics.DECISIONS.for_pop(self._pop))
        new = [msgspec.json.decode(one.value, type=Decision) for one in records if one.timestamp / 1000 >= since_s]
        decided = {int(decision.window_start.timestamp()) for decision in new}
        return [f"ours: no decision on the window of {start_s}" for start_s in sorted(starts - decided)]


def wrong(progress: Progress, expected: Sums) -> Iterator[str]:
    """What is not right in the worker's own account of the bytes that it was sent; each was to go to a prefix."""
    if progress.counted_bytes != sum(expected.values()):
        yield f"ours: counted {progress.counted_bytes:,} bytes, {sum(expected.values()):,} were sent"
    for reason, size_bytes in {"late": progress.late_bytes, **progress.unattributed_bytes}.items():
        if size_bytes:
            yield f"ours: {size_bytes:,} bytes were {reason}"
    if progress.dead_letters:
        yield f"ours: {progress.dead_letters} lines could not be read"
