"""Generates the simulated PoP: prefixes, the neighbours' announcements, and demand by destination.

Everything is drawn from one seed. Demand is scaled so that plain BGP fills each link to its share in `FILL`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from app.config.inventory import Pop
from app.lab.pop.announcements import HOMES, Home, draw_announcements, draw_homes
from app.lab.pop.exits import Floats, Ints, per_link, trace_all
from app.lab.pop.model import Announcement
from app.lab.pop.natural import natural_tables
from app.lab.pop.prefixes import IPV4, IPV6, PrefixSet, draw_prefixes

PAIRS4: Final = 20
PAIRS6: Final = 5
ZIPF_SHIFT: Final = 20  # flattens the head of the distribution, so that no single prefix is too large to move
# Share of capacity that plain BGP puts on each link in calm times.
FILL: Final[Mapping[str, float]] = {
    "r1/et-0/0/1": 0.70,
    "r1/et-0/0/2": 0.37,
    "r1/et-0/0/3": 0.25,
    "r2/xe-0/0/1": 0.50,
    "r2/xe-0/0/2": 0.45,
    "r2/et-0/0/3": 0.25,
}


@dataclass(frozen=True, eq=False)
class SimPop:
    """One seeded PoP. Matrices are indexed by (ingress router, prefix), vectors by link, in inventory order."""

    pop: Pop
    seed: int
    prefixes: PrefixSet
    announcements: dict[str, tuple[Announcement, ...]]
    demand_bps: Floats
    home_link: Ints  # index of the link that plain BGP chooses while every neighbour is alive

    @cached_property
    def link_ids(self) -> tuple[str, ...]:
        """The ids of all links (`pop/router/name`), in inventory order."""
        return tuple(self.pop.links)

    @cached_property
    def router_names(self) -> tuple[str, ...]:
        """The names of all routers, in inventory order."""
        return tuple(self.pop.routers)

    @cached_property
    def capacity_bps(self) -> Floats:
        """The capacity of each link, in bits per second."""
        return np.array([link.configured_bps for link in self.pop.link])

    @cached_property
    def base_share(self) -> Floats:
        """The natural load of each link in calm times, as a share of its capacity."""
        return per_link(self.demand_bps, self.home_link, len(self.link_ids)) / self.capacity_bps


def generate(pop: Pop, seed: int, homes: Sequence[Home] = HOMES, fill: Mapping[str, float] = FILL) -> SimPop:
    """Generate the PoP of this seed. `homes` and `fill` name links as `router/name` of the inventory."""
    rng = np.random.default_rng(seed)
    prefixes = draw_prefixes(rng, IPV4, sum(home.prefixes4 for home in homes), PAIRS4)
    prefixes += draw_prefixes(rng, IPV6, sum(home.prefixes6 for home in homes), PAIRS6)
    home_of = draw_homes(rng, homes)
    announcements = draw_announcements(rng, pop, prefixes, home_of)
    exits = trace_all(pop, natural_tables(pop, announcements), prefixes.match_orders).link
    weights = _draw_weights(rng, home_of, len(pop.router))
    wanted_bps = np.array([fill[f"{link.router}/{link.name}"] * (link.configured_bps or 0.0) for link in pop.link])
    scale = wanted_bps / per_link(weights, exits, len(pop.link))
    return SimPop(pop, seed, prefixes, announcements, weights * scale[exits], exits)


def _draw_weights(rng: np.random.Generator, home_of: Sequence[Home], routers: int) -> Floats:
    """Draw Zipf-like sizes within each home, across both families, and split each at random between ingress routers."""
    size, rank = np.empty(len(home_of)), dict[str | None, int]()
    for index in rng.permutation(len(home_of)).tolist():
        home = home_of[index]
        rank[home.link] = rank.get(home.link, 0) + 1
        size[index] = 1 / (ZIPF_SHIFT + rank[home.link])
    split = rng.uniform(0.35, 0.65, size=(routers, len(home_of)))
    return np.asarray(size * split / split.sum(axis=0))
