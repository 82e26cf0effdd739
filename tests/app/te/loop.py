"""A small closed loop in virtual time: true demand, links that drop, sampled flows, overrides that take effect late."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np

from app.config.inventory import Pop
from app.config.thresholds import Pacing, Policy, Thresholds
from app.contract.schemas import Override
from app.te.decision.cycle import CycleResult, CycleState, run_cycle
from app.te.routing.natural import NaturalRouting
from app.te.routing.path import Path
from app.te.routing.rib import Rib
from app.te.traffic.demand import Demand
from app.te.traffic.link import LinkWindow
from app.te.traffic.observed import Observer
from tests.app.te.world import WINDOW_S
from tests.pops import G, capacity_bps

SAMPLING = 32768
PACKET_BYTES, PACKET_SD = 1315, 447
EFFECT_AFTER = 0.7  # of a window: decided at close + grace, then actuated
HISTORY = 9

PairKey = tuple[str, str]
Truth = Callable[[int], Mapping[PairKey, float]]  # seconds -> demand in Gb/s by (ingress, prefix)


class Step(NamedTuple):
    """One window as it was, and what was decided at its end."""

    at_s: int
    offered_g: dict[str, float]
    dropped_g: dict[str, float]
    result: CycleResult


class Loop:
    """Runs cycle after cycle; `steps` is the story so far."""

    def __init__(self, pop: Pop, rib: Rib, truth: Truth, seed: int = 1, counters: bool = True) -> None:
        self.pop, self.rib, self.truth = pop, rib, truth
        self.natural = NaturalRouting(pop, rib)
        self.observer = Observer(self.natural)
        self.rng = np.random.default_rng(seed)
        self.counters = counters
        self.pacing = Pacing()
        self.now_s = 0
        self.state = CycleState()
        self.history: list[dict[str, LinkWindow]] = []
        self.steps: list[Step] = []
        self.silent: set[str] = set()
        self.forged: dict[str, float] = {}  # links whose flows claim so many times the truth
        self.mute: set[str] = set()  # prefixes whose traffic ignores overrides, whatever the routers show
        self.shows_routes = False  # whether BMP tells of our routes
        self.actuated = True
        self.elastic = False
        self.really: str | None = None  # where the routers send all that has no override, whatever we predict
        self._in_force: dict[str, Override] = {}
        self._before: dict[str, Override] = {}

    def run(self, windows: int) -> list[Step]:
        """So many windows more; the steps of these."""
        for _ in range(windows):
            self._window()
        return self.steps[-windows:]

    def _window(self) -> None:
        truth = self.truth(self.now_s)
        parts = [(EFFECT_AFTER, self._before), (1 - EFFECT_AFTER, self._in_force)]
        on_link: dict[str, dict[PairKey, float]] = {link: {} for link in self.pop.links}
        for share, overrides in parts:
            for pair, gbps in truth.items():
                link = self.exit(pair, overrides)
                on_link[link][pair] = on_link[link].get(pair, 0.0) + share * gbps
        if self.elastic:
            on_link = {link: self._squeezed(link, pairs) for link, pairs in on_link.items()}
        windows = {link: self._observe(link, pairs) for link, pairs in on_link.items()}
        self.history = [*self.history[1 - HISTORY :], {k: w for k, w in windows.items() if k not in self.silent}]
        self.now_s += WINDOW_S
        result = self._decide()
        offered = {link: sum(pairs.values()) for link, pairs in on_link.items()}
        dropped = {link: max(offered[link] - capacity_bps(self.pop.links[link]) / G, 0.0) for link in offered}
        self.steps.append(Step(self.now_s - WINDOW_S, offered, dropped, result))

    def _squeezed(self, link: str, pairs: dict[PairKey, float]) -> dict[PairKey, float]:
        """What senders that notice drops still offer: little more than fits, shared in proportion."""
        most_g = 1.03 * capacity_bps(self.pop.links[link]) / G
        share = min(most_g / (sum(pairs.values()) or 1.0), 1.0)
        return {pair: gbps * share for pair, gbps in pairs.items()}

    def exit(self, pair: PairKey, overrides: Mapping[str, Override]) -> str:
        """The link that the routers really use."""
        ingress, prefix = pair
        override = overrides.get(prefix)
        if override is not None and ingress in override.inject_on and prefix not in self.mute:
            return override.exit.link
        egress = self.natural.natural_exit(ingress, prefix)
        assert egress is not None
        return self.really or egress.link

    def _decide(self) -> CycleResult:
        observed = self.observer.observe(self.history)
        result = run_cycle(self.pop, Policy(Thresholds(), self.pacing), observed, self.state, self.now_s)
        packed = msgspec.msgpack.encode(result.state)
        self.state = msgspec.msgpack.decode(packed, type=CycleState)
        self._before = self._in_force
        if self.actuated:
            gone = {one.prefix for one in result.released}
            held = {prefix: one for prefix, one in self._in_force.items() if prefix not in gone}
            self._in_force = held | {one.prefix: one for one in result.overrides}
        if self.shows_routes:
            self._show()
        return result

    def _show(self) -> None:
        """Our routes as BMP tells of them, a moment after the decision."""
        for router in self.pop.router:
            injector = router.injector.address
            for prefix in self.rib.by_peer(router.name).get((injector, 0), ()):
                self.rib.withdraw(router.name, prefix, injector)
            for prefix, override in self._in_force.items():
                if router.name in override.inject_on:
                    marked = (self.pop.marker_community,)
                    ours = Path(injector, override.exit.next_hop, (), local_pref=1000, communities=marked, ebgp=False)
                    self.rib.update(router.name, prefix, ours)

    def _observe(self, link: str, pairs: Mapping[PairKey, float]) -> LinkWindow:
        most_bps = capacity_bps(self.pop.links[link])
        offered_bps = sum(pairs.values()) * G
        carried_bps = min(offered_bps, most_bps)
        passed = carried_bps / offered_bps if offered_bps else 0.0
        amounts: dict[PairKey, tuple[int, int]] = {}
        for (ingress, prefix), gbps in pairs.items():
            packets = self.forged.get(link, 1.0) * gbps * G * passed * WINDOW_S / 8 / PACKET_BYTES
            samples = int(self.rng.poisson(packets / SAMPLING))
            if samples:
                size = SAMPLING * max(self.rng.normal(PACKET_BYTES * samples, PACKET_SD * samples**0.5), 64)
                amounts[ingress, prefix] = round(size), samples
        demand = Demand.of(amounts)
        return LinkWindow(
            link=link,
            window_start_s=self.now_s,
            window_s=WINDOW_S,
            capacity_bps=most_bps,
            carried_bps=carried_bps if self.counters else None,
            dropped_bps=offered_bps - carried_bps if self.counters else None,
            received_bps=None,
            up=True,
            samples=sum(samples for _, samples in amounts.values()),
            demand=demand,
            sampled_bytes=int(demand.sizes_bytes.sum()),
        )


def exits(result: CycleResult) -> dict[str, str]:
    """Where each override goes."""
    return {one.prefix: one.exit.link for one in result.overrides}


def changes(steps: list[Step]) -> int:
    """Adds, withdraws and changes of exit from the first of these steps to the last."""
    sets = [exits(step.result) for step in steps]
    return sum(
        before.get(prefix) != after.get(prefix)
        for before, after in pairwise(sets)
        for prefix in before.keys() | after.keys()
    )
