"""What the configurations of both edge routers share: BGP timers, sessions by local-pref, own prefixes by family."""

import ipaddress

from app.config.inventory import Pop, Router, Session

HOLD_S = 9
KEEPALIVE_S = 3


def sessions_by_local_pref(pop: Pop, router: Router) -> dict[int, list[Session]]:
    """A router's eBGP sessions, by the local-pref that its import policy sets on their routes."""
    sessions: dict[int, list[Session]] = {}
    for link in pop.link:
        if link.router == router.name:
            sessions.setdefault(link.local_pref, []).extend(link.sessions)
    return sessions


def own_by_version(pop: Pop) -> dict[int, list[str]]:
    """The PoP's own prefixes by IP version. Both 4 and 6 are present; either list may be empty."""
    prefixes: dict[int, list[str]] = {4: [], 6: []}
    for prefix in pop.own_prefixes:
        prefixes[ipaddress.ip_network(prefix).version].append(prefix)
    return prefixes
