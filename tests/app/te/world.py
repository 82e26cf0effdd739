"""Small PoPs and their routes, in few words."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from app.config.inventory import Pop
from app.te.routing.natural import NaturalRouting
from app.te.routing.path import Path
from app.te.routing.rib import Rib
from app.te.traffic.demand import Demand
from app.te.traffic.link import LinkWindow
from tests.pops import G, capacity_bps

WINDOW_S = 10


def path(number: int, *behind: int, **changes: Any) -> Path:
    """The path of peer 10.0.0.<number>, its AS first and then those `behind` it."""
    made = Path(f"10.0.0.{number}", f"10.0.0.{number}", (64600 + number, *behind))
    return msgspec.structs.replace(made, **changes)


def rib_of(of_pop: Pop, paths: Mapping[str, Iterable[Path]]) -> Rib:
    """Every session up; each path where the session of its peer is."""
    rib = Rib()
    routers = {session.peer: one.router for one in of_pop.link for session in one.sessions}
    for one in of_pop.link:
        for session in one.sessions:
            rib.peer_up(one.router, session.peer, session.asn)
    for prefix, announced in paths.items():
        for each in announced:
            rib.update(routers[each.peer], prefix, each)
    return rib


def natural_of(of_pop: Pop, paths: Mapping[str, Iterable[Path]]) -> NaturalRouting:
    return NaturalRouting(of_pop, rib_of(of_pop, paths))


def window(
    of_pop: Pop,
    link_id: str,
    start_s: int,
    carried_g: float | None,
    demands_g: Mapping[tuple[str, str], float],
    samples: int = 1000,
    dropped_g: float = 0.0,
    **changes: Any,
) -> LinkWindow:
    """A window whose flows are `demands_g`, in Gb/s by (ingress, prefix), each of `samples` samples."""
    demand = Demand.of({pair: (round(gbps * G * WINDOW_S / 8), samples) for pair, gbps in demands_g.items()})
    made = LinkWindow(
        link=link_id,
        window_start_s=start_s,
        window_s=WINDOW_S,
        capacity_bps=capacity_bps(of_pop.links[link_id]),
        carried_bps=None if carried_g is None else carried_g * G,
        dropped_bps=None if carried_g is None else dropped_g * G,
        received_bps=None,
        up=True,
        samples=samples * len(demand),
        demand=demand,
        sampled_bytes=int(demand.sizes_bytes.sum()),
    )
    return msgspec.structs.replace(made, **changes)
