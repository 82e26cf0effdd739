"""A PoP of the demo's shape from flow records to decisions, into which a case can send records of its own.

The traffic follows the overrides that are decided, as routers would send it, and counters say what each link carries.
"""

from collections import defaultdict
from typing import Any

from faust.types import TP

from agents.decide import CycleInputs, PopDecider
from agents.flows import FlowsState, FlowTables, Publishers
from agents.sources import sources
from app.clock import ManualClock
from app.config.inventory import Pop
from app.config.settings import Settings
from app.contract.schemas import Decision, Notice, Sources
from app.contract.topics import FLOWS
from app.stream.consumer import Record
from app.stream.final_rows import FinalRows
from app.te.routing.natural import NaturalRouting
from app.te.routing.path import Path
from app.te.routing.rib import Rib
from app.te.traffic.lag import Rates
from app.te.traffic.windows import ClosedWindow
from tables.congestion import CongestionTable
from tables.link_windows import LinkWindowRow
from tests.agents.outbox import Outbox
from tests.agents.test_decide import SilentSource
from tests.app.feeds.test_accounting import T0, flow, marker
from tests.pops import demo_pop
from tests.tables.memory import memory_rows, memory_table

PURGE_S, PACKET_BYTES = 2, 1315
PEERED, EXCHANGED, TRANSIT = (f"rhv1000/r1/et-0/0/{number}" for number in (1, 2, 3))
HOPS = {PEERED: ("127.0.0.31", "198.51.100.1"), EXCHANGED: ("127.0.0.32", "198.51.100.2")}
HOPS[TRANSIT] = ("127.0.0.33", "198.51.100.3")
R1 = "192.0.2.11"  # as the other router reaches it


class ForgedWorld:
    """Twenty prefixes that leave by the peering and twenty by the exchange, and every one by transit if need be.

    `gbps` is the traffic of each of the two groups; one sample stands for `rate` packets.
    """

    def __init__(self, rate: int = 32768, pop: Pop | None = None) -> None:
        self.pop, self.rate = pop or demo_pop(), rate
        self.gbps = {PEERED: 70.0, EXCHANGED: 70.0}
        self.home = {f"20.0.{third}.0/24": PEERED if third < 20 else EXCHANGED for third in range(40)}
        self.rib, self.clock, self.outbox = Rib(), ManualClock(T0), Outbox()
        for peer, _ in HOPS.values():
            self.rib.peer_up("r1", peer, 64600 + int(peer.rpartition(".")[2]) - 30)
        self.rib.peer_up("r2", "127.0.0.36", 64606)
        for prefix, home in self.home.items():
            for link in (home, TRANSIT):
                self.rib.update("r1", prefix, _path(link))
            self.rib.update("r2", prefix, Path("127.0.0.36", "198.51.100.6", (64606, 65001)))
        natural = NaturalRouting(self.pop, self.rib)

        def decider(pop: Pop) -> PopDecider:
            settings = Settings(pops=("rhv1000.toml",))
            return PopDecider(
                pop,
                settings,
                natural,
                CycleInputs(self._rates, self._sources, lambda *_: frozenset()),
                self.outbox.publisher,
                self.clock,
            )

        tables = FlowTables(
            memory_rows(LinkWindowRow),
            CongestionTable(memory_table("congestion")),
            FinalRows(20.0, self.clock.monotonic_s),
            lambda topic: 0,
        )
        self.state: FlowsState[PopDecider] = FlowsState(
            {self.pop.name: self.pop},
            Settings(pops=("rhv1000.toml",)).windows,
            tables,
            Publishers(self.outbox.publisher, {self.pop.name: self.outbox.publisher}),
            decider,
            lambda pop: natural.table,
        )
        self.state.load()
        self._position = self._purges = 0
        self._rest: defaultdict[str, float] = defaultdict(float)  # of a sample, by prefix

    def run(self, seconds: int, *forged: dict[str, Any]) -> None:
        """Purge after purge of the usual traffic, each with one more record of every one that is `forged`."""
        for _ in range(0, seconds, PURGE_S):
            self.clock.advance(PURGE_S)
            now_s = self.clock.now_s()
            lines = self._usual(int(now_s) - 1) + [flow(int(now_s) - 1, **changes) for changes in forged]
            self._purges += 1
            writer = f"flows/{self._purges}"
            for message in (marker("purge_init", writer), b"\n".join(lines), marker("purge_close", writer)):
                record = Record(self._position, now_s, None, message)
                self.state.apply(TP(FLOWS.for_pop(self.pop.name), 0), [record])
                self._position += 1
            self._install()

    @property
    def decision(self) -> Decision:
        return next(record for _, record in reversed(self.outbox.records) if isinstance(record, Decision))

    @property
    def notices(self) -> tuple[Notice, ...]:
        return next(record for _, record in reversed(self.outbox.records) if isinstance(record, Sources)).notices

    @property
    def exits(self) -> dict[str, str]:
        """Where each prefix leaves now."""
        decided = [record for _, record in self.outbox.records if isinstance(record, Decision)][-1:]
        return self.home | {override.prefix: override.exit.link for each in decided for override in each.overrides}

    def _usual(self, at_s: int) -> list[bytes]:
        """One record a prefix; what is less than a sample is kept for the next."""
        exits, lines = self.exits, []
        for prefix, home in self.home.items():
            self._rest[prefix] += self.gbps[home] * 1e9 / 8 * PURGE_S / 20 / PACKET_BYTES / self.rate
            samples, self._rest[prefix] = int(self._rest[prefix]), self._rest[prefix] % 1
            if samples:
                index = self.pop.links[exits[prefix]].ifindexes[0]
                changes = {"packets": samples, "iface_out": index, "ip_dst": prefix.replace("0/24", "9")}
                lines.append(flow(at_s, samples * PACKET_BYTES, self.rate, **changes))
        return lines

    def _install(self) -> None:
        """Give the routers the overrides that are in force."""
        marked = (self.pop.marker_community,)
        for prefix, link in self.exits.items():
            if link != self.home[prefix]:
                for router, hop in (("r1", HOPS[link][1]), ("r2", R1)):
                    peer = self.pop.routers[router].injector.address
                    ours = Path(peer, hop, (), local_pref=1000, communities=marked, ebgp=False)
                    self.rib.update(router, prefix, ours)

    def _rates(self, pop: Pop, link: str, window: ClosedWindow) -> Rates | None:
        """As counters at the exact borders of the window would say: the load is steady."""
        capacity_bps = pop.links[link].configured_bps or 0.0
        if link not in HOPS:
            return Rates(0.0, 0.0, 0.0, capacity_bps, True)
        exits = self.exits
        gbps = sum(self.gbps[home] / 20 for prefix, home in self.home.items() if exits[prefix] == link)
        return Rates(gbps * 1e9, 0.0, 0.0, capacity_bps, True)

    def _sources(self, pop: Pop, window: ClosedWindow) -> Sources:
        return sources(pop, window, self.state, SilentSource(), SilentSource())


def _path(link: str) -> Path:
    peer, hop = HOPS[link]
    return Path(peer, hop, (64600 + int(peer.rpartition(".")[2]) - 30, 65001))
