"""The PoP's eBGP neighbours. Each is its own ExaBGP, so killing one ends one session; each records what it receives."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from app.config.inventory import Pop, Router, Session
from app.lab.daemons.machine import TEMPLATES, Site, binary, fill
from app.lab.daemons.policy import HOLD_S
from app.lab.daemons.runner import Probe, Program, Runner
from app.lab.pop.model import Announcement

ENVIRONMENT = {
    "exabgp.api.cli": "false",
    "exabgp.daemon.drop": "false",
    "exabgp.log.destination": "stdout",
    "exabgp.log.level": "NOTICE",
    "exabgp.tcp.bind": "",
}


def name_of(peer: str) -> str:
    """The process name of the neighbour with this address."""
    return f"neighbour-{peer}"


async def start_neighbour(
    runner: Runner, site: Site, pop: Pop, router: Router, session: Session, routes: Sequence[Announcement]
) -> None:
    """Start one neighbour without waiting for it.

    The edge knows whether the session is up (`established`), the neighbour whether announcements arrive (`hears`).
    """
    ear = site.write("ear.sh", (TEMPLATES / "ear.sh").read_text())
    config = fill(
        "exabgp.conf",
        ear=ear,
        received=received_file(site, session.peer),
        edge=router.ibgp_address,
        router_id=session.peer,
        peer=session.peer,
        peer_asn=session.asn,
        asn=pop.asn,
        bgp=site.ports.bgp,
        hold_s=HOLD_S,
        routes="\n".join(f"        {_announcement(route)}" for route in routes),
    )
    path = site.write(f"{name_of(session.peer)}.conf", config)
    program = Program(name=name_of(session.peer), argv=(binary("exabgp"), str(path)), env=ENVIRONMENT)
    await runner.start(program)


def hears(site: Site, peer: str, prefixes: Sequence[str]) -> Probe:
    """A probe: the neighbour has received the PoP's own prefixes, so if it records no leak, there is none."""

    async def probe() -> str | None:
        heard = {announcement.split()[0] for announcement in received(site, peer)}
        missing = set(prefixes) - heard
        return f"has not received {', '.join(missing)}" if missing else None

    return probe


def received(site: Site, peer: str) -> list[str]:
    """Every announcement that reached the neighbour, in order: prefix and communities, separated by spaces."""
    file = received_file(site, peer)
    if not file.exists():
        return []
    # The last line may be incomplete: ExaBGP may still be writing it.
    lines = file.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    return [announcement for line in lines for announcement in _announcements(json.loads(line))]


def _announcements(record: dict[str, Any]) -> Iterator[str]:
    update = record.get("neighbor", {}).get("message", {}).get("update", {})
    communities = [":".join(map(str, community)) for community in update.get("attribute", {}).get("community", ())]
    for by_next_hop in update.get("announce", {}).values():
        for routes in by_next_hop.values():
            yield from (" ".join([route["nlri"], *communities]) for route in routes)


def _announcement(route: Announcement) -> str:
    path = " ".join(map(str, route.as_path))
    med = "" if route.med is None else f" med {route.med}"
    return f"route {route.prefix} next-hop {route.next_hop} as-path [ {path} ]{med};"


def received_file(site: Site, peer: str) -> Path:
    """Where a neighbour writes down what it receives, one JSON record a line."""
    return site.path(f"received-{peer}.jsonl")
