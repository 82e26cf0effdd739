"""Computes where plain BGP would send each prefix: the tables of the PoP's routers without overrides.

This model is independent of the code under test. iBGP is a full mesh with next-hop-self. Paths are compared by
local-pref, then shorter AS path, then eBGP over iBGP, then lower IGP cost, then lower peer address. A router that has a
path with the best (local-pref, AS-path length) uses its own, so paths that other routers hide from it do not matter.
"""

import ipaddress
from collections.abc import Collection, Iterable, Mapping

import msgspec

from app.config.inventory import Pop
from app.lab.pop.model import Announcement, InstalledPath, Tables

Announcements = Mapping[str, tuple[Announcement, ...]]  # by peer address


class _Candidate(msgspec.Struct, frozen=True):
    router: str
    peer: str
    local_pref: int
    route: Announcement


def natural_tables(pop: Pop, announcements: Announcements, dead_peers: Collection[str] = ()) -> Tables:
    """Each router's best paths, given what the eBGP neighbours announce that are not in `dead_peers`."""
    candidates: dict[str, list[_Candidate]] = {}
    for candidate in _candidates(pop, announcements, dead_peers):
        candidates.setdefault(candidate.route.prefix, []).append(candidate)
    return {
        router: {prefix: _best(pop, router, paths) for prefix, paths in candidates.items()} for router in pop.routers
    }


def differing(tables: Tables, natural: Tables) -> list[tuple[str, str]]:
    """The (router, prefix) of `natural` that `tables` lack, or send to another next hop."""
    return [
        (router, prefix)
        for router, wanted in natural.items()
        for prefix, path in wanted.items()
        if (used := tables[router].get(prefix)) is None or used.next_hop != path.next_hop
    ]


def _candidates(pop: Pop, announcements: Announcements, dead_peers: Collection[str]) -> Iterable[_Candidate]:
    return (
        _Candidate(link.router, session.peer, link.local_pref, route)
        for link in pop.link
        for session in link.sessions
        if session.peer not in dead_peers
        for route in announcements.get(session.peer, ())
    )


def _best(pop: Pop, router: str, candidates: list[_Candidate]) -> InstalledPath:
    chosen = min(candidates, key=lambda candidate: _rank(pop, router, candidate))
    return InstalledPath(
        next_hop=chosen.route.next_hop if chosen.router == router else _loopback(pop, chosen),
        communities=(),
        as_path=chosen.route.as_path,
        local_pref=chosen.local_pref,
    )


def _loopback(pop: Pop, chosen: _Candidate) -> str:
    return pop.routers[chosen.router].loopback(chosen.route.prefix)


def _rank(pop: Pop, router: str, candidate: _Candidate) -> tuple[int, int, bool, int, int]:
    remote = candidate.router != router
    return (
        -candidate.local_pref,
        len(candidate.route.as_path),
        remote,
        pop.routers[router].igp_cost.get(candidate.router, 0) if remote else 0,
        int(ipaddress.ip_address(candidate.peer)),
    )
