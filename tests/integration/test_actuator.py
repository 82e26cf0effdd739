"""The actuator as a process among real daemons: a decision in Kafka moves a prefix on both edges, and back."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from app import topics
from app.clock import SystemClock, utc
from app.control import send_control
from app.local.stack import Stack
from app.schemas import Actuation, Decision, Exit, NaturalExit, Override, Released, SourcePath
from tests.integration.bgp import eventually, paths_at_r1, paths_at_r2
from tests.integration.conftest import INVENTORY, PREFIXES, announced
from tests.integration.kafka_reader import records_until

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

POP = "rhv1000"
TARGET_PEER = "127.0.0.32"
NATURAL, MOVED = ("198.51.100.1", "198.51.100.4"), ("198.51.100.2", "192.0.2.11")
Best = Callable[[str], Awaitable[tuple[str, str]]]


def move(prefix: str) -> Override:
    """From r1's private peering to its exchange port."""
    return Override(
        prefix=prefix,
        exit=Exit("r1", "rhv1000/r1/et-0/0/2", TARGET_PEER, "198.51.100.2"),
        inject_on=("r1", "r2"),
        natural=(NaturalExit("r1", "rhv1000/r1/et-0/0/1", 1.0),),
        source_path=SourcePath((64602, 65010), "igp", 10),
        bps=1e9,
        reason="rhv1000/r1/et-0/0/1 is congested",
    )


class Telemetry:
    """Writes decisions as the telemetry worker does."""

    def __init__(self, broker: str) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=broker)
        self._seq = 0

    async def decide(self, *overrides: Override, released: tuple[str, ...] = ()) -> None:
        await self._producer.start() if not self._seq else None
        self._seq += 1
        now = utc(SystemClock().now_s())
        decision = Decision(
            pop=POP,
            epoch=7,
            seq=self._seq,
            mode="auto",
            window_start=now,
            made_at=now,
            add_until=now + timedelta(seconds=30),
            hold_until=now + timedelta(seconds=300),
            overrides=overrides,
            released=tuple(Released(prefix, "natural-load-fits") for prefix in released),
        )
        topic = topics.DECISIONS.for_pop(POP)
        await self._producer.send_and_wait(topic, msgspec.json.encode(decision), key=POP.encode())

    async def close(self) -> None:
        await self._producer.stop()


@asynccontextmanager
async def acting() -> AsyncIterator[tuple[Stack, Telemetry]]:
    async with Stack(INVENTORY, announced(), settings_overrides={"mode": "auto"}) as stack:
        argv = [sys.executable, "-m", "app", "actuator", "--cell", POP, "--config", str(stack.settings_file)]
        await stack.spawn("actuator", argv)
        telemetry = Telemetry(stack.broker)
        try:
            yield stack, telemetry
        finally:
            await telemetry.close()


def goes(stack: Stack, prefix: str, to: tuple[str, str]) -> Callable[[], Awaitable[bool]]:
    """Whether the best paths of both edges are these."""

    async def is_so() -> bool:
        at_r1, at_r2 = await paths_at_r1(stack.r1_grpc, prefix), await paths_at_r2(stack, prefix)
        return (at_r1[0]["next_hop"], at_r2[0]["next_hop"]) == to

    return is_so


async def told(stack: Stack, action: str, count: int) -> list[Actuation]:
    """The first records of this action, once there are so many."""
    found = await records_until(
        stack.broker, topics.ACTUATIONS.name, lambda all: sum(each["action"] == action for each in all) >= count
    )
    return [msgspec.convert(each, Actuation) for each in found if each["action"] == action]


async def test_a_decision_moves_a_prefix_on_both_edges_and_its_release_moves_it_back(daemons: None) -> None:
    async with acting() as (stack, telemetry):
        first, second, third = PREFIXES
        await telemetry.decide(move(first), move(second), move(third))
        for prefix in PREFIXES:
            await eventually(goes(stack, prefix, MOVED), within_s=40)
        confirmed = await told(stack, "confirmed", 6)
        at = {(each.router, each.prefix): each.at for each in confirmed}
        announced = {(each.router, each.prefix): each.at for each in await told(stack, "announced", 6)}
        assert all(at["r1", prefix] <= announced["r2", prefix] for prefix in PREFIXES), "exit first"

        await telemetry.decide(move(second), move(third), released=(first,))
        await eventually(goes(stack, first, NATURAL))

        await send_control(stack.broker, "*", True, "a test")
        await eventually(goes(stack, second, NATURAL))
        await eventually(goes(stack, third, NATURAL))
        await send_control(stack.broker, "*", False, "a test")

        async def back() -> bool:
            await telemetry.decide(move(second), move(third))
            await asyncio.sleep(0.2)
            return await goes(stack, second, MOVED)() and await goes(stack, third, MOVED)()

        await eventually(back)
        began_s = asyncio.get_running_loop().time()
        await stack.kill_neighbour(TARGET_PEER)

        async def off() -> bool:
            hops = [(await paths_at_r1(stack.r1_grpc, p))[0]["next_hop"] for p in (second, third)]
            hops += [(await paths_at_r2(stack, p))[0]["next_hop"] for p in (second, third)]
            return not {"198.51.100.2", "192.0.2.11"} & set(hops)

        await eventually(off, within_s=10)
        assert asyncio.get_running_loop().time() - began_s < 2.0
        lost = await told(stack, "withdrawn", 10)
        assert {each.reason for each in lost[-4:]} == {"source-path-lost"}
