"""One tick of traffic: demand, links that carry it up to line rate with tail drop, and their port counters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.config.inventory import Link
from app.lab.pop.exits import NO_LINK, Exits, Floats, per_link
from app.lab.pop.packets import FRAME_BYTES_MEAN
from app.lab.pop.pop import SimPop
from app.lab.pop.scenario import Scenario
from app.lab.pop.sflow import GenericCounters

NOISE: Final = 0.05  # standard deviation of one (ingress, prefix) from tick to tick, as a share
RECEIVED_SHARE: Final = 0.08  # requests and acknowledgements that come back in, as a share of the bytes carried


class Workload:
    """Demand per tick. The noise depends only on seed and tick, so another network sees the same demand."""

    def __init__(self, sim: SimPop, scenario: Scenario, tick_s: float) -> None:
        self._sim, self._scenario, self._tick_s = sim, scenario, tick_s
        surged_link = [f"{link.router}/{link.name}" for link in sim.pop.link].index(scenario.link)
        self._surged = sim.home_link == surged_link
        self._base_share = float(sim.base_share[surged_link])

    def wanted_bytes(self, tick: int) -> Floats:
        """The bytes wanted in the tick that starts at `tick * tick_s`, by (ingress router, prefix)."""
        at_s = tick * self._tick_s
        daily, factor = self._scenario.daily(at_s), self._scenario.multiplier(at_s, self._base_share)
        noise = np.random.default_rng((self._sim.seed, tick)).normal(1, NOISE, self._surged.shape).clip(0)
        rate_bps = self._sim.demand_bps * daily * np.where(self._surged, factor, 1.0) * noise
        return np.asarray(rate_bps * self._tick_s / 8)


@dataclass(frozen=True, eq=False)
class Carried:
    """Bytes of one tick, by link. offered = carried + dropped; black-holed bytes never reach the port."""

    offered: Floats
    carried: Floats
    dropped: Floats
    blackholed: Floats
    by_pair: Floats  # carried bytes by (ingress router, prefix); 0 if nothing left the PoP


def carry(wanted_bytes: Floats, exit_of: Exits, capacity_bytes: Floats) -> Carried:
    """Send the wanted bytes out on the routers' exits. A full link drops the same share of everything (tail drop)."""
    links = len(capacity_bytes)
    sent = (exit_of.link != NO_LINK) & ~exit_of.blackholed
    offered = per_link(np.where(sent, wanted_bytes, 0), exit_of.link, links)
    blackholed = per_link(np.where(exit_of.blackholed, wanted_bytes, 0), exit_of.link, links)
    carried = np.minimum(offered, capacity_bytes)
    share = np.divide(carried, offered, out=np.ones(links), where=offered > 0)
    by_pair = np.where(sent, wanted_bytes * share[exit_of.link], 0)
    return Carried(offered, carried, offered - carried, blackholed, by_pair)


class PortCounters:
    """The counters of every link's port, as totals since start."""

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = links
        self._out_bytes = np.zeros(len(links))
        self._dropped_bytes = np.zeros(len(links))
        self._sequence = 0

    def add(self, tick: Carried) -> None:
        """Count the traffic of one tick."""
        self._out_bytes += tick.carried
        self._dropped_bytes += tick.dropped

    def poll(self) -> list[GenericCounters]:
        """Read every port once: one reading per link, in inventory order."""
        self._sequence += 1
        return [
            self._read(link, *totals)
            for link, *totals in zip(self._links, self._out_bytes.tolist(), self._dropped_bytes.tolist(), strict=True)
        ]

    def _read(self, link: Link, out_bytes: float, dropped_bytes: float) -> GenericCounters:
        in_bytes = out_bytes * RECEIVED_SHARE
        return GenericCounters(
            sequence=self._sequence,
            ifindex=link.ifindexes[0],
            speed_bps=int(link.configured_bps or 0),
            in_octets=int(in_bytes),
            in_packets=int(in_bytes / FRAME_BYTES_MEAN),
            out_octets=int(out_bytes),
            out_packets=int(out_bytes / FRAME_BYTES_MEAN),
            out_discards=int(dropped_bytes / FRAME_BYTES_MEAN),
        )
