"""What each identity may do at a real broker that denies everything else, and that it suffices for the whole job."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError

from app.cli.acls import NAME, PROPERTIES, commands
from app.contract import topics
from app.contract.identities import identities
from app.contract.topics import Component, app_id, changelogs
from app.errors import DaemonError, EnvironmentProblem
from app.kafka import client
from app.kafka.admin import create_topics, delete_changelogs, delete_group
from app.kafka.read import read_topic
from app.kafka.topic_ids import NONE, MetadataRequestV12, TopicsRequest
from app.lab.daemons.guard import ADMIN, OPERATIONS, Guard
from app.lab.daemons.machine import KAFKA_JARS
from app.lab.daemons.ports import free_port
from app.lab.daemons.stack import Stack, StackOptions
from app.stream.startup import input_ids
from tests.integration.conftest import INVENTORY, announced, unavailable
from tests.integration.guarded import OPERATOR, guarded_broker
from tests.integration.test_telemetry import until
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("rights")]

POP = "rhv1000"
CELLS = {POP: [POP], f"{POP}-b": ["fra1"]}
STATES = [name for cell in CELLS for worker in topics.TABLES for name in changelogs(worker, cell)]
TOPICS = [*topics.named([POP, "fra1"]), *STATES]
TELEMETRY_STATE = set(changelogs("telemetry", POP))
ACTUATOR_STATE = set(changelogs("actuator", POP))
OUTPUTS = {f"decisions-{POP}", "decisions-fra1", "link-utilization", "sources", "actuations", "actuator-status"}
INPUTS = {f"{kind}-{pop}" for kind in ("sfacctd-flows", "sfacctd-counters", "bmp") for pop in (POP, "fra1")}


class Rights(NamedTuple):
    writes: set[str]
    reads: set[str]


# What the broker must say that each may do, written out once more.
EXPECTED = {
    f"autopilot-sfacctd-{POP}": Rights({f"sfacctd-flows-{POP}", f"sfacctd-counters-{POP}"}, set()),
    f"autopilot-pmbmpd-{POP}": Rights({f"bmp-{POP}"}, set()),
    f"autopilot-telemetry-{POP}": Rights(
        {f"decisions-{POP}", "link-utilization", "prefix-traffic", "sources", "dead-letters", "clock"}
        | TELEMETRY_STATE,
        {f"sfacctd-flows-{POP}", f"sfacctd-counters-{POP}", f"bmp-{POP}"} | TELEMETRY_STATE,
    ),
    f"autopilot-actuator-{POP}": Rights(
        {"actuations", "actuator-status", "dead-letters", "clock"} | ACTUATOR_STATE,
        {f"bmp-{POP}", f"decisions-{POP}", "control"} | ACTUATOR_STATE,
    ),
    "autopilot-view": Rights(set(), OUTPUTS | {"control"}),
    OPERATOR: Rights({"control", "clock"}, OUTPUTS | INPUTS | {"control", "prefix-traffic", "dead-letters"}),
    "autopilot-consumer": Rights(set(), OUTPUTS | {"prefix-traffic"}),
}


class RightsRequest(TopicsRequest):
    """A request for topics with what the client that asks may do with each."""

    def build(self, request_struct_class: type[MetadataRequestV12]) -> MetadataRequestV12:
        return request_struct_class([(NONE, name, {}) for name in self._names], False, True, {})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guard() -> AsyncIterator[Guard]:
    try:
        async with guarded_broker(CELLS) as broker:
            guard = broker.guard
            guard.renew("autopilot-nobody")
            state = topics.Topic("", "none", 1, 3_600_000, "delete", (), ())
            await create_topics(guard.kafka(ADMIN), dict.fromkeys(STATES, state))

            async def are_there() -> bool:
                """The controller has made them; the broker learns of that a moment later."""
                return all((await rights(guard, ADMIN)).values())

            await until(are_there)
            yield guard
    except EnvironmentProblem as problem:
        unavailable(problem)


async def rights(guard: Guard, name: str) -> dict[str, set[str]]:
    """What an identity may do, by topic, as the broker says."""
    async with client.started(client.admin(guard.kafka(name))) as admin:
        answer: Any = await admin._send_request(RightsRequest(TOPICS))
    may = {entry[1]: 0 if entry[0] else entry[5] for entry in answer.topics}
    return {topic: {word for word, bit in OPERATIONS.items() if bits >> bit & 1} for topic, bits in may.items()}


@pytest.mark.parametrize("name", EXPECTED)
async def test_the_broker_lets_each_do_what_it_needs_and_no_more(guard: Guard, name: str) -> None:
    may = await rights(guard, name)
    assert {topic for topic, words in may.items() if "Write" in words} == EXPECTED[name].writes
    assert {topic for topic, words in may.items() if "Read" in words} == EXPECTED[name].reads
    owned = {topic for topic, words in may.items() if "Delete" in words}
    assert owned == EXPECTED[name].writes & {*STATES}, "nobody deletes what others need"


async def test_of_all_identities_one_writes_decisions_and_one_writes_control(guard: Guard) -> None:
    every = [one.name for one in identities(CELLS)]
    may = {name: await rights(guard, name) for name in every}
    assert [name for name in every if "Write" in may[name][f"decisions-{POP}"]] == [f"autopilot-telemetry-{POP}"]
    assert [name for name in every if "Write" in may[name]["control"]] == [OPERATOR]
    assert not any((await rights(guard, "autopilot-nobody")).values()), "a certificate alone is no right"


async def test_the_commands_that_are_printed_give_the_same_rights(guard: Guard, tmp_path: Path) -> None:
    """By Kafka's own tool."""
    some = (f"autopilot-sfacctd-{POP}", f"autopilot-telemetry-{POP}", OPERATOR)
    ours = [one for one in identities(CELLS) if one.name in some]
    (tmp_path / PROPERTIES).write_text(tool_properties(guard, tmp_path))
    tool = tmp_path / "kafka-acls.sh"
    java = f'java -XX:TieredStopAtLevel=1 -cp "{KAFKA_JARS}/*"'
    tool.write_text(f'#!/bin/sh\nexec {java} org.apache.kafka.tools.AclCommand "$@"\n')
    tool.chmod(0o700)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    (tmp_path / "acls.sh").write_text("\n".join(commands(ours, guard.keys(ADMIN)["broker"], f"User:CN={NAME}-too")))
    said = await asyncio.create_subprocess_exec(
        *("sh", "-e", "acls.sh"), cwd=tmp_path, env=environ, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await said.communicate()
    assert said.returncode == 0, out.decode()
    for one in ours:
        guard.renew(f"{one.name}-too")
        assert await rights(guard, f"{one.name}-too") == await rights(guard, one.name)


def tool_properties(guard: Guard, folder: Path) -> str:
    """Kafka's own tools want certificate and key in one file."""
    keys = guard.keys(ADMIN)
    pem = folder / "admin.pem"
    pem.write_text(Path(keys["cert_file"]).read_text() + Path(keys["key_file"]).read_text())
    return (
        f"security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location={pem}\n"
        f"ssl.truststore.type=PEM\nssl.truststore.location={keys['ca_file']}\n"
    )


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        (f"autopilot-sfacctd-{POP}", "sfacctd-flows-fra1"),
        (f"autopilot-sfacctd-{POP}", f"bmp-{POP}"),
        (f"autopilot-pmbmpd-{POP}", "bmp-fra1"),
        (f"autopilot-telemetry-{POP}", "decisions-fra1"),
        (f"autopilot-telemetry-{POP}", "control"),
        (f"autopilot-telemetry-{POP}", f"autopilot-telemetry-{POP}-b-rib-changelog"),
        (f"autopilot-actuator-{POP}", f"decisions-{POP}"),
        (f"autopilot-actuator-{POP}", "control"),
        ("autopilot-view", "control"),
        ("autopilot-view", "actuations"),
        (OPERATOR, f"decisions-{POP}"),
        ("autopilot-consumer", "link-utilization"),
        ("autopilot-nobody", "link-utilization"),
    ],
)
async def test_what_an_identity_may_not_write_is_refused(guard: Guard, name: str, topic: str) -> None:
    kafka, partition = guard.kafka(name), TopicPartition(topic, 0)
    async with client.started(client.producer(kafka)) as producer:
        with pytest.raises(TopicAuthorizationFailedError) as caught:
            await producer.send_and_wait(topic, b"forged")
    assert "`autopilot render acls`" in client.describe(caught.value)
    async with client.started(client.consumer(guard.kafka(ADMIN))) as consumer:
        assert await consumer.end_offsets([partition]) == {partition: 0}


