"""Starts the PoP: our collectors, injectors and workers from the laboratory, other people's software on the edges."""

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import msgspec

from app.config.inventory import Pop, load_pop
from app.config.settings import Deployment, Kafka
from app.contract import topics
from app.errors import DaemonError
from app.kafka.admin import create_topics
from app.lab.daemons import collectors, frr, gobgp
from app.lab.daemons.commands import output
from app.lab.daemons.deployment import SETTINGS, load_local, write_settings
from app.lab.daemons.kafka import format_storage, reached_at, start_kafka
from app.lab.daemons.machine import Site, make_run_dir, open_site
from app.lab.daemons.runner import Program, Runner
from app.lab.demo.run import RouterRib
from app.lab.demo.state_client import StateClient
from app.lab.pop.model import Announcement, RouterTable
from app.lab.pop.ribs import FrrRib
from tests.foreign import bird
from tests.foreign.host import ip, open_tap, prepare_kernel, tool
from tests.foreign.openvswitch import Switch
from tests.foreign.wires import Send, Wires

HERE = Path(__file__).parent
MIRROR = "127.0.0.13"
MAC = "02:00:00:00:00:01"  # to which app.lab.pop.packets addresses every frame
FAR_MAC = "02:00:00:00:00:02"
LINK_MBPS = 10
SAMPLING = 5  # one packet in so many
POLLING_S = 5  # of Open vSwitch; sfprobe sends its counters every 20 s and has no setting for it
HOSTS1, HOSTS2, CORE = "hosts1", "hosts2", "core"
POLL_S = 0.2

MOVABLE = tuple(f"20.0.{third}.0/24" for third in range(7))  # announced by every neighbour
FROM_EDGE2 = "20.0.7.0/24"  # as those
MOVABLE6 = "2001:db8:20::/48"  # as those
IXP_ONLY, TRANSIT_ONLY = "20.1.0.0/24", "20.2.0.0/24"
ROUTES = {
    "pni": (*MOVABLE, FROM_EDGE2, MOVABLE6),
    "ixp": (*MOVABLE, FROM_EDGE2, MOVABLE6, IXP_ONLY),
    "transit": (*MOVABLE, FROM_EDGE2, MOVABLE6, TRANSIT_ONLY),
}


class Rig(NamedTuple):
    """The running PoP, and what may be asked of it."""

    site: Site
    runner: Runner
    deployment: Deployment
    pop: Pop
    kafka: Kafka
    state: StateClient
    wires: Wires
    forwarding: "Forwarding"


class Forwarding:
    """Keeps the flow table of Open vSwitch as FRR's best routes are: what a router does between its two planes."""

    def __init__(self, pop: Pop, vty: Path, switch: Switch) -> None:
        edge, other = pop.router
        self._rib = FrrRib(vty)
        self._switch = switch
        self._ports = {
            hop: pop.links[link].name for (router, hop), link in pop.link_by_next_hop.items() if router == edge.name
        }
        self._ports |= dict.fromkeys(other.loopbacks, CORE)
        self._installed: dict[str, str] = {}
        self.table: RouterTable = {}

    async def run(self) -> None:
        """Follow FRR's table until cancelled."""
        while True:
            self.table = await self._rib.best()
            wanted = {
                prefix: self._ports[path.next_hop]
                for prefix, path in self.table.items()
                if path.next_hop in self._ports
            }
            changed: dict[str, str | None] = {
                prefix: wanted.get(prefix)
                for prefix in {*wanted, *self._installed}
                if wanted.get(prefix) != self._installed.get(prefix)
            }
            if changed:
                await self._switch.forward(changed)
                self._installed = wanted
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def foreign_pop() -> AsyncIterator[Rig]:
    """The whole PoP with both workers, all routes known and no traffic yet; call it in a network namespace of its own.

    If something fails, the run directory stays for its logs.
    """
    run_dir = make_run_dir(None)
    try:
        async with AsyncExitStack() as cables:
            await prepare_kernel()
            taps = {name: open_tap(name) for name in (*ROUTES, HOSTS2)}
            for tap in taps.values():
                cables.callback(os.close, tap)
            async with _running(run_dir, taps) as rig:
                yield rig
    except Exception as error:
        error.add_note(f"the logs are in {run_dir}")
        raise
    shutil.rmtree(run_dir)


