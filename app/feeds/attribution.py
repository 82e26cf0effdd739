"""First step of accounting: find the link and window of each flow record, and count the bytes that belong to none."""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.config.forms import SELF_IFINDEX
from app.config.inventory import Pop
from app.feeds.bmp import canonical
from app.feeds.columns import FlowColumns, FlowSource
from app.te.routing.lpm import Addresses
from app.te.traffic.demand import Floats, Numbers
from app.te.traffic.grid import Grid
from app.te.traffic.premises import FlowInventory
from app.te.traffic.rates import SampledRates
from app.te.traffic.unplaced import NOT_BELIEVED, NOT_OUTBOUND
from app.te.traffic.windows import Progress

SPECIAL_BITS = 0xC0000000  # sFlow's format bits: discarded, or several outputs
CLOCK_SKEW_MAX_S = 60.0
CLOCK_AHEAD_S = 5.0  # from here on a collector's clock is named, though its records count
SOURCES_KEPT = 1 << 13

# One sample of 1 in N packets stands for N packets. A link whose full capacity gives less than one sample in this time
# is not sampled in a way that says anything of a window.
SAMPLE_MAX_S = 10.0
FRAME_BYTES_MAX = 65_600  # an IP packet has at most 65,535

NOT_NUMBERED = ("unknown-router", "clock-skew", "clock-ahead", "late")
BY_RATE = ("unknown-sampling-rate", *NOT_BELIEVED)


class Attributed(NamedTuple):
    """Records of open windows, each with its link and ingress router; sizes are scaled by the sampling rate."""

    links: list[str]
    routers: list[str]
    link: Numbers  # place in `links`
    ingress: Numbers  # place in `routers`
    starts_s: Numbers  # start of the record's window
    destinations: Addresses
    samples: Numbers
    sizes_bytes: Numbers


class Origin(NamedTuple):
    """Where a source's records belong: by `reason` to no link, else to places in the lists of links and routers.

    `router` is that of the agent, empty if unknown. `learns` is the link whose usual sampling rates the records show.
    """

    reason: str
    router: str
    rate: int
    link: int = -1
    ingress: int = -1
    learns: str = ""
    sample_bytes_max: float = inf


def router_of(pop: Pop | FlowInventory, agent: str) -> str | None:
    """The router with this sFlow agent address, however the address is spelled; None if there is none."""
    try:
        return pop.router_by_agent.get(agent) or pop.router_by_agent.get(canonical(agent))
    except ValueError:
        return None


class Origins:
    """The origins of a PoP's sources, each looked up once."""

    def __init__(self, inventory: FlowInventory) -> None:
        self.links, self.routers = list(inventory.configured_bps), list(inventory.sampling_rates)
        self._inventory = inventory
        self._known: dict[FlowSource, Origin] = {}

    def of(self, source: FlowSource) -> Origin:
        """The origin of a source's records."""
        if (known := self._known.get(source)) is None:
            if len(self._known) == SOURCES_KEPT:
                self._known.clear()
            known = self._known[source] = self._find(source)
        return known

    def _find(self, source: FlowSource) -> Origin:
        inventory, rate = self._inventory, max(1, source.sampling_rate)
        name = router_of(inventory, source.exporter)
        if name is None:
            return Origin("unknown-router", "", rate)
        listed = inventory.sampling_rates[name]
        if source.sampling_rate == 0:
            return Origin("unknown-sampling-rate", name, rate)
        if listed and source.sampling_rate not in listed:
            return Origin("unlisted-sampling-rate", name, rate)
        link = None if source.iface_out in (0, SELF_IFINDEX) else inventory.outputs[name].get(source.iface_out)
        if link is None:  # only now: an ifIndex of the inventory may have these bits
            if source.iface_out in inventory.inputs[name]:
                return Origin(NOT_OUTBOUND, name, rate)
            special = source.iface_out in (0, SELF_IFINDEX) or source.iface_out & SPECIAL_BITS
            return Origin("special-interface" if special else "unknown-interface", name, rate)
        ingress = inventory.inputs[name].get(source.iface_in)
        return Origin(
            "unknown-ingress" if ingress is None else "",
            name,
            rate,
            self.links.index(link),
            -1 if ingress is None else self.routers.index(ingress),
            "" if listed else link,
            min((inventory.configured_bps[link] or inf) / 8 * SAMPLE_MAX_S, float(FRAME_BYTES_MAX * rate)),
        )


def attribute(flows: FlowColumns, origins: Origins, grid: Grid, kafka_s: float, count_in: Progress) -> Attributed:
    """Attribute records that arrived at Kafka time `kafka_s` to windows of this grid.

    Late and unattributed records are left out; their bytes are counted in `count_in`.
    """
    of, source = [origins.of(each) for each in flows.sources], flows.source
    rates = np.array([origin.rate for origin in of], dtype=np.int64)
    sizes_bytes = flows.sizes_bytes * rates[source]
    starts_s = grid.starts_of(flows.at_s)
    count_in.records += len(source)
    count_in.hears({origin.router for origin in of if origin.router})
    sieve = _Sieve(flows, sizes_bytes, count_in)
    sieve.refuse_sources(_reasons(of, count_in.rates))
    sieve.refuse_heavy(np.array([origin.sample_bytes_max for origin in of]))
    sieve.refuse_skewed(kafka_s)
    sieve.refuse_late(starts_s)
    _learn(of, source, sizes_bytes, count_in.rates)
    link, ingress = (np.array([origin[place] for origin in of], dtype=np.int64) for place in (3, 4))
    attributed = Attributed(
        origins.links,
        origins.routers,
        link[source],
        ingress[source],
        starts_s,
        flows.destinations,
        flows.samples,
        sizes_bytes,
    )
    return attributed if sieve.usable.all() else _at(attributed, np.flatnonzero(sieve.usable))


