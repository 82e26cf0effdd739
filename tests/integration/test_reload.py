"""Telemetry and actuator among real daemons take over mode, budgets and a drain at SIGHUP, and refuse a broken file."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from app.clock import SystemClock
from app.contract import topics
from app.lab.daemons.ports import free_port
from app.lab.daemons.stack import Stack, StackOptions
from tests.integration.bgp import eventually
from tests.integration.conftest import INVENTORY, PREFIXES, announced
from tests.integration.kafka_reader import Record, records_until
from tests.integration.loglines import log_lines
from tests.integration.test_actuator import MOVED, NATURAL, POP, Acting, move

pytestmark = [pytest.mark.services]

DRAINED = f"{POP}.link[r1/et-0/0/2].drain"


class Deployed(Acting):
    """A stack with both workers, and the files that they were started with."""

    def __init__(self, stack: Stack) -> None:
        # In an epoch above that of the real telemetry, which sees no traffic here.
        super().__init__(stack, epoch=int(SystemClock().now_s()) + 1800)
        self.settings = stack.settings_file
        self.inventory = stack.settings_file.parent / "pops" / INVENTORY.name

    def replace(self, before: str, after: str, in_inventory: bool = False) -> None:
        file = self.inventory if in_inventory else self.settings
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after, 1))

    async def reload(self, *more: str) -> tuple[int, str]:
        """What `autopilot reload` returns and prints."""
        argv = [sys.executable, "-m", "app", "reload", "--config", str(self.settings), *more]
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode()

    async def newest(self, topic: str, holds: Callable[[Record], bool]) -> Record:
        """The newest record of a topic, once it is one of which this holds."""
        found = await records_until(
            self.stack.kafka.broker, topic, lambda records: bool(records) and holds(records[-1])
        )
        return found[-1]

    def logged(self, worker: str) -> list[Any]:
        return [line["message"] for line in log_lines(self.stack.runner.log(worker))]


async def a_refusal_changes_nothing(made: Deployed) -> None:
    """A mistake is said as `check` says it; a signal by hand and a key that needs a restart change nothing, too."""
    good = made.settings.read_text()
    made.replace("[kafka]", "[thresholds]\nenter = 7\n[kafka]")
    code, said = await made.reload()
    assert code == 2
    assert "autopilot.toml.thresholds.enter: 7 " in said
    os.kill(made.stack.runner.pid("actuator"), signal.SIGHUP)

    async def is_refused() -> bool:
        return any("autopilot.toml.thresholds.enter: 7 " in line for line in made.logged("actuator"))

    await eventually(is_refused)
    made.settings.write_text(good)
    made.replace("session_timeout_s = 6.0", "session_timeout_s = 7.0")
    made.replace('mode = "auto"', 'mode = "observe"')
    code, said = await made.reload()
    assert code == 1
    for worker in ("telemetry", "actuator"):
        assert f"{worker} of {POP}: needs a restart for these; nothing was changed" in said
        assert "- kafka.session_timeout_s: 6.0 -> 7.0" in said
    made.settings.write_text(good)
    code, said = await made.reload("--json")
    assert code == 0
    assert [worker["changes"] for worker in json.loads(said)["workers"]] == [[], []]


async def a_drain_a_budget_and_dry_run(made: Deployed, prefix: str) -> None:
    """What stands ends in order at once, and what is decided now is judged by the new inventory, in memory."""
    made.replace('mode = "auto"', 'mode = "dry-run"')
    made.replace("[budgets]", "[budgets]\nmax_overrides = 20", in_inventory=True)
    made.replace("ifindexes = [102]\n", "ifindexes = [102]\ndrain = true\n", in_inventory=True)
    code, said = await made.reload()
    assert code == 0, said
    for worker in ("telemetry", "actuator"):
        assert f"{worker} of {POP}: configuration " in said
        for change in (
            'mode: "auto" -> "dry-run"',
            f"{POP}.budgets.max_overrides: 200 -> 20",
            f"{DRAINED}: false -> true",
        ):
            assert f"reload: {change}" in made.logged(worker)
            assert f"- {change}" in said
    await made.goes(NATURAL, *PREFIXES)
    gone = await made.told("withdrawn", 4)
    assert all(record.reason.endswith("-ended") for record in gone), "as leases that end"
    await made.telemetry.decide(move(prefix))
    refused = await made.newest(topics.ACTUATIONS.name, lambda record: record["prefix"] == prefix)
    assert (refused["action"], refused["reason"]) == ("refused", "link-drained")
    status = await made.newest(topics.ACTUATOR_STATUS.name, lambda record: record["mode"] == "dry-run")
    hash_ = status["worker"]["config"]
    assert f"configuration {hash_} is in use" in said
    await made.newest(topics.SOURCES.name, lambda record: record["worker"]["config"] == hash_)
    await made.newest(topics.DECISIONS.for_pop(POP), lambda record: record["mode"] == "dry-run")


async def and_back(made: Deployed, prefix: str) -> None:
    """By signals alone, as systemd's ExecReload sends them."""
    made.replace('mode = "dry-run"', 'mode = "auto"')
    made.replace("drain = true\n", "", in_inventory=True)
    for worker in ("telemetry", "actuator"):
        os.kill(made.stack.runner.pid(worker), signal.SIGHUP)
    await made.newest(topics.ACTUATOR_STATUS.name, lambda record: record["mode"] == "auto")
    await made.telemetry.decide(move(prefix))
    await made.goes(MOVED, prefix)


async def test_a_change_is_taken_over_by_both_workers_or_by_none(daemons: None) -> None:
    ports = {"state_port": free_port(), "actuator_port": free_port()}
    settings = {"mode": "auto", **ports, "kafka": {"session_timeout_s": 6.0}, "pacing": {"lease_s": 45.0}}
    first, second, third = PREFIXES
    async with Stack(INVENTORY, announced(), StackOptions(settings=settings)) as stack:
        for worker in ("telemetry", "actuator"):
            argv = [sys.executable, "-m", "app", worker, "--cell", POP, "--config", str(stack.settings_file)]
            await stack.spawn(worker, argv)
        made = Deployed(stack)
        await made.telemetry.start()
        try:
            await made.telemetry.decide(move(first), move(second))
            await made.goes(MOVED, first, second)
            await a_refusal_changes_nothing(made)
            await a_drain_a_budget_and_dry_run(made, third)
            await and_back(made, first)
            assert not any(stack.runner.restarts.values())
        finally:
            await made.telemetry.close()
