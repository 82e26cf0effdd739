"""BMP that is not to be believed, with real daemons: a dead collector, and strangers who say that they are a router."""

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

from app.clock import SystemClock
from app.config.inventory import load_pop
from app.contract import topics
from app.contract.schemas import Exit, NaturalExit, Override, SourcePath
from app.lab.daemons import frr, gobgp
from app.lab.daemons.stack import Stack, StackOptions
from app.lab.pop.model import Announcement
from tests.integration.bgp import eventually
from tests.integration.conftest import INVENTORY
from tests.integration.kafka_reader import Record, records_until
from tests.integration.loglines import log_lines
from tests.integration.test_actuator import POP, TARGET_PEER, Telemetry

pytestmark = [pytest.mark.services]

MANY = tuple(f"20.0.{third}.0/24" for third in range(52))
BMP_SILENCE_S = 30.0
DECIDES_EVERY_S = 5.0


def announcements() -> dict[str, list[Announcement]]:
    """Every neighbour announces all of MANY behind its own AS."""
    sessions = [session for link in load_pop(INVENTORY).link for session in link.sessions]
    return {
        session.peer: [Announcement(prefix, session.next_hops[0], (session.asn, 65010), med=10) for prefix in MANY]
        for session in sessions
    }


def move(prefix: str) -> Override:
    return Override(
        prefix=prefix,
        exit=Exit("r1", "rhv1000/r1/et-0/0/2", TARGET_PEER, "198.51.100.2"),
        inject_on=("r1", "r2"),
        natural=(NaturalExit("r1", "rhv1000/r1/et-0/0/1", 1.0),),
        source_path=SourcePath((64602, 65010), "igp", 10),
        bps=1e9,
        reason="rhv1000/r1/et-0/0/1 is congested",
    )


class Moved:
    """A stack whose actuator has moved all of MANY to the exchange of r1."""

    def __init__(self, stack: Stack, telemetry: Telemetry) -> None:
        self.stack = stack
        self.telemetry = telemetry

    async def decide(self) -> None:
        await self.telemetry.decide(*map(move, MANY))

    async def overridden(self) -> dict[str, int]:
        """How many prefixes follow our routes on each edge."""
        rib = await gobgp.gobgp(self.stack.r1_grpc, "global", "rib")
        at_r1 = [path for paths in rib.values() for path in paths if path.get("best")]
        shown = await frr.vty(self.stack.r2_vty, "show bgp ipv4 unicast json")
        at_r2 = [path for paths in shown["routes"].values() for path in paths if path.get("bestpath")]
        return {
            "r1": sum(path.get("neighbor-ip") == "127.0.0.21" for path in at_r1),
            "r2": sum(path.get("peerId") == "127.0.0.22" for path in at_r2),
        }

    async def are(self, count: int) -> bool:
        return await self.overridden() == {"r1": count, "r2": count}

    async def all_moved(self) -> bool:
        return await self.are(len(MANY))

    async def withdrawn(self) -> list[Record]:
        """The withdrawals, once there is one for each prefix and router."""

        def those(records: list[Record]) -> list[Record]:
            return [record for record in records if record["action"] == "withdrawn"]

        topic = topics.ACTUATIONS.name
        return those(
            await records_until(self.stack.kafka.broker, topic, lambda all_: len(those(all_)) >= 2 * len(MANY))
        )


@asynccontextmanager
async def moved() -> AsyncIterator[Moved]:
    async with Stack(INVENTORY, announcements(), StackOptions(settings={"mode": "auto"})) as stack:
        argv = [sys.executable, "-m", "app", "actuator", "--cell", POP, "--config", str(stack.settings_file)]
        await stack.spawn("actuator", argv)
        telemetry = Telemetry(stack.deployment)
        await telemetry.start()
        try:
            made = Moved(stack, telemetry)

            async def decided() -> bool:
                await made.decide()
                await asyncio.sleep(1)
                return await made.all_moved()

            await eventually(decided)
            yield made
        finally:
            await telemetry.close()


async def test_with_the_collector_dead_all_overrides_to_a_dead_neighbour_go(daemons: None) -> None:
    """Decisions go on and renew all of them. BMP does not report the neighbour's death; the edge's own gobgpd does."""
    clock = SystemClock()
    async with moved() as made:

        async def go_on_deciding() -> None:
            while True:
                await made.decide()
                await asyncio.sleep(DECIDES_EVERY_S)

        deciding = asyncio.create_task(go_on_deciding())
        await made.stack.runner.kill("pmbmpd")
        killed_s = await made.stack.kill_neighbour(TARGET_PEER)

        async def gone() -> bool:
            return await made.are(0)

        await eventually(gone)
        took_s = clock.now_s() - killed_s
        withdrawn = await made.withdrawn()
        deciding.cancel()
        assert {record["reason"] for record in withdrawn} == {"source-path-lost"}
        assert took_s < BMP_SILENCE_S, f"gone {took_s:.1f} s after the neighbour's death"
        assert await made.are(0), "no decision has put them back"


def initiation(sysname: str) -> bytes:
    """A BMP initiation message with this sysName and nothing else: RFC 7854, section 4.3."""
    tlv = struct.pack(">HH", 2, len(sysname)) + sysname.encode()
    return struct.pack(">BIB", 3, 6 + len(tlv), 4) + tlv


async def forge(stack: Stack, source: str, sysname: str) -> None:
    """A stranger's connection to pmbmpd, which may take only four at a time, from its first byte to its end."""
    collector = ("127.0.0.1", stack.site.ports.bmp)
    with socket.create_connection(collector, source_address=(source, 0)) as stranger:
        port = stranger.getsockname()[1]
        stranger.sendall(initiation(sysname))

    def has_ended(records: list[Record]) -> bool:
        return any((each["event_type"], each["bmp_router_port"]) == ("log_close", port) for each in records)

    await records_until(stack.kafka.broker, topics.BMP.for_pop(POP), has_ended)


async def test_strangers_who_say_to_be_a_router_change_nothing_and_are_named(daemons: None) -> None:
    """From another router's address, and from their own, which in this stack is that of the whole machine. Others are
    not on the collector's list."""
    clock = SystemClock()
    async with moved() as made:
        stack = made.stack
        argv = [sys.executable, "-m", "app", "telemetry", "--cell", POP, "--config", str(stack.settings_file)]
        await stack.spawn("telemetry", argv)
        await forge(stack, "127.0.0.12", "r1")
        await forge(stack, "127.0.0.1", "r1")
        await forge(stack, "127.0.0.1", "core9")
        forged_s = clock.now_s()

        def enough(records: list[Record]) -> bool:
            return bool(records) and datetime.fromisoformat(records[-1]["window_start"]).timestamp() > forged_s + 35

        sources = (await records_until(stack.kafka.broker, topics.SOURCES.name, enough))[-1]
        notices = {(notice["kind"], notice["where"]): notice["text"] for notice in sources["notices"]}
        assert notices.keys() >= {("bmp-name-taken", "r1"), ("bmp-stranger", "core9")}
        assert [router["doubtful"] for router in sources["routers"].values()] == [False, False]
        assert [router["bmp_statistics"] for router in sources["routers"].values()] == [True, True]
        assert await made.all_moved()
        withdrawn = [line for line in log_lines(stack.runner.log("actuator")) if "withdrawn" in line["message"]]
        assert withdrawn == []
