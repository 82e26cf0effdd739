"""From closed windows to loads: the level of a link from its counters, the shares of prefixes from sampled flows.

Each link's flows are scaled to its offered load, then credited to the link where plain BGP (or the plan) would send
them. So a level follows the counters at once, while the split among prefixes is a decayed average over the history.
"""

from collections.abc import Mapping, Sequence
from math import exp, sqrt

import msgspec

from app.te.marks import Marks, Pacing
from app.te.model import LinkLoad, LinkWindow
from app.te.placement import Placement

Windows = Mapping[str, LinkWindow]  # all links of one window, by link id
MIN_FLOW_SAMPLES = 400  # without counters a level rests on at least so many: +-10 %
SIZE_VARIANCE = 0.34**2  # squared coefficient of variation of a CDN's packet sizes (mean 1,315 B)


class Pair(msgspec.Struct, frozen=True, gc=False):
    """Demand of one (ingress router, prefix): its natural link, the link of the plan, and its decayed samples."""

    ingress: str
    prefix: str
    natural: str
    planned: str
    bps: float
    samples: float


class Traffic(msgspec.Struct, frozen=True):
    """The newest window understood.

    `usable` links have a window, are up and have a known level: only they trigger or receive moves.
    `planned_bps` is each link's load with the held overrides in force, whether the routers follow already or not.
    """

    loads: dict[str, LinkLoad]
    usable: frozenset[str]
    planned_bps: dict[str, float]
    pairs: tuple[Pair, ...]

    @property
    def offered_bps(self) -> float:
        """All traffic of the PoP."""
        return sum(load.offered_bps for load in self.loads.values())


def measure(history: Sequence[Windows], placement: Placement, marks: Marks, pacing: Pacing) -> Traffic:
    """The loads of the newest (last) window; `history` must not be empty."""
    newest = history[-1]
    natural_bps, planned_bps = _levels(newest, placement)
    explained_bps = {link: bps - _unexplained_bps(newest.get(link)) for link, bps in natural_bps.items()}
    pairs = _pairs(history, placement, explained_bps, pacing.share_decay_s)
    moved_in: dict[str, float] = {}
    moved_out: dict[str, float] = {}
    for pair in pairs:
        if pair.natural != pair.planned:
            moved_out[pair.natural] = moved_out.get(pair.natural, 0.0) + pair.bps
            moved_in[pair.planned] = moved_in.get(pair.planned, 0.0) + pair.bps
    loads = {
        link: _load(window, natural_bps.get(link, 0.0), moved_in.get(link, 0.0), moved_out.get(link, 0.0), marks)
        for link, window in newest.items()
    }
    usable = frozenset(link for link, window in newest.items() if _is_usable(window))
    return Traffic(loads, usable, {link: planned_bps.get(link, 0.0) for link in newest}, pairs)


def offered_bps(window: LinkWindow) -> float:
    """What wanted to leave by this link: carried and dropped by counters, else the flow estimate."""
    if window.carried_bps is None:
        return window.flow_bps
    return window.carried_bps + (window.dropped_bps or 0.0)


def error_share(samples: int) -> float:
    """Half width of the 95 % interval of a flow estimate, as a share of it: Poisson count of packets of mixed size.

    At most 1: so few samples say nothing.
    """
    return min(1.96 * sqrt((1 + SIZE_VARIANCE) / samples), 1.0) if samples else 1.0


def _is_usable(window: LinkWindow) -> bool:
    known = window.carried_bps is not None or window.samples >= MIN_FLOW_SAMPLES
    return window.up and window.capacity_bps > 0 and known


def _unexplained_bps(window: LinkWindow | None) -> float:
    """Load without a single sample: it belongs to the link, but to no prefix."""
    return 0.0 if window is None or window.flow_bps else offered_bps(window)


def _scale(window: LinkWindow) -> float:
    """Bits per second that one sampled byte of this window stands for."""
    flow_bps = window.flow_bps
    return offered_bps(window) / flow_bps * 8 / window.window_s if flow_bps else 0.0


def _levels(newest: Windows, placement: Placement) -> tuple[dict[str, float], dict[str, float]]:
    """(natural, planned) load by link."""
    natural_bps = {link: _unexplained_bps(window) for link, window in newest.items()}
    planned_bps = dict(natural_bps)
    for link, window in newest.items():
        scale = _scale(window)
        for demand in window.demands:
            natural = placement.natural(demand.ingress, demand.prefix, link)
            planned = placement.planned(demand.ingress, demand.prefix, natural)
            bps = demand.size_bytes * scale
            natural_bps[natural] = natural_bps.get(natural, 0.0) + bps
            planned_bps[planned] = planned_bps.get(planned, 0.0) + bps
    return natural_bps, planned_bps


def _pairs(
    history: Sequence[Windows], placement: Placement, natural_bps: Mapping[str, float], decay_s: float
) -> tuple[Pair, ...]:
    """Every pair of the history, its share of its natural link's level by decayed average."""
    seen, weight, samples = _decayed(history, decay_s)
    homes = {pair: placement.natural(*pair, link) for pair, link in seen.items()}
    totals: dict[str, float] = {}
    for pair, home in homes.items():
        totals[home] = totals.get(home, 0.0) + weight[pair]
    bps_of = {home: natural_bps.get(home, 0.0) / total if total else 0.0 for home, total in totals.items()}
    return tuple(
        Pair(*pair, home, placement.planned(*pair, home), weight[pair] * bps_of[home], samples[pair])
        for pair, home in homes.items()
    )


PairKey = tuple[str, str]  # (ingress router, prefix)


def _decayed(
    history: Sequence[Windows], decay_s: float
) -> tuple[dict[PairKey, str], dict[PairKey, float], dict[PairKey, float]]:
    """By pair: the link it was last seen on, its decayed load (any unit) and its decayed samples."""
    seen: dict[PairKey, str] = {}
    weight: dict[PairKey, float] = {}
    samples: dict[PairKey, float] = {}
    now_s = max(window.window_start_s for window in history[-1].values())
    for windows in reversed(history):
        for link, window in windows.items():
            fade = exp((window.window_start_s - now_s) / decay_s)
            scale = fade * _scale(window)
            for demand in window.demands:
                pair = (demand.ingress, demand.prefix)
                seen.setdefault(pair, link)
                weight[pair] = weight.get(pair, 0.0) + demand.size_bytes * scale
                samples[pair] = samples.get(pair, 0.0) + demand.samples * fade
    return seen, weight, samples


def _load(window: LinkWindow, natural: float, moved_in: float, moved_out: float, marks: Marks) -> LinkLoad:
    offered = offered_bps(window)
    dropped = window.dropped_bps or 0.0 if window.carried_bps is not None else 0.0
    carried = offered - dropped
    return LinkLoad(
        link=window.link,
        capacity_bps=window.capacity_bps,
        carried_bps=carried,
        dropped_bps=dropped,
        offered_bps=offered,
        natural_bps=natural,
        moved_in_bps=moved_in,
        moved_out_bps=moved_out,
        samples=window.samples,
        error_share=error_share(window.samples),
        saturated=dropped > 0 or carried >= marks.act_now * window.capacity_bps,
    )
