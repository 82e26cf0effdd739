"""What stands outside of the pods: the routers of one PoP, their neighbours, and the traffic that they report.

`python -m tests.cluster.outside FILE` runs in a network namespace of its own, on a cable to the node. FILE is a
`Place`. Each line of stdin is a `Play`: it runs that scenario, and writes what came of it as a line of JSON. One that
is not judged goes on until another line comes, and says when that may be. It ends with stdin.
"""

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from ssl import create_default_context
from typing import Any, TypeVar

import aiohttp
import msgspec

from app.clock import SystemClock
from app.config.inventory import Pop, load_pop
from app.config.settings import Kafka
from app.contract import topics
from app.contract.schemas import LinkUtilization
from app.errors import AutopilotError, DaemonError
from app.feeds.flows import Flow, decode
from app.kafka.read import read_topic
from app.lab.daemons import collectors, exabgp, frr, gobgp
from app.lab.daemons.deployment import load_local, write_inventory, write_settings
from app.lab.daemons.machine import make_run_dir, open_site
from app.lab.daemons.ports import StackPorts
from app.lab.daemons.runner import POLL_S, Report, Runner
from app.lab.daemons.stack import Stack
from app.lab.demo.bounds import FigureValue
from app.lab.demo.display import Display
from app.lab.demo.evidence import ByteAccount
from app.lab.demo.killer import read_tables
from app.lab.demo.observe import published
from app.lab.demo.run import Demo, make_context
from app.lab.demo.state_client import StateClient
from app.lab.pop.engine import count_overrides
from app.lab.pop.model import Announcement
from app.lab.pop.pop import SimPop, generate
from app.lab.pop.scenario import load_scenario
from tests.cluster.pki import API

T = TypeVar("T")
SFLOW = 6343
PORTS = StackPorts(kafka=0, controller=0, sflow=SFLOW, bmp=1790, bgp=179)  # no broker is on this side of the cable
SEED = 1
WAIT_WITHIN_S = 600.0  # only what hangs takes so long
STATE_WITHIN_S = 120.0  # of a pod that starts again


class Place(msgspec.Struct, frozen=True):
    """Where a PoP is, and how it reaches what is in pods."""

    folder: str
    inventory: str
    settings: dict[str, Any]  # of autopilot.toml: how to reach the broker, and what the workers have
    sflow: str  # what the routers send sFlow to
    bmp: str
    pki: str
    state: str  # the path at the API server that leads to telemetry


class Play(msgspec.Struct, frozen=True):
    """A scenario to run. `judged` is whether it is judged as the demo is, for which it must be the first of its PoP."""

    scenario: str
    judged: bool = False


class Played(msgspec.Struct, frozen=True):
    """What came of it, in bytes. The `undelivered` of those lost have not even reached Kafka.

    `aside` are those that telemetry has counted, but in no window: they came too late, or have no place.
    """

    sent: int
    lost: int
    undelivered: int
    doubled: int
    aside: int
    ok: bool = True
    failed: list[str] = []
    figures: dict[str, Any] = {}


class Outside(Stack):
    """The routers of a PoP and their neighbours. Broker, collectors and workers are in pods."""

    def __init__(self, place: Place, routes: Mapping[str, Sequence[Announcement]], report: Report) -> None:
        super().__init__(Path(place.inventory), routes, on_progress=report)
        self._place = place

    async def _start(self) -> None:
        place = self._place
        self.run_dir = make_run_dir(Path(place.folder))
        inventory = write_inventory(self.run_dir, self._inventory)
        self.pop = load_pop(inventory)
        site = open_site(self.run_dir, collector=place.bmp)
        self.site = msgspec.structs.replace(site, ports=PORTS)
        self.sflow = place.sflow, SFLOW
        self.settings_file = write_settings(self.run_dir, inventory, "", place.settings)
        self.deployment = load_local(self.settings_file)
        self.kafka = self.deployment.settings.kafka
        r1, r2 = self.pop.router
        self.r1_grpc, self.r2_vty = gobgp.target(self.site, r1.name), frr.vty_socket(self.site, r2)
        self.runner = await self._exit.enter_async_context(Runner(self.run_dir, self.site.user, self._progress))
        self._collects.set()
        await self._start_bgp(r1, r2)
        async with collectors.bmp_arrivals(self.kafka, self.pop, self._reported(r1, r2), self._routes) as probe:
            await self.runner.ready(r1.name, probe, WAIT_WITHIN_S)

    async def _start_injectors(self) -> None:
        """They are in the actuator's pod."""

    async def _wait_for_injectors(self) -> None:
        """The routers have seen them, since their sessions are up."""

    async def revive(self, peer: str) -> None:
        """Start a neighbour again that was killed, and wait until its session is up."""
        r1, r2 = self.pop.router
        router, session = next(
            (self.pop.routers[link.router], session)
            for link in self.pop.link
            for session in link.sessions
            if session.peer == peer
        )
        await self.runner.stop(exabgp.name_of(peer))
        await exabgp.start_neighbour(self.runner, self.site, self.pop, router, session, self._routes.get(peer, ()))
        await self._wait_for_sessions(r1, r2)


