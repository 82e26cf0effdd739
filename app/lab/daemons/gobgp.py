"""gobgpd as edge router r1 and as the injector beside each edge. It is queried with its command line client."""

import ipaddress
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from app.bgp.speaker import IDLE_S
from app.config.inventory import Pop, Router
from app.errors import DaemonError
from app.lab.daemons.commands import output
from app.lab.daemons.machine import Site, binary, fill
from app.lab.daemons.policy import HOLD_S, KEEPALIVE_S, own_by_version, sessions_by_local_pref
from app.lab.daemons.runner import Probe, Program, Runner

ESTABLISHED = 6
OFFERED_PATHS = 16  # of a prefix, from an edge to its injector


async def start_edge(runner: Runner, site: Site, pop: Pop, router: Router, export_policy: bool) -> None:
    """Start the edge router and make it announce the PoP's own prefixes. `export_policy=False` lets every route out."""
    other = next(peer for peer in pop.router if peer is not router)
    await start(runner, site, router.name, edge_config(site, pop, router, other, export_policy))
    for prefix in pop.own_prefixes:
        family, hop = "ipv6" if ":" in prefix else "ipv4", router.loopback(prefix)
        await gobgp(
            target(site, router.name), "global", "rib", "add", prefix, "origin", "igp", "nexthop", hop, "-a", family
        )


async def start_injector(
    runner: Runner, site: Site, pop: Pop, router: Router, mirror_address: str | None = None
) -> None:
    """Start the injector beside this edge router and wait until it answers; a mirror of the router gets the same."""
    injector = router.injector.address
    marker = pop.marker_community
    config = fill("gobgpd-injector.toml", router=router.name, asn=pop.asn, address=injector, marker=marker)
    for address in filter(None, (router.ibgp_address, mirror_address)):
        config += _neighbour(site, PeerOfGobgp(address, pop.asn, injector, passive=False, receives_all_paths=True))
    await start(runner, site, f"injector-{router.name}", config, restarts_max=5)  # its reaper may end it


def target(site: Site, name: str) -> str:
    """The gRPC address of the gobgpd with this process name."""
    return f"unix://{site.path(name)}.sock"


async def gobgp(grpc: str, *arguments: str) -> Any:
    """Run one `gobgp` command; its decoded JSON answer, None if empty. DaemonError with its message if it fails."""
    out = await output(binary("gobgp"), "--target", grpc, "-j", *arguments)
    return json.loads(out) if out.strip() else None


def established(grpc: str, expected: Mapping[str, int]) -> Probe:
    """A probe: every peer in `expected` (address to number of routes) is up, with at least that many accepted."""

    async def probe() -> str | None:
        try:
            peers = {peer["conf"]["neighbor_address"]: peer for peer in await gobgp(grpc, "neighbor")}
        except DaemonError as error:
            return str(error)
        missing = [address for address, routes in expected.items() if not _complete(peers.get(address, {}), routes)]
        return f"not established or still missing routes: {', '.join(missing)}" if missing else None

    return probe


def _complete(peer: Mapping[str, Any], routes: int) -> bool:
    accepted = sum(family["state"].get("accepted", 0) for family in peer.get("afi_safis", ()))
    up: bool = peer.get("state", {}).get("session_state") == ESTABLISHED
    return up and accepted >= routes


