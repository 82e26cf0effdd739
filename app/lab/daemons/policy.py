"""What both kinds of edge router have in common: timers, and whose sessions and prefixes are whose."""

import ipaddress

from app.config.inventory import Pop, Router, Session

HOLD_S = 9
KEEPALIVE_S = 3


def sessions_by_local_pref(pop: Pop, router: Router) -> dict[int, list[Session]]:
    """The eBGP sessions of a router by the preference that its import policy gives their routes."""
    found: dict[int, list[Session]] = {}
    for link in pop.link:
        if link.router == router.name:
            found.setdefault(link.local_pref, []).extend(link.sessions)
    return found


def own_by_version(pop: Pop) -> dict[int, list[str]]:
    """The PoP's own prefixes by IP version, 4 and 6, either may be empty."""
    found: dict[int, list[str]] = {4: [], 6: []}
    for prefix in pop.own_prefixes:
        found[ipaddress.ip_network(prefix).version].append(prefix)
    return found
