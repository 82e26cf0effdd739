"""A worker that cannot start says why in a line, and ends with exit code 1 for its supervisor to try again."""

import asyncio
import sys
from pathlib import Path

import pytest

from app import topics
from app.errors import EnvironmentProblem
from app.local.deployment import write_inventory, write_settings
from app.local.kafka import kafka
from app.local.machine import missing
from app.local.ports import free_port
from tests.integration.conftest import INVENTORY, unavailable

POP = "rhv1000"
PROCESSES = ("telemetry", "actuator")
LINES_MAX = 30  # a library may log each attempt; no traceback does


async def said(process: str, tmp_path: Path, broker: str) -> str:
    """What a process that ends by itself with exit code 1 says on stderr."""
    settings = write_settings(tmp_path, write_inventory(tmp_path, INVENTORY), broker, {"state_port": free_port()})
    argv = [sys.executable, "-m", "app", process, "--cell", POP, "--config", str(settings)]
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


def folders(tmp_path: Path) -> list[Path]:
    """One a process: they run at the same time."""
    made = [tmp_path / process for process in PROCESSES]
    for folder in made:
        folder.mkdir()
    return made


async def test_no_broker_is_said_with_its_address(tmp_path: Path) -> None:
    broker = f"127.0.0.1:{free_port()}"
    ends = [said(process, folder, broker) for process, folder in zip(PROCESSES, folders(tmp_path), strict=True)]
    for text in await asyncio.gather(*ends):
        assert f"broker {broker}: " in text
        assert "is it running there, is kafka.broker right?" in text


@pytest.mark.services
async def test_a_missing_topic_is_named(tmp_path: Path) -> None:
    if problems := "; ".join(missing()):
        unavailable(problems)
    gone = topics.BMP.for_pop(POP)  # both processes read it
    there = {name: topic for name, topic in topics.named([POP]).items() if name != gone}
    try:
        async with kafka(there) as broker:
            ends = [said(process, folder, broker) for process, folder in zip(PROCESSES, folders(tmp_path), strict=True)]
            for text in await asyncio.gather(*ends):
                assert f"no topic {gone}; `autopilot check` says how to make it" in text
    except EnvironmentProblem as problem:
        unavailable(problem)
