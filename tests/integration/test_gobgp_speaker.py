"""The speaker and its core against a real injector and a real edge, without Kafka: what goes in is best on the edge."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from app.actuation.bmp_witness import BmpWitness
from app.actuation.driver import Driver
from app.actuation.journal import Journal
from app.actuation.reconciler import Reconciler
from app.bgp.client import GobgpClient
from app.bgp.gobgp import GobgpSpeaker
from app.bgp.speaker import NO_EXPORT
from app.bgp.wire import SeenPath
from app.clock import SystemClock
from app.config.inventory import Injector
from app.contract.schemas import Actuation
from app.te.routing.path import Path
from app.te.routing.rib import Rib
from tests.app.actuation.pop import POP, PREFIX, PREFIX6, decision, exit_at, override
from tests.app.actuation.routes import MARKER, route
from tests.app.bgp.gobgpd import Gobgpd, running
from tests.integration.bgp import eventually

pytestmark = [pytest.mark.services]

EDGE, INJECTOR = "127.0.0.111", "127.0.0.121"
PREFIXES = (PREFIX, PREFIX6)


def config(address: str, peer: str, port: int, listens: bool) -> str:
    """A gobgpd with one iBGP session; only one side connects, or both need seconds to settle."""
    return f"""
[global.config]
as = 64512
router-id = "{address}"
port = {port if listens else -1}
local-address-list = ["{address}"]

[[neighbors]]
config.neighbor-address = "{peer}"
config.peer-as = 64512
transport.config.local-address = "{address}"
transport.config.remote-port = {port}
transport.config.passive-mode = {"true" if listens else "false"}
timers.config.hold-time = 9
timers.config.keepalive-interval = 3
timers.config.connect-retry = 2
timers.config.idle-hold-time-after-reset = 1

[[neighbors.afi-safis]]
config.afi-safi-name = "ipv4-unicast"

[[neighbors.afi-safis]]
config.afi-safi-name = "ipv6-unicast"
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((EDGE, 0))
        port: int = probe.getsockname()[1]
        return port