def _learn(of: Sequence[Origin], source: Numbers, sizes_bytes: Numbers, rates: SampledRates) -> None:
    """Count the records of each source for what is usual on its link and router."""
    records, sums = np.bincount(source, minlength=len(of)).tolist(), np.zeros(len(of), dtype=np.int64)
    np.add.at(sums, source, sizes_bytes)
    for place, origin in enumerate(of):
        if origin.learns and records[place]:
            for sender in (origin.learns, origin.router):
                rates.count(sender, origin.rate, records[place], int(sums[place]))


class _Sieve:
    """Tells usable records from others, whose bytes it counts by reason and by sender."""

    def __init__(self, flows: FlowColumns, sizes_bytes: Numbers, count_in: Progress) -> None:
        self.usable = np.ones(len(sizes_bytes), dtype=np.bool_)
        self._flows = flows
        self._sizes_bytes = sizes_bytes
        self._count_in = count_in

    def refuse_sources(self, reasons: Sequence[str]) -> None:
        """Refuse all records of the sources that have a reason."""
        for reason in dict.fromkeys(filter(None, reasons)):
            self._refuse(reason, np.array([each == reason for each in reasons])[self._flows.source])

    def refuse_heavy(self, sample_bytes_max: Floats) -> None:
        """Refuse records whose samples would each stand for more bytes than their source's maximum."""
        if self._sizes_bytes.max(initial=0) > sample_bytes_max.min(initial=inf):
            most_bytes = sample_bytes_max[self._flows.source] * np.maximum(self._flows.samples, 1)
            self._refuse("impossible-weight", self._sizes_bytes > most_bytes)

    def refuse_skewed(self, kafka_s: float) -> None:
        """Refuse records from the future, by the time of their message and by the clocks of all collectors."""
        at_s, newest_s = self._flows.at_s, self._flows.newest_s
        if newest_s > kafka_s + CLOCK_AHEAD_S or newest_s > self._count_in.newest_s + CLOCK_SKEW_MAX_S:
            self._name("clock-ahead", self.usable & (at_s > kafka_s + CLOCK_AHEAD_S))
            self._refuse("clock-skew", at_s > min(kafka_s, self._count_in.newest_s) + CLOCK_SKEW_MAX_S)

    def refuse_late(self, starts_s: Numbers) -> None:
        """Count the bytes of closed windows as late."""
        if starts_s.min(initial=self._count_in.open_from_s) < self._count_in.open_from_s:
            late = self.usable & (starts_s < self._count_in.open_from_s)
            self.usable &= ~late
            self._count_in.late_bytes += self._name("late", late)

    def _refuse(self, reason: str, mask: NDArray[np.bool_]) -> None:
        mask = self.usable & mask
        self.usable &= ~mask
        if mask.any():
            self._count_in.leave_out(reason, self._name(reason, mask))

    def _name(self, reason: str, mask: NDArray[np.bool_]) -> int:
        """Count records by sender; the sum of their bytes."""
        source, sizes_bytes = self._flows.source[mask], self._sizes_bytes[mask]
        sums = np.zeros(len(self._flows.sources), dtype=np.int64)
        np.add.at(sums, source, sizes_bytes)
        records = np.bincount(source, minlength=len(sums))
        for place in np.flatnonzero(records).tolist() if reason != NOT_OUTBOUND else ():
            sender = self._flows.sources[place]
            number = _number(reason, sender)
            self._count_in.unplaced.add(reason, sender.exporter, number, int(sums[place]), int(records[place]))
        return int(sums.sum())


def _reasons(of: Sequence[Origin], rates: SampledRates) -> list[str]:
    """The reason code of each source whose records belong to no link, empty for the others."""
    return [
        "unusual-sampling-rate"
        if origin.learns and origin.rate > rates.most(origin.learns, origin.router)
        else origin.reason
        for origin in of
    ]


def _number(reason: str, source: FlowSource) -> int:
    """The number of a source that a reason is about."""
    if reason in NOT_NUMBERED:
        return 0
    if reason in BY_RATE:
        return source.sampling_rate
    return source.iface_in if reason == "unknown-ingress" else source.iface_out


def _at(attributed: Attributed, places: Numbers) -> Attributed:
    """The records at these places."""
    links, routers, link, ingress, starts_s, destinations, samples, sizes_bytes = attributed
    return Attributed(
        links,
        routers,
        link[places],
        ingress[places],
        starts_s[places],
        destinations.at(places),
        samples[places],
        sizes_bytes[places],
    )
