"""From closed windows to loads: the level of a link from its counters, the shares of prefixes from sampled flows.

Each link's flows are scaled to its offered load, then credited to the link where plain BGP (or the plan) would send
them. So the level follows the counters at once, while the split among prefixes is a decayed average over the history.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.config.thresholds import Pacing, Thresholds
from app.te.traffic.demand import Numbers
from app.te.traffic.link import LinkLoad, LinkWindow
from app.te.traffic.matrix import Columns, TrafficMatrix
from app.te.traffic.observed import LinkWindows, ObservedWindow, SeenFlows
from app.te.traffic.placement import Placement
from app.te.traffic.shares import weights

MIN_STRAY_SAMPLES = 30  # fewer, seen where they should not be, say nothing of another link: one may be forged


class Traffic(msgspec.Struct, frozen=True):
    """The loads and demands of the newest window.

    `usable` links have a window, are up and have a known level: only they trigger or receive moves.
    `planned_bps` is each link's load with the held overrides in force, whether or not the routers follow them yet.
    """

    loads: dict[str, LinkLoad]
    usable: frozenset[str]
    planned_bps: dict[str, float]
    pairs: TrafficMatrix

    @property
    def offered_bps(self) -> float:
        """The traffic of the whole PoP, in bits per second."""
        return sum(load.offered_bps or 0.0 for load in self.loads.values())


def measure(observed: ObservedWindow, placement: Placement, thresholds: Thresholds, pacing: Pacing) -> Traffic:
    """The loads of the newest window, which must have links."""
    newest = observed.newest
    # The load of a link without any sample counts for that link, but for no prefix.
    unexplained_bps = {link: 0.0 if window.demand else offered_bps(window) for link, window in newest.items()}
    natural_bps, planned_bps = _levels(observed, placement, unexplained_bps)
    explained_bps = {link: bps - unexplained_bps.get(link, 0.0) for link, bps in natural_bps.items()}
    pairs = _pairs(observed, placement, explained_bps, thresholds, pacing)
    moved_in: dict[str, float] = {}
    moved_out: dict[str, float] = {}
    for pair in pairs.moved:
        moved_out[pair.natural] = moved_out.get(pair.natural, 0.0) + pair.bps
        moved_in[pair.planned] = moved_in.get(pair.planned, 0.0) + pair.bps
    loads = {
        link: _load(window, natural_bps.get(link, 0.0), moved_in.get(link, 0.0), moved_out.get(link, 0.0), thresholds)
        for link, window in newest.items()
    }
    usable = frozenset(link for link, window in newest.items() if _is_usable(window))
    return Traffic(loads, usable, {link: planned_bps.get(link, 0.0) for link in newest}, pairs)


def offered_bps(window: LinkWindow) -> float:
    """The load that was offered to this link: carried by its counters, or else the flow estimate, plus dropped."""
    carried_bps = window.flow_bps if window.carried_bps is None else window.carried_bps
    return carried_bps + (window.dropped_bps or 0.0)


def is_full(window: LinkWindow, carried_bps: float, thresholds: Thresholds) -> bool:
    """Whether this load is about all that the link can carry; never for a link of unknown capacity."""
    return window.capacity_bps > 0 and carried_bps >= thresholds.saturated * window.capacity_bps


def _is_usable(window: LinkWindow) -> bool:
    known = window.carried_bps is not None or window.flows.is_precise or window.is_bridged
    return window.up and window.capacity_bps > 0 and known


def _scale(window: LinkWindow) -> float:
    """Bits per second that one sampled byte of this window stands for; 0 if no byte was sampled."""
    flow_bps = window.flow_bps
    return offered_bps(window) / flow_bps * 8 / window.window_s if flow_bps else 0.0


def _levels(
    observed: ObservedWindow, placement: Placement, unexplained_bps: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """The natural load and the planned load, each by link id in bits per second."""
    newest, flows, egress = observed.newest, observed.flows, observed.egress
    natural = placement.naturals(egress, flows.pairs, flows.links)
    planned = placement.planneds(egress, flows.pairs, natural)
    few = _are_few(flows, natural, placement.exits(egress, flows.pairs, natural), len(egress.links))
    natural, planned = (np.where(few, flows.links, links) for links in (natural, planned))
    links = list(egress.links)
    return (
        _credited(newest, flows, natural, links, unexplained_bps),
        _credited(newest, flows, planned, links, unexplained_bps),
    )


def _are_few(flows: SeenFlows, natural: Numbers, exits: Numbers, links: int) -> NDArray[np.bool_]:
    """A mask of the flows seen where no override explains them, if few samples show that of two links.

    Their load stays on the link that they were seen on.
    """
    stray = (natural != flows.links) & (exits != flows.links)
    cells = flows.links * links + natural
    few: NDArray[np.bool_] = np.bincount(cells, flows.samples * stray, links * links)[cells] < MIN_STRAY_SAMPLES
    few &= stray
    return few


def _credited(
    newest: LinkWindows, flows: SeenFlows, to: Numbers, links: Sequence[str], unexplained_bps: Mapping[str, float]
) -> dict[str, float]:
    """Load by link id: the flows seen on a link are scaled to its offered load, then credited to the links `to`."""
    count = len(links)
    sizes_bytes = np.bincount(flows.links * count + to, flows.sizes_bytes, count * count).reshape(count, count)
    bps, credited = dict(unexplained_bps), dict(zip(links, sizes_bytes, strict=True))
    for link, window in newest.items():
        scale = _scale(window)
        for place in np.flatnonzero(credited[link]).tolist():
            bps[links[place]] = bps.get(links[place], 0.0) + float(credited[link][place]) * scale
    return bps


def _pairs(
    observed: ObservedWindow,
    placement: Placement,
    natural_bps: Mapping[str, float],
    thresholds: Thresholds,
    pacing: Pacing,
) -> TrafficMatrix:
    """Every pair of the history, with its share of its natural link's level by decayed average."""
    numbers, natural_links, pair_loads, samples = weights(observed, placement, _scale, thresholds, pacing)
    links = observed.egress.links
    totals = np.bincount(natural_links, weights=pair_loads, minlength=len(links)).tolist()
    scale = [natural_bps.get(link, 0.0) / total if total else 0.0 for link, total in zip(links, totals, strict=True)]
    planned = placement.planneds(observed.egress, numbers, natural_links)
    bps = pair_loads * np.array(scale)[natural_links]
    return TrafficMatrix(observed.pairs, links, Columns(numbers, natural_links, planned, bps, samples))


def _known(bps: float, window: LinkWindow) -> float | None:
    """A sum over flows: of a silent link, only those that were seen on other links are in it."""
    return None if window.is_silent and not bps else bps


def _load(window: LinkWindow, natural: float, moved_in: float, moved_out: float, thresholds: Thresholds) -> LinkLoad:
    offered = offered_bps(window)
    dropped = window.dropped_bps or 0.0
    carried = offered - dropped
    return LinkLoad(
        link=window.link,
        capacity_bps=window.capacity_bps,
        carried_bps=None if window.is_silent else carried,
        dropped_bps=window.dropped_bps,
        offered_bps=None if window.is_silent else offered,
        natural_bps=_known(natural, window),
        moved_in_bps=_known(moved_in, window),
        moved_out_bps=_known(moved_out, window),
        samples=window.samples,
        error_share=window.flows.error_share,
        saturated=dropped > 0 or is_full(window, carried, thresholds),
        renumbered=window.renumbered,
    )