class Rig:
    """An edge with a path of its own for every prefix, its injector, and the actuator's core between the two."""

    def __init__(self, injector: Gobgpd, edge: Gobgpd) -> None:
        self.injector = injector
        self.edge = GobgpClient(edge.target)
        self.speaker = GobgpSpeaker(injector.target, MARKER)
        r1 = msgspec.structs.replace(POP.router[0], injector=Injector(INJECTOR, injector.target))
        self.pop = msgspec.structs.replace(
            POP, router=(r1,), link=tuple(each for each in POP.link if each.router == "r1")
        )
        self.rib = Rib()
        self.records: list[Actuation] = []
        self.at_edge: set[str] = set()
        journal = Journal(self.pop, SystemClock(), self.records.append, dry=False)
        self.reconciler = Reconciler(BmpWitness(self.pop, self.rib), SystemClock(), journal, lambda: True)
        self.driver = Driver(self.reconciler, {"r1": lambda: self.speaker}, SystemClock())

    async def begin(self) -> None:
        """Natural paths on the edge and in the Rib; wait for the session."""
        hops = {prefix: exit_at(1, 6 if ":" in prefix else 4).next_hop for prefix in PREFIXES}
        await self.edge.announce(
            route(prefix, hop, local_pref=100, communities=("64601:1",)) for prefix, hop in hops.items()
        )
        for prefix in PREFIXES:
            where = exit_at(2, 6 if ":" in prefix else 4)
            self.rib.peer_up("r1", where.peer, 64602)
            self.rib.update("r1", prefix, Path(where.peer, where.next_hop, (64602, 65010)))
        self.rib.peer_up("r1", INJECTOR, 64512)

    async def round(self) -> dict[str, SeenPath]:
        """What BMP would tell, one round of the driver, and what the edge uses now."""
        held = {path.prefix: path.attributes for path in await self.edge.paths() if path.neighbor_ip == INJECTOR}
        for prefix in PREFIXES:
            if (seen := held.get(prefix)) is None:
                self.rib.withdraw("r1", prefix, INJECTOR)
                continue
            large = tuple(":".join(map(str, each)) for each in seen.large_communities)
            path = Path(
                INJECTOR, seen.next_hop, seen.as_path, communities=seen.communities, large_communities=large, ebgp=False
            )
            self.rib.update("r1", prefix, path)
        self.reconciler.rib_changed(PREFIXES)
        self.reconciler.tick()
        await self.driver.routers["r1"].converge()
        return {path.prefix: path for path in await self.edge.paths() if path.best}

    def decide(self, seq: int, released: tuple[str, ...] = ()) -> None:
        wanted = [override(prefix, inject_on=("r1",)) for prefix in PREFIXES if prefix not in released]
        self.reconciler.follow(decision(SystemClock().now_s(), seq, wanted, released))

    async def ours(self) -> bool:
        best = await self.round()
        return all(best[prefix].neighbor_ip == INJECTOR for prefix in PREFIXES)

    async def natural(self) -> bool:
        best = await self.round()
        return all(best[prefix].local for prefix in PREFIXES)

    async def is_empty(self) -> bool:
        """Whether the edge has nothing from the injector; it is only looked at."""
        self.at_edge = {path.prefix for path in await self.edge.paths() if path.neighbor_ip == INJECTOR}
        return not self.at_edge

    async def is_back(self) -> bool:
        return not await self.is_empty()

    def told(self, action: str) -> list[str]:
        return sorted(each.prefix for each in self.records if each.action == action)


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    port = free_port()
    edge, injector = config(EDGE, INJECTOR, port, listens=True), config(INJECTOR, EDGE, port, listens=False)
    async with running(("edge", edge), ("injector", injector)) as [edge_daemon, injector_daemon]:
        made = Rig(injector_daemon, edge_daemon)
        await made.begin()
        await made.round()
        made.decide(1)
        await eventually(made.ours)  # gobgpd waits 5 to 9 s before it connects
        yield made
        await made.speaker.close()
        await made.edge.close()


async def test_overrides_are_best_on_the_edge_as_copies_with_our_marks_and_go_again() -> None:
    async with rig() as made:
        best = await made.round()
        for prefix in PREFIXES:
            shown = best[prefix].attributes
            assert shown.next_hop == exit_at(2, 6 if ":" in prefix else 4).next_hop
            assert shown.as_path == (64602, 65010)
            assert shown.local_pref == 1000
            assert shown.communities == (MARKER, NO_EXPORT)
        assert made.told("confirmed") == sorted(PREFIXES)
        made.decide(2, released=PREFIXES)
        await eventually(made.natural)
        assert made.told("withdrawn") == sorted(PREFIXES)
        assert made.reconciler.overrides.entries == {}


async def test_a_reset_takes_everything_from_the_edge_and_what_is_held_then_comes_back() -> None:
    async with rig() as made:
        await made.speaker.reset("autopilot: halted by file")
        await eventually(made.is_empty)
        await made.speaker.withdraw([PREFIX])
        await eventually(made.is_back)
        assert made.at_edge == {PREFIX6}


async def test_a_restarted_injector_is_filled_again_and_nothing_is_lost_on_the_way() -> None:
    async with rig() as made:
        await made.injector.stop()
        await eventually(made.natural)
        await made.injector.start()
        await eventually(made.ours)
        assert made.told("drift") == sorted(PREFIXES)
        assert {entry.state for entry in made.reconciler.overrides.entries.values()} == {"standing"}


async def test_a_lost_source_path_empties_edge_and_injector_at_once() -> None:
    async with rig() as made:
        began_s = asyncio.get_running_loop().time()
        made.reconciler.rib_changed(made.rib.peer_down("r1", exit_at(2).peer))
        await eventually(made.natural)
        assert asyncio.get_running_loop().time() - began_s < 1
        assert await made.speaker.routes() == {}