async def test_the_group_and_the_state_of_another_worker_are_out_of_reach(guard: Guard) -> None:
    group, kafka = app_id("telemetry", f"{POP}-b"), guard.kafka(f"autopilot-telemetry-{POP}")
    consumer = client.consumer(kafka, group_id=group)
    consumer.subscribe([f"bmp-{POP}"])
    with pytest.raises(GroupAuthorizationFailedError):
        async with asyncio.timeout(PATIENCE_S), client.started(consumer):
            await consumer.getone()
    for name in (f"autopilot-telemetry-{POP}", OPERATOR):
        with pytest.raises(DaemonError, match="GroupAuthorizationFailedError"):
            await delete_group(guard.kafka(name), group)
    with pytest.raises(DaemonError, match="TopicAuthorizationFailedError"):
        await delete_changelogs(guard.kafka(OPERATOR), group)


async def test_who_lacks_a_right_is_told_so_and_not_that_a_topic_is_missing(guard: Guard) -> None:
    with pytest.raises(DaemonError, match=r"may not .*`autopilot render acls`") as caught:
        await input_ids(guard.kafka("autopilot-view"), [f"sfacctd-counters-{POP}"])
    assert "is it running there" not in str(caught.value)


WORKERS: tuple[Component, ...] = ("telemetry", "actuator", "view")


