"""`autopilot check` against a real broker: what is missing, how it is made, and who is dead."""

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.clock import SystemClock
from app.contract import topics
from app.kafka import client
from app.kafka.silence import silent_topics
from app.lab.daemons.deployment import to_toml
from app.lab.daemons.kafka import kafka, reached_at
from app.lab.daemons.ports import free_port
from app.lab.daemons.stack import Stack, StackOptions
from tests.integration.conftest import INVENTORY, announced
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("daemons")]
POP = "rhv1000"


async def check(
    folder: Path, *arguments: str, program: tuple[str, ...] = ("app",)
) -> tuple[int | None, list[str], str]:
    """Exit status, problems, and what it told."""
    argv = (sys.executable, "-m", *program, "check", "--json", "--config", str(folder / "autopilot.toml"), *arguments)
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


async def test_a_topic_that_refuses_the_largest_decision_is_named(tmp_path: Path) -> None:
    decisions = topics.DECISIONS.for_pop(POP)
    (tmp_path / INVENTORY.name).write_text(INVENTORY.read_text())
    async with kafka(topics.named([POP])) as broker:
        settings: dict[str, object] = {"pops": [INVENTORY.name], "kafka": {"broker": broker, "replication_factor": 1}}
        (tmp_path / "autopilot.toml").write_text(to_toml(settings))
        assert await check(tmp_path, "--create-topics") == (0, [], "")
        async with client.started(client.admin(reached_at(broker))) as admin:
            small = {**topics.DECISIONS.config, "max.message.bytes": "100000"}
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, decisions, configs=small)])
        status, problems, _ = await check(tmp_path, "--create-topics")
    assert status == 1
    (said,) = problems
    assert said.startswith(f"topic {decisions}: max.message.bytes is 100,000, and a decision of {POP} may have ")
    assert f"--topic {decisions} --add-config max.message.bytes=12565536`, or lower budgets.max_overrides to " in said


async def test_topics_with_the_time_of_their_writers_and_a_wrong_clock_are_named(tmp_path: Path) -> None:
    decisions, clock = topics.DECISIONS.for_pop(POP), topics.CLOCK.name
    (tmp_path / INVENTORY.name).write_text(INVENTORY.read_text())
    wanted = topics.named([POP])
    async with kafka(wanted) as broker:
        settings: dict[str, object] = {"pops": [INVENTORY.name], "kafka": {"broker": broker, "replication_factor": 1}}
        (tmp_path / "autopilot.toml").write_text(to_toml(settings))
        status, problems, _ = await check(tmp_path, "--create-topics", program=("tests.faults.skewed", "600"))
        assert status == 1
        (said,) = problems
        assert re.match(r"the clock of this host is (599|60\d)\.\d s ahead of the broker's", said)
        async with client.started(client.admin(reached_at(broker))) as admin:
            for name in (decisions, clock):
                config = {**wanted[name].config, "message.timestamp.type": "CreateTime"}
                await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=config)])
        status, problems, _ = await check(tmp_path, "--create-topics")
    assert status == 1
    assert [problem.partition("; use ")[0] for problem in problems] == [
        f"topic {decisions}: message.timestamp.type is CreateTime, must be LogAppendTime",
        f"topic {clock} has the time of its writers",
    ]
    assert all("--add-config message.timestamp.type=LogAppendTime`" in problem for problem in problems)


async def test_too_many_replicas_are_refused_with_the_key(tmp_path: Path) -> None:
    """The default is 3, and the first broker that one tries is often alone."""
    (tmp_path / INVENTORY.name).write_text(INVENTORY.read_text())
    async with kafka({}) as broker:
        (tmp_path / "autopilot.toml").write_text(to_toml({"pops": [INVENTORY.name], "kafka": {"broker": broker}}))
        argv = (sys.executable, "-m", "app", "check", "--config", str(tmp_path / "autopilot.toml"), "--create-topics")
        process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
        _, err = await process.communicate()
    assert process.returncode == 1
    said = "kafka.replication_factor is 3, and the cluster has fewer brokers; set it to 1 for a cluster of one"
    assert said in err.decode()