@asynccontextmanager
async def _running(run_dir: Path, taps: Mapping[str, int]) -> AsyncIterator[Rig]:
    await _connect_links()
    addresses = [MIRROR, *(f"127.0.0.{number}" for number in (11, 12, 21, 22, 31, 32, 33))]
    site = open_site(run_dir, addresses)
    async with Runner(run_dir, site.user) as runner:
        switch = Switch(site, (HOSTS1, CORE), ("pni", "ixp"))
        await switch.start(runner)
        await _connect_edges()
        with closing(_port(HOSTS1)) as hosts1:
            entries: dict[str, Send] = {HOSTS1: hosts1.send, HOSTS2: partial(os.write, taps[HOSTS2])}
            rig = _rig(site, runner, Wires(entries, {link: taps[link] for link in ROUTES}), switch)
            await _start_feeds(rig)
            await _start_agents(rig, switch)
            await _start_bgp(rig)
            async with beside(rig.forwarding.run(), rig.wires.run()):
                await _start_workers(rig)
                yield rig


@asynccontextmanager
async def beside(*jobs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run endless jobs beside the block, which fails as soon as one of them does."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job) for job in jobs]
        yield
        for task in tasks:
            task.cancel()


async def _connect_links() -> None:
    """Bring up links and edge2's other interface. The links get a speed, which their agents report."""
    for link in ROUTES:
        await output(tool("ethtool"), "-s", link, "speed", str(LINK_MBPS), "duplex", "full")
    await ip(
        f"link set {HOSTS2} address {MAC}",
        *(f"link set {name} up" for name in (*ROUTES, HOSTS2)),
        "addr add 198.51.100.10/30 dev transit",
        f"neigh replace 198.51.100.9 lladdr {FAR_MAC} nud permanent dev transit",
    )


async def _connect_edges() -> None:
    """Connect edge2, which is the kernel, to its port of the switch, which is edge1."""
    await ip(
        "addr add 192.0.2.12 peer 192.0.2.11/32 dev core",
        f"neigh replace 192.0.2.11 lladdr {FAR_MAC} nud permanent dev core",
    )


def _rig(site: Site, runner: Runner, wires: Wires, switch: Switch) -> Rig:
    values = {name: socket.if_nametoindex(name) for name in (HOSTS1, HOSTS2, CORE, *ROUTES)}
    inventory = site.write(
        "pop.toml", Template((HERE / "pop.toml").read_text()).substitute(values, run_dir=site.run_dir)
    )
    kafka = reached_at(f"127.0.0.1:{site.ports.kafka}")
    settings = {"mode": "auto", "pacing": {"min_stay_s": 10.0}}
    deployment = load_local(write_settings(site.run_dir, inventory, kafka.broker, settings))
    pop = load_pop(inventory)
    state = StateClient(deployment.settings.state_port, pop.name)
    forwarding = Forwarding(pop, frr.vty_socket(site, pop.router[0]), switch)
    return Rig(site, runner, deployment, pop, kafka, state, wires, forwarding)


def _port(interface: str) -> socket.socket:
    """A socket that sends whole frames by an interface."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    port.bind((interface, 0))
    port.setblocking(False)
    return port


async def _start_feeds(rig: Rig) -> None:
    site, runner, pop = rig.site, rig.runner, rig.pop
    await format_storage(runner, site)
    await start_kafka(runner, site)
    await create_topics(rig.kafka, topics.named([pop.name]))
    await collectors.start_pmbmpd(runner, site, pop)
    await collectors.start_sfacctd(runner, site, pop, rig.deployment.settings.windows.refresh_s)


async def _start_agents(rig: Rig, switch: Switch) -> None:
    """Make both edges send sFlow. sfprobe sees packets only as they leave, so it names no input interface."""
    edge1, edge2 = rig.pop.router
    collector = f"127.0.0.1:{rig.site.ports.sflow}"
    await switch.export_sflow(edge1.agent_address, collector, SAMPLING, POLLING_S)
    values = {
        "agent": edge2.agent_address,
        "collector": collector,
        "interface": "transit",
        "ifindex": socket.if_nametoindex("transit"),
        "speed_bps": LINK_MBPS * 1_000_000,
        "sampling": SAMPLING,
    }
    config = rig.site.write("sfprobe.conf", Template((HERE / "sfprobe.conf").read_text()).substitute(values))
    await rig.runner.start(Program(name="sfprobe", argv=(tool("pmacctd"), "-f", str(config)), keeps_user=True))


async def _start_bgp(rig: Rig) -> None:
    """Start routers, injectors and neighbours, and wait for every session and for their BMP.

    BIRD 2.0 speaks no BMP. A gobgpd with the same sessions and the same policy does it in its place.
    """
    site, runner, pop = rig.site, rig.runner, rig.pop
    edge1, edge2 = pop.router
    mirror = msgspec.structs.replace(edge2, ibgp_address=MIRROR)
    await bird.start_edge(runner, site, pop, edge2, "transit", CORE)
    await frr.start_edge(runner, site, pop, edge1)
    await gobgp.start_edge(runner, site, pop, mirror, export_policy=True)
    await gobgp.start_injector(runner, site, pop, edge1)
    await gobgp.start_injector(runner, site, pop, edge2, MIRROR)
    edges = {"pni": [edge1.ibgp_address], "ixp": [edge1.ibgp_address], "transit": [edge2.ibgp_address, MIRROR]}
    for link in pop.link:
        await bird.start_neighbour(runner, site, pop, link, ROUTES[link.name], edges[link.name])

    peers = {link.name: link.sessions[0].peer for link in pop.link}
    at_edge1 = {peers[link]: len(ROUTES[link]) for link in ("pni", "ixp")}
    at_edge1 |= {edge2.ibgp_address: 1, edge1.injector.address: 0}
    at_edge2 = {peers["transit"]: len(ROUTES["transit"]), edge2.injector.address: 0}
    await runner.ready(edge1.name, frr.established(frr.vty_socket(site, edge1), at_edge1))
    for name in (edge2.name, *edges):
        await runner.ready(f"bird-{name}", bird.established(site, name))
    await runner.ready(edge2.name, gobgp.established(gobgp.target(site, edge2.name), at_edge2))
    routes = {peers[link]: [Announcement(prefix, "", ()) for prefix in prefixes] for link, prefixes in ROUTES.items()}
    await collectors.wait_for_bmp(runner, rig.kafka, pop, {*at_edge1, *at_edge2}, routes)


async def _start_workers(rig: Rig) -> None:
    """Start telemetry and actuator, and wait until telemetry knows every route."""
    for process in ("telemetry", "actuator"):
        argv = [sys.executable, "-m", "app", process, "--cell", rig.pop.name]
        argv += ["--config", str(rig.site.path(SETTINGS))]
        # A broker on a busy machine may be silent for longer than a worker waits.
        await rig.runner.start(Program(name=process, argv=argv, restarts_max=5, keeps_user=True))

    async def knows_routes() -> str | None:
        try:
            ribs = await rig.state.get("rib", dict[str, RouterRib])
        except DaemonError as error:
            return str(error)
        lacking = [name for name in rig.pop.routers if name not in ribs or ribs[name].prefixes < len(ROUTES["transit"])]
        return f"lacks routes of {', '.join(lacking)}" if lacking else None

    await rig.runner.ready("telemetry", knows_routes)
