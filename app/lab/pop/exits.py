"""Forwarding outcomes as arrays: matrices by (ingress router, prefix), vectors by link, in inventory order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from app.config.inventory import Pop
from app.lab.pop.forwarding import DeadHops, trace
from app.lab.pop.model import Tables

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Masks = npt.NDArray[np.bool_]

NO_LINK: Final = -1  # loop or dead end


@dataclass(frozen=True, eq=False)
class Exits:
    """Where the traffic of each (ingress router, prefix) goes; all three are matrices."""

    link: Ints  # index of the link, or NO_LINK
    blackholed: Masks  # the next hop on that link is dead
    looped: Masks

    @property
    def dead_end(self) -> Masks:
        """Which traffic stops at a router without a usable route."""
        return np.asarray((self.link == NO_LINK) & ~self.looped)


def trace_all(
    pop: Pop, tables: Tables, match_orders: Sequence[Sequence[str]], dead_hops: DeadHops = frozenset()
) -> Exits:
    """Trace every prefix from every router. `match_orders` has one match order per prefix, as `trace` takes it."""
    index = {link: i for i, link in enumerate(pop.links)}
    outcomes = [[trace(pop, tables, router, order, dead_hops) for order in match_orders] for router in pop.routers]
    return Exits(
        link=np.array([[index[o.link] if o.link else NO_LINK for o in row] for row in outcomes], np.int64),
        blackholed=np.array([[o.fate == "black-hole" for o in row] for row in outcomes]),
        looped=np.array([[o.fate == "loop" for o in row] for row in outcomes]),
    )


def per_link(values: Floats, link: Ints, links: int) -> Floats:
    """Sum `values` by link index, leaving out NO_LINK; a vector of length `links`."""
    known = link != NO_LINK
    return np.bincount(link[known], weights=values[known], minlength=links).astype(np.float64)
