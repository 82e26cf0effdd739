"""A worker takes over changed files at SIGHUP: all of them, or nothing and the reason."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY

from app.clock import BrokerClock, ManualClock
from app.config.settings import Deployment, load
from app.reload import Reload, hold
from tests.patience import PATIENCE_S
from tests.pops import INVENTORY

CELL = "rhv1000"


class Worker:
    """A worker that notes what it was told to apply, and its files."""

    def __init__(self, folder: Path) -> None:
        self.file, self.inventory = folder / "autopilot.toml", folder / "rhv1000.toml"
        self.inventory.write_text(INVENTORY.read_text())
        self.write("")
        self.applied: list[tuple[Deployment, Deployment]] = []
        self.clock = ManualClock()
        self.reload = Reload("actuator", CELL, self.read(), self.read, self._apply, BrokerClock(self.clock))

    def write(self, more: str) -> None:
        self.file.write_text(f'pops = ["rhv1000.toml"]\n{more}\n')

    def read(self) -> Deployment:
        return load(self.file, environ={})

    async def _apply(self, before: Deployment, after: Deployment) -> None:
        self.applied.append((before, after))


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.reload.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)


def reloads(result: str) -> float:
    return REGISTRY.get_sample_value("autopilot_config_reloads_total", {"result": result}) or 0.0


async def test_a_change_is_applied_and_recorded(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    first = worker.reload.state()
    worker.write("[thresholds]\nenter = 0.95")
    worker.clock.advance(60)
    preview = worker.reload.preview()
    assert [str(change) for change in preview.changes] == ["thresholds.enter: 0.9 -> 0.95"]
    assert (preview.config, preview.pid, preview.pops) == (first.config, os.getpid(), [CELL])
    async with running(worker):
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: bool(worker.applied) and worker.reload.state() != first)
    [(before, after)] = worker.applied
    assert (before.settings.thresholds.enter, after.settings.thresholds.enter) == (0.9, 0.95)
    state = worker.reload.state()
    assert state.config == preview.after != first.config
    assert state.config_since.timestamp() - first.config_since.timestamp() == 60
    assert REGISTRY.get_sample_value("autopilot_config_seconds", {"hash": state.config}) == worker.clock.now_s()
    assert REGISTRY.get_sample_value("autopilot_config_seconds", {"hash": first.config}) is None
    assert "reload: thresholds.enter: 0.9 -> 0.95" in caplog.text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[thresholds]\nenter = 7", "autopilot.toml.thresholds.enter: 7"),
        ("halt_file = 'elsewhere'\nmode = 'observe'", "needs a restart"),
        ("what = 3", "what: unknown key"),
    ],
)
async def test_a_mistake_or_a_restart_refuses_all_of_it(
    worker: Worker, caplog: pytest.LogCaptureFixture, more: str, said: str
) -> None:
    before, refused = worker.reload.state(), reloads("refused")
    worker.write(more)
    async with running(worker):
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: reloads("refused") > refused)
    assert said in caplog.text
    assert f"nothing was changed; configuration {before.config} stays in use" in caplog.text
    assert worker.applied == []
    assert worker.reload.state() == before
    preview = worker.reload.preview()
    assert preview.problems or preview.restarts


async def test_a_signal_from_before_the_worker_listens_is_obeyed_then(worker: Worker) -> None:
    hold()
    worker.write("mode = 'observe'")
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0)
    assert worker.applied == []
    async with running(worker):
        await until(lambda: bool(worker.applied))


def test_a_broken_inventory_is_a_problem_by_file(worker: Worker) -> None:
    worker.inventory.write_text(INVENTORY.read_text().replace("asn = 64512", "asn = 'x'", 1))
    preview = worker.reload.preview()
    assert any("rhv1000.toml" in problem for problem in preview.problems)
    assert msgspec.json.decode(msgspec.json.encode(preview), type=type(preview)) == preview
