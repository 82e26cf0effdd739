"""What plain BGP alone would have dropped: the same PoP, seed, timeline and deaths, but no overrides."""

from collections.abc import Mapping

import numpy as np

from app.lab.pop.elastic import Elasticity
from app.lab.pop.exits import Exits, Floats, per_link, trace_all
from app.lab.pop.natural import natural_tables
from app.lab.pop.pop import SimPop
from app.lab.pop.scenario import Scenario
from app.lab.pop.traffic import Workload, carry


class NaturalNetwork:
    """Where plain BGP sends everything, without the neighbours that have died."""

    def __init__(self, sim: SimPop) -> None:
        self._sim = sim
        self._dead_peers: set[str] = set()
        self.exits = self._converge()

    def died(self, peer: str) -> None:
        """Remove the neighbour with this address from now on."""
        self._dead_peers.add(peer)
        self.exits = self._converge()

    def offered_bytes(self, wanted_bytes: Floats) -> Floats:
        """The natural load of each link, in bytes, for demand by (ingress router, prefix)."""
        return per_link(wanted_bytes, self.exits.link, len(self._sim.link_ids))

    def _converge(self) -> Exits:
        tables = natural_tables(self._sim.pop, self._sim.announcements, self._dead_peers)
        return trace_all(self._sim.pop, tables, self._sim.prefixes.match_orders)


def dropped_bytes(sim: SimPop, scenario: Scenario, deaths: Mapping[str, int], ticks: int, tick_s: float) -> Floats:
    """Bytes dropped without overrides, by (tick, link). `deaths` gives the first tick without each dead peer.

    Elastic demand reacts to these drops, so less may be sent here than with overrides.
    """
    network, demand = NaturalNetwork(sim), Workload(sim, scenario, tick_s)
    elastic = Elasticity(sim, scenario.elastic_share, tick_s)
    dropped = np.zeros((ticks, len(sim.link_ids)))
    for tick in range(ticks):
        for peer in (peer for peer, at in deaths.items() if at == tick):
            network.died(peer)
        sent_bytes = elastic.sent_bytes(demand.wanted_bytes(tick))
        carried = carry(sent_bytes, network.exits, sim.capacity_bps * tick_s / 8)
        elastic.learn(sent_bytes, carried.by_pair, network.exits)
        dropped[tick] = carried.dropped
    return dropped
