"""What BGP routers choose: the decision of a full iBGP mesh with next-hop-self, over the eBGP paths of all routers.

Every router that holds a survivor of the attributes all agree on (local-pref, AS-path length, origin, MED) uses its
own; so what a router hides from the mesh because its best is not its own cannot change the outcome.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

import msgspec

from app.config.inventory import Router
from app.contract.schemas import Exit
from app.te.routing.lpm import parse_address
from app.te.routing.path import Path

ORIGIN_RANK = {"igp": 0, "egp": 1, "incomplete": 2}


class RouterPath(msgspec.Struct, frozen=True, gc=False):
    """One eBGP path, the router that learned it and the exit it means, None by a link that the inventory lacks."""

    router: str
    path: Path
    exit: Exit | None


def choose(paths: Sequence[RouterPath], routers: Iterable[Router]) -> dict[str, RouterPath]:
    """The best path of each router, among `paths`; routers are left out when there is none."""
    if not paths:
        return {}
    survivors = _survivors(paths)
    if len(survivors) == 1:
        return {router.name: survivors[0] for router in routers}
    own: dict[str, RouterPath] = {}
    for candidate in survivors:
        rival = own.get(candidate.router)
        if rival is None or _tie(candidate) < _tie(rival):
            own[candidate.router] = candidate
    return {router.name: own.get(router.name) or _nearest(router.igp_cost, own) for router in routers}


def equals(paths: Sequence[RouterPath], router: Router) -> list[RouterPath]:
    """The paths among which only a tie-breaker chooses for this router: its own, else those that are nearest."""
    tied = _survivors(paths) if paths else []
    if own := [one for one in tied if one.router == router.name]:
        return own
    cost = {one.router: router.igp_cost.get(one.router, inf) for one in tied}
    return [one for one in tied if cost[one.router] == min(cost.values())]


def _nearest(igp_cost: Mapping[str, int], own: Mapping[str, RouterPath]) -> RouterPath:
    """For a router with no survivor of its own: the cheapest exit of another. An unknown cost is the highest."""
    return min(own.values(), key=lambda candidate: (igp_cost.get(candidate.router, inf), _tie(candidate)))


def _survivors(paths: Sequence[RouterPath]) -> Sequence[RouterPath]:
    ranks = [_rank(one.path) for one in paths]
    best = min(ranks)
    tied = [candidate for candidate, rank in zip(paths, ranks, strict=True) if rank == best]
    return _lowest_med(tied) if len(tied) > 1 else tied


def _rank(path: Path) -> tuple[int, int, int]:
    return -path.local_pref, len(path.as_path), ORIGIN_RANK[path.origin]


def _lowest_med(tied: Sequence[RouterPath]) -> Sequence[RouterPath]:
    """MED is compared between paths of one neighbouring AS only; none counts as 0."""
    lowest: dict[int | None, int] = {}
    for one in tied:
        neighbour, med = _neighbour(one.path), one.path.med or 0
        lowest[neighbour] = min(med, lowest.get(neighbour, med))
    return [one for one in tied if (one.path.med or 0) == lowest[_neighbour(one.path)]]


def _neighbour(path: Path) -> int | None:
    return path.as_path[0] if path.as_path else None


def _tie(candidate: RouterPath) -> tuple[tuple[int, int], int]:
    """Vendors differ here (oldest, router id); ours is the lowest peer address, then the lowest path identifier."""
    return parse_address(candidate.path.peer) or (0, 0), candidate.path.path_id
