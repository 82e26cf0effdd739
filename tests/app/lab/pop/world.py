"""The demo's PoP for tests: inventory, one generated world, and tables of routers."""

from functools import cache
from pathlib import Path

import numpy as np

from app.config.inventory import Pop, load_pop
from app.lab.pop.exits import Exits, Floats, trace_all
from app.lab.pop.model import InstalledPath, Tables
from app.lab.pop.natural import natural_tables
from app.lab.pop.pop import SimPop, generate

INVENTORY = Path(__file__).parents[4] / "deploy" / "local" / "rhv1000.toml"

# Links of the demo by index, and the neighbours that a run may kill.
PNI_1, IXP_1, TRANSIT_1, PNI_2, IXP_2, TRANSIT_2 = range(6)
IXP_1_PEER, TRANSIT_1_PEER, TRANSIT_2_PEER = "127.0.0.32", "127.0.0.33", "127.0.0.36"
LOOPBACK_1, LOOPBACK_2 = "192.0.2.11", "192.0.2.12"
MARKER = "64512:911"


@cache
def inventory() -> Pop:
    return load_pop(INVENTORY)


@cache
def world(seed: int = 0) -> SimPop:
    return generate(inventory(), seed)


@cache
def natural(seed: int = 0, *dead_peers: str) -> Tables:
    sim = world(seed)
    return natural_tables(sim.pop, sim.announcements, dead_peers)


def natural_exits(seed: int = 0, *dead_peers: str) -> Exits:
    sim = world(seed)
    return trace_all(sim.pop, natural(seed, *dead_peers), sim.prefixes.match_orders)


def surged_bps(sim: SimPop, peak_share: float = 1.25) -> Floats:
    """Demand at the top of a surge on r1's private peering."""
    factor = peak_share / sim.base_share[PNI_1]
    return np.asarray(sim.demand_bps * np.where(sim.home_link == PNI_1, factor, 1.0))


def path(next_hop: str, *communities: str) -> InstalledPath:
    return InstalledPath(next_hop, communities, (64601, 65001), 100)
