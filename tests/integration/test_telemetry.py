"""The telemetry worker among real daemons: every byte in the right column, bad input, SIGKILL, and the command line."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from math import isnan
from typing import Any, get_args

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer

from app.contract import topics
from app.contract.schemas import Feed
from app.errors import DaemonError, EnvironmentProblem
from app.kafka.read import read_topic
from app.lab.daemons.ports import free_port
from app.lab.daemons.stack import Stack, StackOptions
from app.lab.demo.evidence import ByteAccount
from app.lab.demo.run import RouterRib
from app.lab.demo.state_client import StateClient
from app.lab.pop.packets import tcp_frame
from app.lab.pop.sflow import FlowSample, encode_datagram, encode_flow
from tests.app.feeds.test_flows import RECORD
from tests.integration.conftest import INVENTORY, PREFIXES, announced, unavailable
from tests.integration.loglines import log_lines
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.services]

POP = "rhv1000"
RATE, FRAME_BYTES = 32768, 1018
BYTES = RATE * FRAME_BYTES
GOOD, UNKNOWN_INTERFACE, SPECIAL_INTERFACE, UNROUTABLE = 40, 5, 4, 3
LATE_BYTES = 700


def samples(count: int, output_ifindex: int, destination: str, first: int) -> list[bytes]:
    return [
        encode_flow(
            FlowSample(
                sequence=first + index,
                source_ifindex=output_ifindex,
                sampling_rate=RATE,
                sample_pool=RATE * (first + index),
                input_ifindex=1,
                output_ifindex=output_ifindex,
                frame_bytes=FRAME_BYTES,
                header=tcp_frame("198.18.0.1", destination, FRAME_BYTES, 50000),
            )
        )
        for index in range(count)
    ]


class Rig:
    """A stack with a telemetry worker on it."""

    def __init__(self, stack: Stack, state: StateClient) -> None:
        self.stack = stack
        self.state = state
        self._sequence = 0

    def send(self, *groups: list[bytes]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for group in groups:
                for sample in group:
                    self._sequence += 1
                    payload = encode_datagram("192.0.2.1", self._sequence, 1000 * self._sequence, [sample])
                    sender.sendto(payload, self.stack.sflow)

    async def produce(self, *records: tuple[str, bytes]) -> None:
        """Straight into Kafka, past the collectors."""
        producer = AIOKafkaProducer(bootstrap_servers=self.stack.kafka.broker)
        await producer.start()
        try:
            for topic, value in records:
                await producer.send_and_wait(topic, value)
        finally:
            await producer.stop()

    async def progress(self) -> ByteAccount:
        return await self.state.get("progress", ByteAccount)

    async def command(self, *arguments: str) -> Any:
        argv = [sys.executable, "-m", "app", *arguments, "--json", "--config", str(self.stack.settings_file)]
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        assert process.returncode == 0, out
        return json.loads(out)


async def until(happened: Callable[[], Awaitable[bool]], within_s: float = PATIENCE_S) -> None:
    """Await a condition; a worker that is starting does not answer yet."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                if await happened():
                    return
            except DaemonError:
                pass
            await asyncio.sleep(0.2)


async def every_byte_and_every_bad_record(rig: Rig) -> None:
    flows, counters, bmp = (topic.for_pop(POP) for topic in (topics.FLOWS, topics.COUNTERS, topics.BMP))
    late = RECORD | {"timestamp_arrival": "1000000000.000000", "bytes": LATE_BYTES, "sampling_rate": 1}
    await until(lambda: closed_something(rig))
    rig.send(
        samples(GOOD, 101, "20.0.0.9", 1),
        samples(UNKNOWN_INTERFACE, 999, "20.0.0.9", 1),
        samples(SPECIAL_INTERFACE, 0x3FFFFFFF, "20.0.0.9", 1),
        samples(UNROUTABLE, 102, "203.0.113.7", 1),
    )
    await rig.produce(
        (flows, json.dumps(late).encode()), (flows, b"nonsense"), (counters, b"[" * 5000), (bmp, b'{"event_type": 7}')
    )
    await until(lambda: counted(rig, GOOD))
    progress = await rig.progress()
    assert progress.unattributed_bytes == {
        "unknown-interface": UNKNOWN_INTERFACE * BYTES,
        "special-interface": SPECIAL_INTERFACE * BYTES,
        "unroutable": UNROUTABLE * BYTES,
    }
    assert progress.late_bytes == LATE_BYTES
    letters = [json.loads(record.value) for record in await read_topic(rig.stack.kafka, topics.DEAD_LETTERS.name)]
    assert {letter["topic"] for letter in letters} == {flows, counters, bmp}
    assert all(letter["reason"] and letter["offset"] >= 0 for letter in letters)


async def closed_something(rig: Rig) -> bool:
    return (await rig.progress()).closed_up_to_s is not None


async def counted(rig: Rig, samples_: int) -> bool:
    return (await rig.progress()).counted_bytes == samples_ * BYTES


