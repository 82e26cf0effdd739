"""A rolling restart and a kill of the telemetry workers of one cell: every window in time and once, no byte lost."""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from app.clock import SystemClock
from app.contract import topics
from app.contract.schemas import Decision
from app.errors import EnvironmentProblem
from app.kafka.read import read_topic
from app.lab.daemons.deployment import write_inventory, write_settings
from app.lab.daemons.kafka import kafka, reached_at
from app.lab.daemons.ports import free_port
from app.lab.demo.evidence import ByteAccount
from app.lab.demo.state_client import StateClient
from tests.app.feeds.test_accounting import flow, marker
from tests.integration.conftest import INVENTORY, unavailable
from tests.integration.sums_rig import Worker
from tests.patience import PATIENCE_S

log = logging.getLogger(__name__)

pytestmark = pytest.mark.services

POP = "rhv1000"
REFRESH_S = 1
FLOWS_A_PURGE, FLOW_BYTES = 5, 100_000
WINDOW_S = 10
IN_TIME_S = 30.0  # after that a decision may add nothing any more


class Feed:
    """A collector: flows of this moment between two markers, every refresh."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self.sent_bytes = 0
        self.stopping = False
        self._producer = producer

    async def run(self) -> None:
        while not self.stopping:
            at_s = int(SystemClock().now_s())
            records = [flow(at_s, ip_dst="203.0.113.9") for _ in range(FLOWS_A_PURGE)]
            await self._send(marker("purge_init", f"w/{at_s}"), b"\n".join(records), marker("purge_close", f"w/{at_s}"))
            self.sent_bytes += FLOWS_A_PURGE * FLOW_BYTES
            await asyncio.sleep(REFRESH_S)

    async def mark_until(self, happened: Callable[[], Awaitable[bool]]) -> None:
        """Markers without flows, so that the last windows close."""
        async with asyncio.timeout(PATIENCE_S):
            while not await happened():
                at_s = SystemClock().now_s()
                await self._send(marker("purge_init", f"w/{at_s}"), marker("purge_close", f"w/{at_s}"))
                await asyncio.sleep(REFRESH_S)

    async def _send(self, *messages: bytes) -> None:
        for message in messages:
            await self._producer.send_and_wait(topics.FLOWS.for_pop(POP), message)


class Cell:
    """The workers of one cell, each an instance with a data directory and a port of its own."""

    def __init__(self, settings: Path, folder: Path) -> None:
        self.running: dict[str, Worker] = {}
        self.ports = {name: free_port() for name in ("a", "b")}
        self._settings = settings
        self._folder = folder

    async def start(self, name: str, state: str) -> None:
        port = self.ports[name]
        argv = ["-m", "app", "telemetry", "--cell", POP, "--config", str(self._settings)]
        log = self._folder / f"{name}.log"
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *argv, "--instance", name, "--state-port", str(port), stderr=stderr
            )
        self.running[name] = Worker(process, log, port)
        await self.running[name].is_in(state, within_s=PATIENCE_S)

    async def end(self, name: str, number: signal.Signals) -> None:
        worker = self.running.pop(name)
        worker.signal(number)
        assert await worker.ended(20.0) == (0 if number is signal.SIGTERM else -number)

    async def restart(self, name: str) -> None:
        """By its supervisor, while the other one works."""
        await self.end(name, signal.SIGTERM)
        await self.start(name, "standby")

    async def progress(self, name: str) -> ByteAccount:
        return await StateClient(self.ports[name], POP).get("progress", ByteAccount)


async def roll_and_kill(cell: Cell, feed: Feed) -> None:
    await cell.start("a", "running")
    await cell.start("b", "standby")
    await cell.restart("a")
    await cell.running["b"].is_in("running")
    await cell.restart("b")
    await cell.running["a"].is_in("running")
    await cell.end("a", signal.SIGKILL)
    await cell.running["b"].is_in("running")
    feed.stopping = True


def lateness_s(decisions: list[Decision]) -> dict[float, float]:
    """Seconds from the end of each window to its first decision."""
    late: dict[float, float] = {}
    for decision in decisions:
        start_s = decision.window_start.timestamp()
        late.setdefault(start_s, decision.made_at.timestamp() - start_s - WINDOW_S)
    return late


async def test_a_rolling_restart_makes_no_window_late(
    tmp_path: Path,
) -> None:
    wanted = topics.named([POP])
    try:
        async with kafka(wanted) as broker:
            overrides = {"kafka": {"standby_replicas": 1}, "windows": {"refresh_s": REFRESH_S}}
            settings = write_settings(tmp_path, write_inventory(tmp_path, INVENTORY), broker, overrides)
            producer = AIOKafkaProducer(bootstrap_servers=broker)
            await producer.start()
            cell, feed = Cell(settings, tmp_path), Feed(producer)
            feeding = asyncio.create_task(feed.run())
            try:
                await roll_and_kill(cell, feed)
                await feeding

                async def all_closed() -> bool:
                    progress = await cell.progress("b")
                    return progress.unattributed_bytes.get("unroutable", 0) >= feed.sent_bytes

                await feed.mark_until(all_closed)
                progress = await cell.progress("b")
            finally:
                feed.stopping = True
                await feeding
                for name in list(cell.running):
                    await cell.end(name, signal.SIGTERM)
                await producer.stop()
            records = await read_topic(reached_at(broker), topics.DECISIONS.for_pop(POP))
    except EnvironmentProblem as problem:
        unavailable(problem)
    assert progress.unattributed_bytes == {"unroutable": feed.sent_bytes}, "no routes here, so all of it, once"
    assert (progress.late_bytes, progress.counted_bytes) == (0, 0)
    late = lateness_s([msgspec.json.decode(record.value, type=Decision) for record in records if record.value])
    log.info("decisions after the end of their window: %s s", [round(late[start_s], 1) for start_s in sorted(late)])
    starts = sorted(late)
    assert starts == [starts[0] + WINDOW_S * index for index in range(len(starts))], "every window was decided on"
    assert max(late.values()) < IN_TIME_S