class PodState(StateClient):
    """Reads telemetry's state through the API server."""

    def __init__(self, place: Place, pop: str) -> None:
        super().__init__(0, pop)
        self._path = place.state
        self._tls = create_default_context(cafile=f"{place.pki}/ca.crt")
        self._tls.load_cert_chain(f"{place.pki}/admin.crt", f"{place.pki}/admin.key")

    async def get(self, name: str, kind: type[T]) -> T:
        """The document; DaemonError if the pod has it not even after it started again."""
        reason = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STATE_WITHIN_S):
                while True:
                    try:
                        return msgspec.json.decode((await self._documents(name))[self._pop], type=kind)
                    except (aiohttp.ClientError, KeyError, msgspec.MsgspecError) as error:
                        reason = repr(error)
                    await asyncio.sleep(POLL_S)
        raise DaemonError(f"telemetry does not serve its {name} for {STATE_WITHIN_S:g} s; {reason}")

    async def _documents(self, name: str) -> dict[str, msgspec.Raw]:
        # The API server hands on the name that it is asked for, and telemetry does not know its name.
        async with (
            aiohttp.ClientSession(headers={"Host": "localhost"}) as session,
            session.get(f"{API}{self._path}/state/{name}", ssl=self._tls) as answer,
        ):
            return msgspec.json.decode(await answer.read(), type=dict[str, msgspec.Raw])


class PodDemo(Demo):
    """A demo whose workers are in pods, where others start them."""

    async def _start_workers(self) -> None:
        self._display.note("waiting until telemetry knows every route")
        if not await self._until(self._routes_known, WAIT_WITHIN_S):
            raise DaemonError(f"telemetry still lacks routes after {WAIT_WITHIN_S:g} s")

    async def carry(self, over: Callable[[], Awaitable[object]]) -> None:
        """Run the traffic until `over`, and wait until telemetry has counted it; DaemonError if it does not.

        Overrides stand when it asks, and once more when that has come.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._traffic())
            await self._moved()
            await over()
            await self._moved()
            self._context.sim.stop()
        if not await self._drain():
            raise DaemonError("telemetry has not closed the last windows")

    async def _moved(self) -> None:
        marker = self._stack.pop.marker_community

        async def stand() -> bool:
            return count_overrides(await read_tables(self._context.readers), marker) > 0

        if not await self._until(stand, WAIT_WITHIN_S):
            raise DaemonError(f"no override stands within {WAIT_WITHIN_S:g} s")


async def play(
    outside: Outside,
    place: Place,
    wanted: Play,
    display: Display,
    sim_pop: SimPop,
    over: Callable[[], Awaitable[object]],
) -> Played:
    """Run one scenario, and count its bytes. One that is not judged goes on until `over`."""
    clock = SystemClock()
    scenario = load_scenario(wanted.scenario, outside.pop)
    state = PodState(place, outside.pop.name)
    context = make_context(scenario, outside, sim_pop, state, clock)
    began_s, before = clock.now_s(), await aside(state)
    demo = PodDemo(context, display)
    try:
        figures: dict[str, FigureValue] = {}
        if wanted.judged:
            figures = await demo.run(clock.monotonic_s())
            if killed := figures["killed_neighbour"]:
                await outside.revive(str(killed))
        else:
            await demo.carry(over)
    finally:
        for reader in context.readers.values():
            await reader.close()
    sent = context.sim.account.sampled_bytes
    found = await counted(outside.kafka, outside.pop.name, began_s)
    undelivered = sent - await delivered(outside.kafka, outside.pop, began_s)
    ok, failed = figures.get("ok", True), figures.get("failed", [])
    assert isinstance(ok, bool)
    assert isinstance(failed, list)
    set_aside = await aside(state) - before
    lost, doubled = (sent - found).total() - set_aside, (found - sent).total()
    return Played(sent.total(), max(lost, 0), undelivered.total(), doubled, set_aside, ok, failed, dict(figures))


async def aside(state: StateClient) -> int:
    """What telemetry has counted so far in no window."""
    account = await state.get("progress", ByteAccount)
    return account.late_bytes + sum(account.unattributed_bytes.values())


async def delivered(kafka: Kafka, pop: Pop, since_s: float) -> Counter[str]:
    """The sampled bytes of each link in records that sfacctd has written to Kafka from then on."""
    routers = {router.agent_address: router.name for router in pop.router}
    found: Counter[str] = Counter()
    for record in await read_topic(kafka, topics.FLOWS.for_pop(pop.name)):
        for item in decode(record.value) if record.timestamp / 1000 >= since_s else ():
            if isinstance(item, Flow):
                link = pop.link_by_interface[routers[item.exporter], item.iface_out]
                found[link] += item.size_bytes * item.sampling_rate
    return found


async def counted(kafka: Kafka, pop: str, since_s: float) -> Counter[str]:
    """The sampled bytes of each link that telemetry has published for windows from then on."""
    found: Counter[str] = Counter()
    for record in await published(kafka, topics.LINK_UTILIZATION.name, LinkUtilization):
        if record.pop == pop and record.window_start.timestamp() + record.window_s > since_s:
            found[record.link] += record.sampled_bytes
    return found


async def serve(place: Place) -> None:
    """Start the routers, then play what is asked for on stdin until that ends."""
    display = Display(live=False)
    sim_pop = generate(load_pop(Path(place.inventory)), SEED)
    asked = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(asked)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async with Outside(place, sim_pop.announcements, display.note) as outside:

        async def over() -> None:
            print("{}", flush=True)
            await asked.readline()

        print("{}", flush=True)
        while line := await asked.readline():
            played = await play(outside, place, msgspec.json.decode(line, type=Play), display, sim_pop, over)
            print(msgspec.json.encode(played).decode(), flush=True)


def main(file: Path) -> int:
    """Serve the place that the file describes; 1 with a line on stderr if something fails."""
    try:
        asyncio.run(serve(msgspec.json.decode(file.read_bytes(), type=Place)))
    except AutopilotError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