async def a_killed_worker_goes_on_where_it_was(rig: Rig) -> None:
    rig.send(samples(GOOD, 101, "20.0.1.9", 1000))
    await rig.stack.runner.kill("telemetry")
    await until(lambda: counted(rig, 2 * GOOD))
    assert rig.stack.runner.restarts["telemetry"] == 1


async def the_commands_tell_the_same(rig: Rig) -> None:
    links = await rig.command("links", "--pop", POP)
    assert {link["link"] for link in links} == set(rig.stack.pop.links)
    assert (await rig.command("check", "--offline"))["problems"] == []
    (decision,) = await rig.command("overrides")
    assert (decision["pop"], decision["overrides"]) == (POP, [])
    told = await rig.command("explain", "20.0.0.9")
    assert (told["prefix"]["prefix"], told["prefix"]["status"]) == ("20.0.0.0/24", "untouched")
    assert {one["link"] for one in told["prefix"]["alternates"]} == set(rig.stack.pop.links)
    assert "its load is unknown" in told["prefix"]["why"], "nobody sends counters here"
    link = next(iter(rig.stack.pop.links))
    assert (await rig.command("explain", link))["link"]["load"]["capacity_bps"] == 100e9
    assert (await rig.command("explain", "latest"))["decision"]["pop"] == POP
    (congestion,) = await rig.command("congestion")
    assert (congestion["pop"], congestion["congestion"]) == (POP, [])


async def a_halt_is_told(rig: Rig) -> None:
    assert (await rig.command("links"))[0]["halted"] is None
    argv = [sys.executable, "-m", "app", "halt", "--pop", POP, "--config", str(rig.stack.settings_file)]
    assert await (await asyncio.create_subprocess_exec(*argv)).wait() == 0
    assert {link["halted"]["pop"] for link in await rig.command("links")} == {POP}
    (decision,) = await rig.command("overrides")
    assert decision["halted"]["halt"]
    argv[3:6] = ["links"]
    environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = await asyncio.create_subprocess_exec(*argv, env=environ, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    first, *lines = out.decode().splitlines()
    notices = [line for line in lines if line.startswith(("r1: ", "r2: ", f"{POP}: "))]
    assert f"{POP}: The actuator was not heard" in "\n".join(notices)
    table = lines[len(notices) :]
    assert first.startswith(f"{POP} was halted by ")
    assert "feed" in table[1]
    assert f"{POP}/r1/et-0/0/1" in table[3], "a pipe cuts nothing"


async def the_metrics_tell_of_every_hop(port: int) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
    for topic in (topics.FLOWS, topics.COUNTERS, topics.BMP):
        assert values[f'autopilot_consumer_lag_records{{topic="{topic.for_pop(POP)}"}}'] < 10
    pop = f'{{pop="{POP}"}}'
    assert 0 < values[f"autopilot_watermark_age_seconds{pop}"] < 15
    assert 0 < values[f"autopilot_window_age_seconds{pop}"] < 30
    assert values[f"autopilot_decisions_total{pop}"] > 0
    assert 0 <= values[f"autopilot_unattributed_ratio{pop}"] < 1
    assert values[f'autopilot_bmp_prefixes{{pop="{POP}",router="r1"}}'] >= len(PREFIXES)
    assert values[f'autopilot_bmp_peers{{pop="{POP}",router="r2"}}'] >= 3
    link = f"{POP}/r1/et-0/0/1"
    states = [values[f'autopilot_link_feed{{link="{link}",state="{state}"}}'] for state in get_args(Feed)]
    assert sorted(states) == [0, 0, 0, 1]
    assert isnan(values[f'autopilot_counter_age_seconds{{link="{link}"}}']), "nobody sends counters here"


def what_it_logs_is_json(rig: Rig) -> None:
    """Faust's lines and aiokafka's as well as ours."""
    loggers = {line["logger"].partition(".")[0] for line in log_lines(rig.stack.runner.log("telemetry"))}
    assert {"faust", "aiokafka"} <= loggers


async def test_the_worker_counts_survives_and_tells() -> None:
    port = free_port()
    settings = {"state_port": port, "kafka": {"session_timeout_s": 6.0}}
    try:
        async with Stack(INVENTORY, announced(), StackOptions(settings=settings)) as stack:
            argv = [sys.executable, "-m", "app", "telemetry", "--cell", POP, "--config", str(stack.settings_file)]
            await stack.spawn("telemetry", argv)
            rig = Rig(stack, StateClient(port, POP))
            await until(lambda: knows_routes(rig))
            await every_byte_and_every_bad_record(rig)
            await a_killed_worker_goes_on_where_it_was(rig)
            await the_commands_tell_the_same(rig)
            await a_halt_is_told(rig)
            await the_metrics_tell_of_every_hop(port)
            what_it_logs_is_json(rig)
    except EnvironmentProblem as problem:
        unavailable(problem)


async def knows_routes(rig: Rig) -> bool:
    ribs = await rig.state.get("rib", dict[str, RouterRib])
    return all(rib.prefixes >= len(PREFIXES) for rib in ribs.values())