async def test_a_topic_is_silent_when_its_newest_record_is_old() -> None:
    flows, bmp, counters = (topic.for_pop(POP) for topic in topics.INPUTS[:1] + topics.INPUTS[2:] + topics.INPUTS[1:2])
    wanted = topics.named([POP])
    async with kafka({name: wanted[name] for name in (flows, bmp)}) as broker:
        began_s = SystemClock().now_s()
        producer = AIOKafkaProducer(bootstrap_servers=broker)
        await producer.start()
        await producer.send_and_wait(flows, b"{}")
        await producer.stop()
        quiet_s = {flows: 30.0, bmp: 30.0, counters: 30.0}
        reached = reached_at(broker)
        assert await silent_topics(reached, quiet_s, began_s) == {bmp, counters}, "empty or missing"
        assert await silent_topics(reached, quiet_s, began_s + 60) == {flows, bmp, counters}
        assert await silent_topics(reached, {}, began_s) == frozenset()


async def report_of(folder: Path) -> dict[str, Any]:
    """What a program gets, and exit code 1 exactly if there are problems."""
    argv = (sys.executable, "-m", "app", "check", "--json", "--config", str(folder / "autopilot.toml"))
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    report: dict[str, Any] = msgspec.json.decode(out)
    assert process.returncode == bool(report["problems"])
    assert report["ok"] is not bool(report["problems"])
    return report


async def until_reported(folder: Path, as_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    report: dict[str, Any] = {}
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not as_wanted(report := await report_of(folder)):
                await asyncio.sleep(1)
    except TimeoutError:
        pytest.fail(f"the last report was {report}")
    return report


def named(report: dict[str, Any], *words: str) -> list[str]:
    """The problems that contain all of these words."""
    return [problem for problem in report["problems"] if all(word in problem for word in words)]


def is_well(report: dict[str, Any]) -> bool:
    """Whether every part is seen, and nothing is wrong but that no traffic is."""
    parts, routers = report["components"].get(POP, {}), report["routers"].values()
    heard = all(router["bmp_heard_s"] and router["bmp_statistics"] for router in routers)
    usual = [*named(report, "flow sample"), *named(report, "counter sample")]
    return heard and parts.get("telemetry") == parts.get("actuator") == "up" and set(report["problems"]) == {*usual}


async def test_every_part_that_runs_is_seen_and_every_dead_one_is_named() -> None:
    """Routers here send BMP, but no traffic: that flows and counters never came is all that may be wrong."""
    settings = {"mode": "auto", "state_port": free_port(), "kafka": {"session_timeout_s": 6.0}}
    async with Stack(INVENTORY, announced(), StackOptions(settings=settings)) as stack:
        folder = stack.settings_file.parent
        first = await report_of(folder)
        assert named(first, "telemetry has published no window yet", "start `autopilot telemetry --cell rhv1000`")
        assert named(first, "no actuator was heard; start it: `autopilot actuator --cell rhv1000`")
        for process in ("telemetry", "actuator"):
            argv = [sys.executable, "-m", "app", process, "--cell", POP, "--config", str(stack.settings_file)]
            await stack.spawn(process, argv, restarts_max=0)
        well = await until_reported(folder, is_well)
        for router in ("r1", "r2"):
            known = well["routers"][f"{POP}/{router}"]
            assert known.keys() == {
                "flows_heard_s", "counters_heard_s", "bmp_heard_s", "bmp_statistics", "injector", "grpc", "policy",
            }  # fmt: skip
            assert known["grpc"].startswith("unix socket ")
            assert known["injector"] == "ok"
            assert known["bmp_heard_s"] < PATIENCE_S
            paths, _, rest = known["policy"]["export"].partition(" ")
            assert int(paths) > 0
            assert rest == "paths to its injector; to neighbours not readable"

        await stack.runner.stop("injector-r1")  # killed, it would be started again
        for name in ("actuator", "pmbmpd"):
            await stack.runner.kill(name)
        dead = await until_reported(folder, lambda report: bool(named(report, "actuator has not been heard since")))
        assert named(dead, "rhv1000/r1: injector:", "is gobgpd running")
        assert not named(dead, "rhv1000/r2: injector:")
        assert dead["routers"][f"{POP}/r1"]["policy"] == {"import": "not readable", "export": "not readable"}
        await until_reported(folder, lambda report: bool(named(report, "pmbmpd writes nothing to bmp-rhv1000")))
        await stack.runner.kill("sfacctd")
        await until_reported(folder, lambda report: bool(named(report, "sfacctd writes nothing")))
