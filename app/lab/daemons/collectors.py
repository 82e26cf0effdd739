"""pmacct's collectors: sfacctd receives sFlow, pmbmpd receives BMP; both write JSON to Kafka."""

import json
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

from app.config.collectors import PMBMPD_LINES, SFACCTD_LINES, collector_files
from app.config.inventory import Pop
from app.config.settings import Kafka
from app.contract.topics import BMP, COUNTERS, FLOWS
from app.kafka.credentials import load, read
from app.lab.daemons.kafka import arrivals, reached_at
from app.lab.daemons.machine import Site, binary, fill
from app.lab.daemons.ports import udp_holders
from app.lab.daemons.runner import Probe, Program, Runner
from app.lab.pop.model import Announcement

NAMES = ("sfacctd", "pmbmpd")


class Ways(NamedTuple):
    """How a collector reaches the broker, and how we do, to read what it has written."""

    theirs: Kafka
    ours: Kafka


async def start_sfacctd(runner: Runner, site: Site, pop: Pop, refresh_s: int, ways: Ways | None = None) -> None:
    """Start sfacctd and wait for its first marker in Kafka; DaemonError unless it alone holds its port.

    The ways lead to the plain broker of the site, unless given.
    """
    port, (kafka, ours) = site.ports.sflow, ways or _plain(site)
    topics = {"flows_topic": FLOWS.for_pop(pop.name), "counters_topic": COUNTERS.for_pop(pop.name)}
    text = fill("sfacctd.conf", sflow=port, kafka=_port(kafka), refresh_s=refresh_s, **topics)
    config = site.write("sfacctd.conf", text + _rendered(site.make_folder("sfacctd"), pop, kafka)[SFACCTD_LINES])

    async def owns_its_port() -> str | None:
        holders = udp_holders(port)
        return None if len(holders) == 1 else f"UDP port {port} is held by {', '.join(holders) or 'no process'}"

    # sfacctd blocks SIGTERM until the next datagram arrives; on SIGINT it purges and exits.
    argv = (binary("sfacctd"), "-f", str(config))
    await runner.start(Program(name="sfacctd", argv=argv, stop_signal=signal.SIGINT), owns_its_port)
    async with arrivals(ours, FLOWS.for_pop(pop.name), {"purge_init"}, _markers) as marker:
        await runner.ready("sfacctd", marker)


async def start_pmbmpd(runner: Runner, site: Site, pop: Pop, kafka: Kafka | None = None) -> None:
    """Start pmbmpd without waiting: it is ready once routers have connected to it, see `wait_for_bmp`."""
    kafka = kafka or _plain(site).theirs
    text = fill("pmbmpd.conf", bmp=site.ports.bmp, kafka=_port(kafka), bmp_topic=BMP.for_pop(pop.name))
    config = site.write("pmbmpd.conf", text + _rendered(site.make_folder("pmbmpd"), pop, kafka)[PMBMPD_LINES])
    argv = (binary("pmbmpd"), "-f", str(config))
    await runner.start(Program(name="pmbmpd", argv=argv, stop_signal=signal.SIGINT))


async def wait_for_bmp(
    runner: Runner, kafka: Kafka, pop: Pop, peers: Iterable[str], routes: Mapping[str, Sequence[Announcement]]
) -> None:
    """Wait until `bmp_arrivals` finds nothing missing; DaemonError if anything is missing after a while."""
    async with bmp_arrivals(kafka, pop, peers, routes) as probe:
        await runner.ready("pmbmpd", probe)


def bmp_arrivals(
    kafka: Kafka, pop: Pop, peers: Iterable[str], routes: Mapping[str, Sequence[Announcement]]
) -> AbstractAsyncContextManager[Probe]:
    """A probe: Kafka has the BMP init of every router, a peer_up of every peer and every route in `routes`.

    `routes` maps a peer's address to its announcements.
    """
    wanted: set[tuple[str, ...]] = {("init", router.bmp_sysname) for router in pop.router}
    wanted |= {("peer_up", peer) for peer in peers}
    wanted |= {("route", peer, route.prefix) for peer, announced in routes.items() for route in announced}
    return arrivals(kafka, BMP.for_pop(pop.name), wanted, _bmp_facts)


def _plain(site: Site) -> Ways:
    kafka = reached_at(f"127.0.0.1:{site.ports.kafka}")
    return Ways(kafka, kafka)


def _port(kafka: Kafka) -> int:
    """The port of a broker on loopback, where the templates have it."""
    return int(kafka.broker.rpartition(":")[2])


def _rendered(folder: Path, pop: Pop, kafka: Kafka) -> dict[str, str]:
    """Write the files that `autopilot render collectors` writes."""
    password = load(kafka, read(kafka)).password
    files = collector_files(pop, folder, kafka, password)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return files


def _markers(value: bytes) -> Iterable[str]:
    return [json.loads(line)["event_type"] for line in value.splitlines() if line]


def _bmp_facts(value: bytes) -> Iterable[tuple[str, ...]]:
    record = json.loads(value)
    match record.get("bmp_msg_type"):
        case "init":
            yield "init", record.get("bmp_init_info_sysname", "")
        case "peer_up":
            yield "peer_up", record["peer_ip"]
        case "route_monitor" if record["log_type"] == "update":
            yield "route", record["peer_ip"], record["ip_prefix"]
