"""pmacct's collectors: sfacctd receives sFlow, pmbmpd receives BMP; both write JSON to Kafka."""

import json
import signal
from collections.abc import Iterable, Mapping, Sequence

from app.config.collectors import PMBMPD_LINES, SFACCTD_LINES, collector_files
from app.config.inventory import Pop
from app.contract.topics import BMP, COUNTERS, FLOWS
from app.lab.daemons.kafka import arrivals, reached_at
from app.lab.daemons.machine import Site, binary, fill
from app.lab.daemons.ports import udp_holders
from app.lab.daemons.runner import Program, Runner
from app.lab.pop.model import Announcement

NAMES = ("sfacctd", "pmbmpd")


async def start_sfacctd(runner: Runner, site: Site, pop: Pop, refresh_s: int) -> None:
    """Start sfacctd and wait for its first marker in Kafka; DaemonError unless it alone holds its port."""
    port = site.ports.sflow
    topics = {"flows_topic": FLOWS.for_pop(pop.name), "counters_topic": COUNTERS.for_pop(pop.name)}
    text = fill("sfacctd.conf", sflow=port, kafka=site.ports.kafka, refresh_s=refresh_s, **topics)
    config = site.write("sfacctd.conf", text + _rendered(site, pop)[SFACCTD_LINES])

    async def owns_its_port() -> str | None:
        holders = udp_holders(port)
        return None if len(holders) == 1 else f"UDP port {port} is held by {', '.join(holders) or 'no process'}"

    # sfacctd blocks SIGTERM until the next datagram arrives; on SIGINT it purges and exits.
    argv = (binary("sfacctd"), "-f", str(config))
    await runner.start(Program(name="sfacctd", argv=argv, stop_signal=signal.SIGINT), owns_its_port)
    async with arrivals(
        reached_at(f"127.0.0.1:{site.ports.kafka}"), FLOWS.for_pop(pop.name), {"purge_init"}, _markers
    ) as marker:
        await runner.ready("sfacctd", marker)


async def start_pmbmpd(runner: Runner, site: Site, pop: Pop) -> None:
    """Start pmbmpd without waiting: it is ready once routers have connected to it, see `wait_for_bmp`."""
    text = fill("pmbmpd.conf", bmp=site.ports.bmp, kafka=site.ports.kafka, bmp_topic=BMP.for_pop(pop.name))
    config = site.write("pmbmpd.conf", text + _rendered(site, pop)[PMBMPD_LINES])
    argv = (binary("pmbmpd"), "-f", str(config))
    await runner.start(Program(name="pmbmpd", argv=argv, stop_signal=signal.SIGINT))


async def wait_for_bmp(
    runner: Runner, site: Site, pop: Pop, peers: Iterable[str], routes: Mapping[str, Sequence[Announcement]]
) -> None:
    """Wait until Kafka has the BMP init of every router, a peer_up of every peer and every route in `routes`.

    `routes` maps a peer's address to its announcements. DaemonError if anything is missing after 30 s.
    """
    wanted: set[tuple[str, ...]] = {("init", router.bmp_sysname) for router in pop.router}
    wanted |= {("peer_up", peer) for peer in peers}
    wanted |= {("route", peer, route.prefix) for peer, announced in routes.items() for route in announced}
    kafka = reached_at(f"127.0.0.1:{site.ports.kafka}")
    async with arrivals(kafka, BMP.for_pop(pop.name), wanted, _bmp_facts) as probe:
        await runner.ready("pmbmpd", probe)


def _rendered(site: Site, pop: Pop) -> dict[str, str]:
    """Write the files that `autopilot render collectors` writes."""
    files = collector_files(pop, site.run_dir)
    for name, text in files.items():
        site.write(name, text)
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
