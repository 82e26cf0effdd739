"""The actuator as a process among real daemons: a decision in Kafka moves a prefix on both edges, and back."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from app.clock import SystemClock, utc
from app.config.key_files import signer_of
from app.config.settings import Deployment
from app.config.trusted_keys import trust_of
from app.contract import topics
from app.contract.schemas import Actuation, Decision, Exit, NaturalExit, Override, Released, SourcePath
from app.kafka.orders import ALL, Seal, send_control
from app.lab.daemons.stack import Stack, StackOptions
from tests.integration.bgp import eventually, paths_at_r1, paths_at_r2
from tests.integration.conftest import INVENTORY, PREFIXES, announced
from tests.integration.kafka_reader import records_until
from tests.integration.loglines import log_lines
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.services]

POP = "rhv1000"
TARGET_PEER = "127.0.0.32"
NATURAL, MOVED = ("198.51.100.1", "198.51.100.4"), ("198.51.100.2", "192.0.2.11")


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

    def __init__(self, deployment: Deployment, epoch: int = 7) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=deployment.settings.kafka.broker)
        self.signer = signer_of(deployment.settings, "decisions", [POP])
        self._epoch, self._seq = epoch, 0

    async def start(self) -> None:
        await self._producer.start()

    async def decide(self, *overrides: Override, released: tuple[str, ...] = ()) -> None:
        await self.write(topics.DECISIONS.for_pop(POP), self.decision(*overrides, released=released))

    def decision(self, *overrides: Override, released: tuple[str, ...] = (), signed: bool = True) -> bytes:
        """The next decision, as it stands in Kafka."""
        self._seq += 1
        now = utc(SystemClock().now_s())
        decision = Decision(
            pop=POP,
            epoch=self._epoch,
            seq=self._seq,
            mode="auto",
            window_start=now,
            made_at=now,
            add_until=now + timedelta(seconds=30),
            hold_until=now + timedelta(seconds=300),
            overrides=overrides,
            released=tuple(Released(prefix, "natural-load-fits") for prefix in released),
        )
        value = msgspec.json.encode(decision)
        if not signed or self.signer is None:
            return value
        return self.signer.sign(topics.DECISIONS.for_pop(POP), POP, value)

    async def write(self, topic: str, value: bytes, key: str = POP) -> None:
        """Write any record."""
        await self._producer.send_and_wait(topic, value, key=key.encode())

    async def close(self) -> None:
        await self._producer.stop()


class Acting:
    """A stack with an actuator in auto mode, and what may be asked of it."""

    def __init__(self, stack: Stack, epoch: int = 7) -> None:
        self.stack = stack
        self.telemetry = Telemetry(stack.deployment, epoch)

    async def order(self, halt: bool) -> None:
        """Halt or resume every PoP, as the operator of this stack does."""
        settings = self.stack.deployment.settings
        signer = signer_of(settings, "control", [ALL])
        assert signer is not None
        await send_control(self.stack.kafka, ALL, halt, "a test", Seal(signer, trust_of(settings.trust)))

    async def hops(self, prefix: str) -> tuple[str, str]:
        """The next hops that r1 and r2 use."""
        at_r1, at_r2 = await paths_at_r1(self.stack.r1_grpc, prefix), await paths_at_r2(self.stack, prefix)
        return at_r1[0]["next_hop"], at_r2[0]["next_hop"]

    async def goes(self, to: tuple[str, str], *prefixes: str, within_s: float = PATIENCE_S) -> None:
        """Wait until both edges send these prefixes there."""

        async def is_so() -> bool:
            return all([await self.hops(prefix) == to for prefix in prefixes])

        await eventually(is_so, within_s)

    async def waits(self) -> bool:
        """The actuator has said that no broker answers it."""
        return any("waiting: broker" in line["message"] for line in log_lines(self.stack.runner.log("actuator")))

    async def told(self, action: str, count: int) -> list[Actuation]:
        """The records of this action, once there are so many."""
        return [each for each in await self.told_until(action, count) if each.action == action]

    async def told_until(self, action: str, count: int) -> list[Actuation]:
        """Every record from the first on, once there are so many of this action."""
        found = await records_until(
            self.stack.kafka.broker,
            topics.ACTUATIONS.name,
            lambda records: sum(record["action"] == action for record in records) >= count,
        )
        return [msgspec.convert(record, Actuation) for record in found]


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def acting() -> AsyncIterator[Acting]:
    async with Stack(INVENTORY, announced(), StackOptions(settings={"mode": "auto"})) as stack:
        argv = [sys.executable, "-m", "app", "actuator", "--cell", POP, "--config", str(stack.settings_file)]
        await stack.spawn("actuator", argv)
        made = Acting(stack)
        await made.telemetry.start()
        try:
            yield made
        finally:
            await made.telemetry.close()
        moves = [line for line in log_lines(stack.runner.log("actuator")) if line["logger"] == "app.actuation.journal"]
        assert {(line["pop"], line["router"]) for line in moves} == {(POP, "r1"), (POP, "r2")}
        assert {line["prefix"] for line in moves if "prefix" in line} <= {*PREFIXES}, "lines about one prefix name it"


async def test_decisions_releases_halts_and_losses_reach_both_edges(daemons: None) -> None:
    first, second, third = PREFIXES
    async with acting() as made:
        await made.telemetry.decide(move(first), move(second), move(third))
        await made.goes(MOVED, *PREFIXES)
        shown_at = {(each.router, each.prefix): each.at for each in await made.told("confirmed", 6)}
        sent_at = {(each.router, each.prefix): each.at for each in await made.told("announced", 6)}
        assert all(shown_at["r1", prefix] <= sent_at["r2", prefix] for prefix in PREFIXES), "the exit comes first"

        await made.telemetry.decide(move(second), move(third), released=(first,))
        await made.goes(NATURAL, first)

        await made.order(halt=True)
        await made.goes(NATURAL, second, third)
        await made.order(halt=False)

        async def back() -> bool:
            """An actuator that is still halted follows none of these."""
            await made.telemetry.decide(move(second), move(third))
            await asyncio.sleep(0.2)
            return await made.hops(second) == await made.hops(third) == MOVED

        await eventually(back)
        killed_s = await made.stack.kill_neighbour(TARGET_PEER)

        async def off() -> bool:
            return not {*MOVED} & {*await made.hops(second), *await made.hops(third)}

        await eventually(off)
        lost = (await made.told("withdrawn", 10))[-4:]
        assert {each.reason for each in lost} == {"source-path-lost"}
        assert max(each.at.timestamp() for each in lost) - killed_s < 2.0


async def test_a_killed_actuator_leaves_the_routes_and_its_successor_takes_them_over(daemons: None) -> None:
    first, second, _ = PREFIXES
    async with acting() as made:
        await made.telemetry.decide(move(first), move(second))
        await made.goes(MOVED, first, second)
        await made.told("announced", 4)  # what is not yet written dies with the process
        with frozen(made.stack.runner.pid("kafka")):
            await made.stack.runner.kill("actuator")  # the runner starts it again
            await eventually(made.waits)
            assert await made.hops(first) == await made.hops(second) == MOVED
        await made.told("drift", 4)  # found at start
        await made.goes(MOVED, first, second)
        await made.telemetry.decide(move(second), released=(first,))
        await made.goes(NATURAL, first)
        assert await made.hops(second) == MOVED
        actions = [each.action for each in await made.told_until("withdrawn", 2)]
        assert actions.count("announced") == 4, "nothing was announced again"