def edge_config(site: Site, pop: Pop, router: Router, other: Router, export_policy: bool) -> str:
    """The gobgpd configuration of one edge router; `other` is the PoP's second edge."""
    preferences = sessions_by_local_pref(pop, router)
    own_address = router.ibgp_address
    peers = [
        PeerOfGobgp(session.peer, session.asn, own_address) for sessions in preferences.values() for session in sessions
    ]
    inside = [
        PeerOfGobgp(other.ibgp_address, pop.asn, own_address),
        PeerOfGobgp(router.injector.address, pop.asn, own_address, router.maximum_prefix, send_max=OFFERED_PATHS),
    ]
    own = {version: prefixes for version, prefixes in own_by_version(pop).items() if prefixes}
    exports = [f"export-own-ipv{version}" for version in own] if export_policy else ["export-all"]
    main = fill(
        "gobgpd-edge.toml",
        name=router.name,
        asn=pop.asn,
        loopback4=router.loopback4,
        loopback6=router.loopback6,
        address=router.ibgp_address,
        sysname=router.bmp_sysname,
        bgp=site.ports.bgp,
        bmp=site.ports.bmp,
        collector=site.collector,
        ebgp_imports=_quoted(f"import-{local_pref}" for local_pref in preferences),
        ebgp_exports=_quoted(exports),
        ebgp=_quoted(neighbour.peer for neighbour in peers),
        edge=other.ibgp_address,
        injector=router.injector.address,
        marker=pop.marker_community,
        override_local_pref=pop.override_local_pref,
    )
    parts = [main]
    parts += [
        fill("gobgpd-import.toml", local_pref=local_pref, peers=_quoted(session.peer for session in sessions))
        for local_pref, sessions in preferences.items()
    ]
    parts += [_export_own(version, prefixes) for version, prefixes in own.items()]
    parts += [] if export_policy else [fill("gobgpd-export-all.toml")]
    parts += [_neighbour(site, neighbour) for neighbour in (*peers, *inside)]
    return "".join(parts)


def _export_own(version: int, prefixes: Iterable[str]) -> str:
    lines = "".join(
        f'\n[[defined-sets.prefix-sets.prefix-list]]\nip-prefix = "{prefix}"'
        f'\nmasklength-range = "{ipaddress.ip_network(prefix).prefixlen}..{ipaddress.ip_network(prefix).prefixlen}"'
        for prefix in prefixes
    )
    return fill("gobgpd-export-own.toml", family=f"ipv{version}", prefixes=lines)


class PeerOfGobgp(NamedTuple):
    """One BGP session of a gobgpd. `send_max` is how many paths of a prefix it sends there; 0 is the best alone."""

    peer: str
    asn: int
    address: str
    maximum_prefix: int = 0
    passive: bool = True
    send_max: int = 0
    receives_all_paths: bool = False


def _neighbour(site: Site, neighbour: PeerOfGobgp) -> str:
    return fill(
        "gobgpd-neighbour.toml",
        peer=neighbour.peer,
        peer_asn=neighbour.asn,
        address=neighbour.address,
        bgp=site.ports.bgp,
        passive=str(neighbour.passive).lower(),
        hold_s=HOLD_S,
        keepalive_s=KEEPALIVE_S,
        idle_s=IDLE_S,
        maximum_prefix=neighbour.maximum_prefix,
        send_max=neighbour.send_max,
        receive=str(neighbour.receives_all_paths).lower(),
        end_of_rib=str(neighbour.send_max > 0 or neighbour.receives_all_paths).lower(),
    )


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)


async def start(runner: Runner, site: Site, name: str, config: str, restarts_max: int = 0) -> None:
    """Start a gobgpd with this configuration, and wait until its BGP server answers."""
    path = site.write(f"{name}.toml", config)
    grpc = target(site, name)
    # One that was killed leaves its socket behind, and the next one would not start. All share this machine's cores, so
    # none should spend them on its garbage.
    unlink = ("sh", "-c", 'export GOGC=400; rm -f "$0" && exec "$@"', grpc.removeprefix("unix://"))
    argv = (*unlink, binary("gobgpd"), "-f", str(path), "-p", "--pprof-disable", "--api-hosts", grpc)

    async def has_started() -> str | None:
        """It answers before its BGP server has started, without an AS, and refuses routes."""
        try:
            return None if "asn" in await gobgp(grpc, "global") else "its BGP server has not started yet"
        except DaemonError as error:
            return str(error)

    await runner.start(Program(name=name, argv=argv, restarts_max=restarts_max), has_started)
