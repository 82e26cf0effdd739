"""`autopilot check` against a real broker: what is missing, and how it is made."""

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from app.contract import topics
from app.lab.daemons.deployment import to_toml
from app.lab.daemons.kafka import kafka
from tests.integration.conftest import INVENTORY

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("daemons")]
POP = "rhv1000"


async def check(folder: Path, *arguments: str) -> tuple[int | None, list[str], str]:
    """Exit status, problems, and what it told."""
    argv = (sys.executable, "-m", "app", "check", "--json", "--config", str(folder / "autopilot.toml"), *arguments)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    return process.returncode, msgspec.json.decode(out)["problems"], err.decode()


async def test_missing_topics_are_told_and_made(tmp_path: Path) -> None:
    wanted = topics.named([POP])
    there = topics.LINK_UTILIZATION.name
    (tmp_path / INVENTORY.name).write_text(INVENTORY.read_text())
    async with kafka({there: wanted[there]}) as broker:
        settings: dict[str, object] = {"pops": [INVENTORY.name], "kafka": {"broker": broker, "replication_factor": 1}}
        (tmp_path / "autopilot.toml").write_text(to_toml(settings))
        status, problems, _ = await check(tmp_path)
        assert status == 1
        assert {problem.split()[1].rstrip(":") for problem in problems} == wanted.keys() - {there}
        status, problems, told = await check(tmp_path, "--create-topics")
        assert (status, problems) == (0, [])
        assert {line.removeprefix("created ") for line in told.splitlines()} == wanted.keys() - {there}
        assert await check(tmp_path, "--create-topics") == (0, [], "")
