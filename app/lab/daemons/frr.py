"""FRR's bgpd as edge router r2, without zebra. It is queried over its vty socket, as vtysh does."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from app.config.inventory import Pop, Router
from app.errors import SpeakerError
from app.lab.daemons.machine import Site, binary, fill
from app.lab.daemons.policy import HOLD_S, KEEPALIVE_S, own_by_version, sessions_by_local_pref
from app.lab.daemons.runner import Probe, Program, Runner
from app.lab.pop.vty import ask

# FRR counts this in minutes.
RESTART_AFTER_LIMIT_MIN = 1


def vty_socket(site: Site, router: Router) -> Path:
    """Path of the socket on which this router's bgpd takes vty commands."""
    return site.path(router.name) / "bgpd.vty"


async def start_edge(runner: Runner, site: Site, pop: Pop, router: Router) -> None:
    """Start the edge router with the lab's configuration and wait until it answers commands."""
    other = next(peer for peer in pop.router if peer is not router)
    await start(runner, site, router, edge_config(site, pop, router, other))


async def start(runner: Runner, site: Site, router: Router, text: str) -> None:
    """Start bgpd with this configuration as an edge router, and wait until it answers commands."""
    config = site.write(f"{router.name}.conf", text)
    directory = site.make_directory(router.name)
    argv = (
        *(binary("bgpd"), "-Z", "-n", "-S", "-M", "bmp", "-f", str(config)),
        *("-p", str(site.ports.bgp), "-l", router.ibgp_address, "-P", "0"),
        *("-i", str(directory / "bgpd.pid"), "--vty_socket", str(directory)),
    )
    await runner.start(Program(name=router.name, argv=argv), established(vty_socket(site, router), {}))


async def vty(socket: Path, command: str) -> Any:
    """Run a bgpd command that ends in `json`; its decoded answer. SpeakerError if unreachable or refused."""
    return json.loads(await ask(socket, command))


def established(socket: Path, expected: Mapping[str, int]) -> Probe:
    """A probe: every peer in `expected` (address to number of routes) is up and has sent at least that many."""

    async def probe() -> str | None:
        try:
            families = [await vty(socket, f"show bgp {family} unicast summary json") for family in ("ipv4", "ipv6")]
        except SpeakerError as error:
            return str(error)
        peers = [family.get("peers", {}) for family in families]
        missing = [
            address
            for address, routes in expected.items()
            if any(family.get(address, {}).get("state") != "Established" for family in peers)
            or sum(family[address]["pfxRcd"] for family in peers) < routes
        ]
        return f"not established or still missing routes: {', '.join(missing)}" if missing else None

    return probe


def edge_config(site: Site, pop: Pop, router: Router, other: Router) -> str:
    """The bgpd configuration of one edge router; `other` is the PoP's second edge."""
    own = own_by_version(pop)
    preferences = sessions_by_local_pref(pop, router)
    neighbours = [
        _neighbour(site, router, Neighbour(session.peer, session.asn, f"FROM-EBGP-{local_pref}", "TO-EBGP"))
        for local_pref, sessions in preferences.items()
        for session in sessions
    ]
    limit = f"maximum-prefix {router.maximum_prefix} restart {RESTART_AFTER_LIMIT_MIN}"
    injector = router.injector.address
    neighbours += [
        _neighbour(site, router, Neighbour(injector, pop.asn, "FROM-INJECTOR", "TO-INJECTOR", limit, all_paths=True)),
        _neighbour(site, router, Neighbour(other.ibgp_address, pop.asn, "FROM-EDGE", "TO-EDGE", passive=False)),
    ]
    return fill(
        "frr-edge.conf",
        name=router.name,
        sysname=router.bmp_sysname,
        asn=pop.asn,
        loopback4=router.loopback4,
        loopback6=router.loopback6,
        marker=pop.marker_community,
        override_local_pref=pop.override_local_pref,
        imports="".join(fill("frr-import.conf", local_pref=local_pref) for local_pref in preferences),
        own="\n".join([*_prefix_list("ip", 4, own[4]), *_prefix_list("ipv6", 6, own[6])]),
        network4="\n".join(f"  network {prefix}" for prefix in own[4]),
        network6="\n".join(f"  network {prefix}" for prefix in own[6]),
        neighbours="".join(neighbours),
        bmp=site.ports.bmp,
        collector=site.collector,
        hold_s=HOLD_S,
        keepalive_s=KEEPALIVE_S,
    )


def _prefix_list(command: str, version: int, prefixes: list[str]) -> list[str]:
    """Lines of one prefix list. A missing list would match nothing too; the final deny makes that explicit."""
    return [
        *(f"{command} prefix-list own{version} permit {prefix}" for prefix in prefixes),
        f"{command} prefix-list own{version} deny any",
    ]


class Neighbour(NamedTuple):
    """One BGP session of an edge router, as its FRR configuration needs it."""

    peer: str
    asn: int
    import_map: str
    export_map: str
    limit: str = ""  # on prefixes, in FRR's syntax; empty for no limit
    passive: bool = True
    all_paths: bool = False  # whether it is sent every path (ADD-PATH), not only the best


def _neighbour(site: Site, router: Router, neighbour: Neighbour) -> str:
    peer = neighbour.peer
    return fill(
        "frr-neighbour.conf",
        peer=peer,
        peer_asn=neighbour.asn,
        bgp=site.ports.bgp,
        address=router.ibgp_address,
        passive=f"neighbor {peer} passive" if neighbour.passive else "!",
        maximum_prefix=f"neighbor {peer} {neighbour.limit}" if neighbour.limit else "!",
        all_paths=f"neighbor {peer} addpath-tx-all-paths" if neighbour.all_paths else "!",
        **{"import": neighbour.import_map, "export": neighbour.export_map},
    )
