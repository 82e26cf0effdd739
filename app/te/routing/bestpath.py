"""Best-path selection in a full iBGP mesh with next-hop-self, over the eBGP paths of all routers.

All routers agree on local-pref, AS-path length, origin and MED. Every router that holds a path which survives these
uses its own, so the paths that a router hides from the mesh because its best path is not its own cannot change the
outcome.
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
    """One eBGP path, the router that learned it, and its exit: None if the inventory lacks the link.

    `local_pref` is that of the path, or what the inventory says of its link.
    """

    router: str
    path: Path
    exit: Exit | None
    local_pref: int


def choose(paths: Sequence[RouterPath], routers: Iterable[Router]) -> dict[str, RouterPath]:
    """The best path of each router among `paths`, by router name; empty if there are no paths."""
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
    """The paths between which only a tie-breaker decides for this router: its own, or else the nearest ones."""
    tied = _survivors(paths) if paths else []
    if own := [candidate for candidate in tied if candidate.router == router.name]:
        return own
    cost = {candidate.router: router.igp_cost.get(candidate.router, inf) for candidate in tied}
    return [candidate for candidate in tied if cost[candidate.router] == min(cost.values())]


def _nearest(igp_cost: Mapping[str, int], own: Mapping[str, RouterPath]) -> RouterPath:
    """The best path for a router that holds no survivor: the one with the lowest IGP cost. Unknown costs come last."""
    return min(own.values(), key=lambda candidate: (igp_cost.get(candidate.router, inf), _tie(candidate)))


def _survivors(paths: Sequence[RouterPath]) -> Sequence[RouterPath]:
    ranks = [_rank(candidate) for candidate in paths]
    best = min(ranks)
    tied = [candidate for candidate, rank in zip(paths, ranks, strict=True) if rank == best]
    return _lowest_med(tied) if len(tied) > 1 else tied


def _rank(candidate: RouterPath) -> tuple[int, int, int]:
    return -candidate.local_pref, candidate.path.length, ORIGIN_RANK[candidate.path.origin]


def _lowest_med(tied: Sequence[RouterPath]) -> Sequence[RouterPath]:
    """The paths with the lowest MED of their neighbouring AS: it is compared within one AS only. No MED counts as 0."""
    lowest: dict[int | None, int] = {}
    for candidate in tied:
        neighbour, med = _neighbour(candidate.path), candidate.path.med or 0
        lowest[neighbour] = min(med, lowest.get(neighbour, med))
    return [candidate for candidate in tied if (candidate.path.med or 0) == lowest[_neighbour(candidate.path)]]


def _neighbour(path: Path) -> int | None:
    return path.as_path[0] if path.as_path else None


def _tie(candidate: RouterPath) -> tuple[tuple[int, int], int]:
    """The tie-breaker: lowest peer address, then lowest path identifier. Vendors differ here (oldest, router id)."""
    return parse_address(candidate.path.peer) or (0, 0), candidate.path.path_id
