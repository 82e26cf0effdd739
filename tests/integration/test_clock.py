"""An actuator on a host whose clock is ten minutes wrong, among real daemons: it goes by the broker's time.

What is stale is not announced, what is live is not dropped, and all of it ends with its lease.
"""

import asyncio
import sys
from datetime import timedelta

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from app.bgp.gobgp import GobgpSpeaker
from app.clock import SystemClock, utc
from app.contract import topics
from app.contract.schemas import Actuation, Decision, Override
from app.kafka.read import read_topic
from app.lab.daemons.stack import Stack, StackOptions
from tests.integration.bgp import eventually, paths_at_r1, paths_at_r2
from tests.integration.conftest import INVENTORY, PREFIXES, announced
from tests.integration.loglines import log_lines
from tests.integration.test_actuator import MOVED, NATURAL, POP, move
from tests.keys import UNSIGNED

pytestmark = [pytest.mark.services]

LEASE_S = 45.0  # about the shortest for windows of 10 s
EVERY_S = 2.0
CLOCK = SystemClock()
LIVE, STALE, _ = PREFIXES


class Windows:
    """Writes decisions as a telemetry with the right time does, of windows that ended `age_s` seconds ago."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._epoch, self._seq = int(CLOCK.now_s()), 0

    async def decide(self, *overrides: Override, age_s: float = 0.0) -> None:
        self._seq += 1
        end = utc(CLOCK.now_s() - age_s)
        decision = Decision(
            pop=POP,
            epoch=self._epoch,
            seq=self._seq,
            mode="auto",
            window_start=end - timedelta(seconds=10),
            made_at=end,
            add_until=end + timedelta(seconds=30),
            hold_until=end + timedelta(seconds=LEASE_S),
            overrides=overrides,
        )
        topic = topics.DECISIONS.for_pop(POP)
        await self._producer.send_and_wait(topic, msgspec.json.encode(decision), key=POP.encode())


async def hops(stack: Stack, prefix: str) -> tuple[str, str]:
    at_r1, at_r2 = await paths_at_r1(stack.r1_grpc, prefix), await paths_at_r2(stack, prefix)
    return at_r1[0]["next_hop"], at_r2[0]["next_hop"]


async def told(stack: Stack) -> list[Actuation]:
    records = await read_topic(stack.kafka, topics.ACTUATIONS.name)
    return [msgspec.json.decode(record.value, type=Actuation) for record in records]


def actuator(stack: Stack, skew_s: int) -> list[str]:
    skewed = [sys.executable, "-m", "tests.faults.skewed", str(skew_s)]
    return [*skewed, "actuator", "--cell", POP, "--config", str(stack.settings_file)]


async def a_host_that_is(skew_s: int, stack: Stack, windows: Windows) -> None:
    """Its actuator follows, survives a kill, and lets go when nobody decides any more."""
    name = f"actuator{skew_s:+d}"
    begun = len(await told(stack))
    await stack.spawn(name, actuator(stack, skew_s))

    async def follows() -> bool:
        await windows.decide(move(LIVE))
        await asyncio.sleep(EVERY_S)
        return await hops(stack, LIVE) == MOVED

    await eventually(follows)
    await windows.decide(move(LIVE), move(STALE), age_s=580.0)
    speakers = [GobgpSpeaker(each.injector.grpc, stack.pop.marker_community) for each in stack.pop.router]

    async def refused_it() -> bool:
        return any(record.prefix == STALE for record in (await told(stack))[begun:])

    await eventually(refused_it)

    async def was_just_renewed() -> bool:
        """On every router, so that its successor has as long as can be: it may start slowly on a busy machine."""
        await windows.decide(move(LIVE))
        ends_s = [(await speaker.routes())[LIVE].lease_end_s for speaker in speakers]
        return min(ends_s) - CLOCK.now_s() > LEASE_S - 5

    await eventually(was_just_renewed)
    for speaker in speakers:
        await speaker.close()
    await stack.runner.kill(name)  # its successor takes over what stands, also before it knows the time
    await stays(stack, windows)

    records = [record for record in (await told(stack))[begun:] if record.prefix in (LIVE, STALE)]
    assert [record.prefix for record in records if record.action == "withdrawn"] == []
    assert {(record.action, record.reason) for record in records if record.prefix == STALE} == {("refused", "too-late")}
    now_s = CLOCK.now_s()
    announced_at = [record.at.timestamp() for record in records if record.action == "announced"]
    assert all(now_s - 300 < at < now_s for at in announced_at), "records carry the broker's time"

    async def is_gone() -> bool:
        return await hops(stack, LIVE) == NATURAL

    await eventually(is_gone)
    assert CLOCK.now_s() - now_s < LEASE_S + 30
    lines = [line["message"] for line in log_lines(stack.runner.log(name))]
    way = "ahead of" if skew_s > 0 else "behind"
    assert any(f" s {way} the broker's" in line for line in lines)
    await stack.runner.stop(name)


async def stays(stack: Stack, windows: Windows) -> None:
    """For longer than a lease, the live override is renewed and stands on both edges, and the stale one never does."""
    until_s = CLOCK.monotonic_s() + LEASE_S + 10
    while CLOCK.monotonic_s() < until_s:
        await windows.decide(move(LIVE))
        await asyncio.sleep(EVERY_S)
        assert await hops(stack, LIVE) == MOVED
        assert await hops(stack, STALE) == NATURAL


async def test_ten_minutes_either_way_announce_nothing_stale_and_drop_nothing_live(daemons: None) -> None:
    settings = {"mode": "auto", "trust": UNSIGNED, "pacing": {"lease_s": LEASE_S}}
    async with (
        Stack(INVENTORY, announced(), StackOptions(settings=settings)) as stack,
        AIOKafkaProducer(bootstrap_servers=stack.kafka.broker) as producer,
    ):
        windows = Windows(producer)
        for skew_s in (600, -600):
            await a_host_that_is(skew_s, stack, windows)
