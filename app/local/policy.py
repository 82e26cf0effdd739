"""What both kinds of edge router have in common: timers, preferences by link kind, whose sessions are whose."""

import ipaddress

from app.inventory import Kind, Pop, Router, Session

HOLD_S = 9
KEEPALIVE_S = 3


def sessions_by_kind(pop: Pop, router: Router) -> dict[Kind, list[Session]]:
    """The eBGP sessions of a router, only kinds that it has."""
    found: dict[Kind, list[Session]] = {}
    for link in pop.link:
        if link.router == router.name:
            found.setdefault(link.kind, []).extend(link.sessions)
    return found


def own_by_version(pop: Pop) -> dict[int, list[str]]:
    """The PoP's own prefixes by IP version, 4 and 6, either may be empty."""
    found: dict[int, list[str]] = {4: [], 6: []}
    for prefix in pop.own_prefixes:
        found[ipaddress.ip_network(prefix).version].append(prefix)
    return found