class Guarded:
    """A stack with all its workers, each under an identity of its own."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    async def command(self, *arguments: str, who: Component = "operator") -> tuple[int | None, str]:
        """Exit status and stdout of a command."""
        argv = [sys.executable, "-m", "app", *arguments, "--config", str(self.stack.settings_file)]
        environ = {**os.environ, **self.stack.identity_of(who)}
        process = await asyncio.create_subprocess_exec(*argv, env=environ, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    async def start(self, worker: Component) -> None:
        argv = [sys.executable, "-m", "app", worker, "--config", str(self.stack.settings_file)]
        argv += [] if worker == "view" else ["--cell", POP]
        await self.stack.spawn(worker, argv, self.stack.identity_of(worker), restarts_max=0)

    async def answers(self, port: int, path: str) -> bool:
        """Whether a process says there that all is well."""
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status == 200 and (path != "/healthz" or (await answer.json())["caught_up"])
        except aiohttp.ClientError:
            return False

    async def records(self, topic: str) -> list[Any]:
        return [json.loads(record.value) for record in await read_topic(self.stack.kafka, topic)]


@asynccontextmanager
async def guarded() -> AsyncIterator[Guarded]:
    ports = {"state_port": free_port(), "actuator_port": free_port(), "view_port": free_port()}
    options = StackOptions(settings={"mode": "auto", **ports}, guarded=True)
    async with Stack(INVENTORY, announced(), options) as stack:
        made = Guarded(stack)
        for worker in WORKERS:
            await made.start(worker)
        await until(lambda: made.answers(ports["state_port"], "/readyz"))
        await until(lambda: made.answers(ports["actuator_port"], "/readyz"))
        await until(lambda: made.answers(ports["view_port"], "/healthz"))
        yield made


async def test_each_component_does_its_whole_job_with_its_identity(daemons: None) -> None:
    async with guarded() as made:
        await every_output_is_written(made)
        await the_operator_looks_and_orders(made)
        await others_read(made)
        await a_worker_gives_up_its_state(made)
        assert made.stack.runner.ended == {}


async def every_output_is_written(made: Guarded) -> None:
    """Windows and decisions come of the collectors' markers alone; a bad line becomes a dead letter."""
    async with client.started(client.producer(made.stack.kafka_of("sfacctd"))) as producer:
        await producer.send_and_wait(topics.FLOWS.for_pop(POP), b"nonsense")
    for name in (f"decisions-{POP}", "link-utilization", "sources", "actuator-status", "dead-letters"):

        async def has_some(name: str = name) -> bool:
            return bool(await made.records(name))

        await until(has_some)


async def the_operator_looks_and_orders(made: Guarded) -> None:
    status, out = await made.command("check", "--create-topics", "--json")
    assert (status, json.loads(out)["problems"]) == (0, []), out
    _, out = await made.command("check", "--json")  # no router sends flows here, and that is all
    assert [line for line in json.loads(out)["problems"] if line.startswith(("broker ", "topic "))] == []
    looks: tuple[Component, ...] = ("operator", "view")  # in a cluster somebody looks from the pod of the view
    for word, who in product((["links"], ["overrides"], ["congestion"], ["latency"], ["explain", "latest"]), looks):
        status, out = await made.command(*word, "--json", who=who)
        assert status == 0, out
    assert await made.command("halt") == (0, "halted: every PoP\n")

    async def is_halted() -> bool:
        return bool((await made.records("actuator-status"))[-1]["halted_by"] == ["control"])

    await until(is_halted)
    assert await made.command("resume") == (0, "resumed: every PoP\n")
    status, _ = await made.command("halt", who="view")
    assert status == 1, "only an operator's certificate gets an order into Kafka, whoever has the key"


async def others_read(made: Guarded) -> None:
    consumer = client.consumer(
        made.stack.kafka_of("consumer"), group_id="autopilot-consumer-of-ours", auto_offset_reset="earliest"
    )
    consumer.subscribe([topics.LINK_UTILIZATION.name])
    async with client.started(consumer), asyncio.timeout(PATIENCE_S):
        assert (await consumer.getone()).topic == topics.LINK_UTILIZATION.name
        await consumer.commit()


async def a_worker_gives_up_its_state(made: Guarded) -> None:
    """`state reset` is called where the worker runs, with what it has; it then starts as if it were new."""
    await made.stack.runner.stop("telemetry")
    argv = ["state", "reset", "--cell", POP, "--from-inputs", "--yes", "--json"]
    status, out = await made.command(*argv, who="telemetry")
    assert status == 0, out
    assert {*json.loads(out)["deleted_topics"]} == TELEMETRY_STATE
    await made.start("telemetry")
    port = made.stack.deployment.settings.state_port
    await until(lambda: made.answers(port, "/readyz"))
