"""The level of a link: its counters as far as a second reading or the flows of the same seconds support them.

A single reading may be forged, held back or of another time. So no level counts that only one reading shows.
"""

from math import inf, log, sqrt
from typing import NamedTuple

from app.te.traffic.counters import MARGIN
from app.te.traffic.lag import Rates

MIN_FLOW_SAMPLES = 400  # without counters, a level needs at least this many: +-10 %
MAX_SAMPLE_SHARE = 0.01  # and none that is more of it than this: one may be forged
SIZE_VARIANCE = 0.34**2  # squared coefficient of variation of a CDN's packet sizes (mean 1,315 B)
SLACK = 0.1  # share of capacity: counters that are off by less are corrected, others are not believed
AGREE = 1.05  # two readings in a row that differ by less show the same: polls do not arrive to the moment
NEARLY_FULL = 0.9  # share of capacity: from here on, drops are no surprise


class FlowLevel(NamedTuple):
    """What sampled flows say of a link in a window: their estimate in bits per second, and the samples behind it.

    `heaviest_share` is the share of the estimate that is due to a single sample, at most.
    """

    bps: float
    samples: int
    heaviest_share: float = 0.0

    @property
    def error_share(self) -> float:
        """Half width of the 95 % interval as a share of the estimate, if one of the samples may be wrong altogether."""
        return min(error_share(self.samples) + self.heaviest_share, 1.0)

    @property
    def high_bps(self) -> float:
        """The upper end of the interval."""
        return self.bps * (1 + self.error_share)

    @property
    def low_bps(self) -> float:
        """The lower end of the interval."""
        return self.bps * (1 - self.error_share)

    @property
    def is_precise(self) -> bool:
        """Whether flows alone show the level of a link."""
        return self.samples >= MIN_FLOW_SAMPLES and self.heaviest_share <= MAX_SAMPLE_SHARE


class Level(NamedTuple):
    """The believed loads of a link, in bits per second; None for what is unknown. A `capacity_bps` of 0 is unknown.

    `unconfirmed_bps` are drops that only one reading shows: they are published, but nothing is decided on them.
    """

    carried_bps: float | None
    dropped_bps: float | None
    unconfirmed_bps: float
    capacity_bps: float


def error_share(samples: int) -> float:
    """Half width of the 95 % interval of a flow estimate, as a share of it: a Poisson count of packets of mixed size.

    It is at most 1: with so few samples the estimate means nothing.
    """
    return min(1.96 * sqrt((1 + SIZE_VARIANCE) / samples), 1.0) if samples else 1.0


def settled_by(rates: Rates, flows: FlowLevel) -> Rates:
    """Of two ways to read a LAG's counters the one that is nearer to the flows, or the only one that they allow."""
    other = rates.otherwise
    if other is None or not (rates.carried_bps and other.carried_bps and flows.bps):
        return rates
    if flows.is_precise:
        return min(rates, other, key=lambda one: abs(log((one.carried_bps or 1.0) / flows.bps)))
    low_bps, high_bps = flows.low_bps / MARGIN, flows.high_bps * MARGIN
    allowed = [one for one in (rates, other) if low_bps <= (one.carried_bps or 0.0) <= high_bps]
    return allowed[0] if len(allowed) == 1 else rates


def level_of(rates: Rates, flows: FlowLevel, configured_bps: float | None) -> Level:
    """The level of a link with the capacity `configured_bps`; None if only its counters know it."""
    capacity_bps = _capacity_bps(rates, flows, configured_bps)
    carried_bps = _carried_bps(rates, flows, capacity_bps)
    dropped_bps = rates.dropped_bps
    no_surprise = max(carried_bps or 0.0, flows.high_bps) >= NEARLY_FULL * capacity_bps
    if not dropped_bps or rates.dropped_low_bps or no_surprise:
        return Level(carried_bps, dropped_bps, 0.0, capacity_bps)
    return Level(carried_bps, 0.0, dropped_bps, capacity_bps)


def _capacity_bps(rates: Rates, flows: FlowLevel, configured_bps: float | None) -> float:
    """What the inventory says, or less if its live ports are slower; 0 if nobody says anything that can be true.

    Ports that carry more than their speed are faster than they say, and members that carry more than their share of
    the link are not the only ones.
    """
    level_bps = flows.low_bps if rates.carried_bps is None else min(rates.carried_bps, rates.sure_bps or flows.high_bps)
    said_bps = rates.capacity_bps if level_bps <= MARGIN * rates.capacity_bps else 0.0
    if configured_bps is None:
        return said_bps
    if said_bps:
        return min(configured_bps, said_bps)
    live_bps = configured_bps * rates.live_share
    return live_bps if level_bps <= MARGIN * live_bps else configured_bps


def _carried_bps(rates: Rates, flows: FlowLevel, capacity_bps: float) -> float | None:
    """The counters' load, within what flows or readings in a row show; None if it is far from both."""
    if rates.carried_bps is None or not capacity_bps:
        return rates.carried_bps
    if flows.high_bps >= rates.wraps_bps:
        return None
    upper_bps = min(max(_upper_bps(rates, flows), SLACK * capacity_bps), MARGIN * max(capacity_bps, rates.capacity_bps))
    lower_bps = min(flows.low_bps, inf if rates.high_bps is None else rates.high_bps / AGREE)
    carried_bps = min(max(rates.carried_bps, lower_bps), upper_bps)
    return carried_bps if abs(carried_bps - rates.carried_bps) <= SLACK * capacity_bps else None


def _upper_bps(rates: Rates, flows: FlowLevel) -> float:
    """The most that flows show, or the readings where they surely show more.

    Two readings in a row are not independent: an agent that caches its counters, or a queue, makes both too late.
    """
    if flows.is_precise:
        return max(flows.high_bps, rates.steady_bps or 0.0)
    return max(flows.high_bps, AGREE * (rates.low_bps or 0.0) if (rates.sure_bps or 0.0) > flows.high_bps else 0.0)
