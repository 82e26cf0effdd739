"""The simulated PoP without its I/O: forwards one tick of traffic after another by the routers' tables."""

from dataclasses import dataclass

from app.config.inventory import Pop
from app.lab.pop.counterfactual import NaturalNetwork
from app.lab.pop.elastic import Elasticity
from app.lab.pop.exits import Exits, trace_all
from app.lab.pop.losses import LossLedger
from app.lab.pop.model import RouterTable, Tables
from app.lab.pop.pop import SimPop
from app.lab.pop.scenario import Scenario
from app.lab.pop.traffic import Carried, Workload, carry
from app.lab.pop.truth import Loads


@dataclass(frozen=True, eq=False)
class Step:
    """The outcome of one tick: where everything went and how much of it left the PoP."""

    exits: Exits
    carried: Carried


class Engine:
    """Forwards the demand of one scenario by the routers' tables and records what really happened."""

    def __init__(self, sim: SimPop, scenario: Scenario, tick_s: float) -> None:
        self.sim, self.tick_s = sim, tick_s
        self.log: list[Loads] = []
        self.wanted_bytes = 0.0
        self.withheld_bytes = 0.0  # wanted and not sent: elastic demand that backed off
        self.loops = LossLedger(sim.demand_bps.shape)
        self.dead_ends = LossLedger(sim.demand_bps.shape)
        self.overrides: list[int] = []  # by tick, how many prefixes have one of our routes in any table
        self.deaths: dict[str, int] = {}  # by peer, the first tick without it
        self._demand = Workload(sim, scenario, tick_s)
        self._elastic = Elasticity(sim, scenario.elastic_share, tick_s)
        self._natural = NaturalNetwork(sim)
        self._match_orders = sim.prefixes.match_orders
        self._dead_hops: set[tuple[str, str]] = set()
        self._seen: tuple[int, dict[str, RouterTable]] = (
            0,
            {},
        )  # the number of dead next hops and the tables behind `_exits`
        self._exits: Exits

    def neighbour_died(self, peer: str) -> None:
        """From the next tick on, traffic to this peer's next hops is lost and plain BGP no longer uses it."""
        self.deaths[peer] = len(self.log)
        self._natural.died(peer)
        self._dead_hops |= next_hops_of(self.sim.pop, peer)

    def step(self, tables: Tables) -> Step:
        """Advance by one tick, with these tables in the routers."""
        tick = len(self.log)
        wanted_bytes = self._demand.wanted_bytes(tick)
        sent_bytes = self._elastic.sent_bytes(wanted_bytes)
        exits = self._trace(tables)
        carried = carry(sent_bytes, exits, self.sim.capacity_bps * self.tick_s / 8)
        self._elastic.learn(sent_bytes, carried.by_pair, exits)
        self.loops.update(tick * self.tick_s, exits.looped, sent_bytes)
        self.dead_ends.update(tick * self.tick_s, exits.dead_end, sent_bytes)
        self.overrides.append(count_overrides(tables, self.sim.pop.marker_community))
        natural, natural_sent = map(self._natural.offered_bytes, (wanted_bytes, sent_bytes))
        loads = Loads(carried.offered, carried.carried, carried.dropped, natural, natural_sent, carried.blackholed)
        self.log.append(loads)
        self.wanted_bytes += float(wanted_bytes.sum())
        self.withheld_bytes += float((wanted_bytes - sent_bytes).sum())
        return Step(exits, carried)

    def _trace(self, tables: Tables) -> Exits:
        """Trace again only if a table is a different object than in the last tick: readers replace changed tables."""
        dead, before = self._seen
        same = before.keys() == tables.keys() and all(before[router] is table for router, table in tables.items())
        if not same or dead != len(self._dead_hops):
            self._exits = trace_all(self.sim.pop, tables, self._match_orders, self._dead_hops)
            self._seen = len(self._dead_hops), dict(tables)
        return self._exits


def next_hops_of(pop: Pop, peer: str) -> set[tuple[str, str]]:
    """The (router, next hop) pairs that lead to this eBGP neighbour."""
    return {
        (link.router, hop)
        for link in pop.link
        for session in link.sessions
        if session.peer == peer
        for hop in session.next_hops
    }


def count_overrides(tables: Tables, marker: str) -> int:
    """How many prefixes some router forwards by a route with the marker community."""
    return len({prefix for table in tables.values() for prefix, path in table.items() if marker in path.communities})
