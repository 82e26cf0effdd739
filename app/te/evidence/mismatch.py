"""How well we predict where traffic leaves: by plain BGP, and by the exit of its override where we steer it."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from app.te.cycle_state import StandingOverride
from app.te.evidence.effect import SETTLING_WINDOWS
from app.te.traffic.demand import Floats
from app.te.traffic.egress_index import NO_EXIT
from app.te.traffic.link import LinkWindow
from app.te.traffic.loads import MIN_STRAY_SAMPLES, offered_bps
from app.te.traffic.observed import ObservedWindow

MISMATCH = "egress-mismatch"
MISMATCHED_WINDOWS = 3  # in a row; one routing change affects two: the window it falls into and the next to close
FEW_SHARE_MAX = 0.005


def mismatch_share(
    observed: ObservedWindow, left_out: Collection[str], steered: Mapping[str, StandingOverride] | None = None
) -> float | None:
    """The share of traffic that left by another link than predicted; None if there is no traffic to judge by.

    Vendors choose differently between equal paths, so any of these counts as predicted. The share leaves out the
    prefixes `left_out`, those for which a router still holds an override that is not in `steered`, and those without a
    predicted exit. Traffic of a `steered` prefix has to leave by the exit of its override. The flows of a link count as
    much as its counters say. Fewer than MIN_STRAY_SAMPLES samples elsewhere can be forged: they say nothing, and if
    they would be more than FEW_SHARE_MAX of all, neither does the window.
    """
    steered = steered or {}
    pairs, flows = observed.pairs, observed.flows
    bgp = observed.egress.predict(flows.pairs)
    ours = pairs.among(flows.pairs, steered)
    judged = (bgp.exits != NO_EXIT) & ~bgp.overridden & ~pairs.among(flows.pairs, left_out) & ~ours
    astray = judged & (bgp.exits != flows.links)
    astray[astray] = _elsewhere(observed, astray)
    exits = _exits(observed, ours, steered)
    judged[ours] = exits != NO_EXIT
    astray[ours] = (exits != NO_EXIT) & (exits != flows.links[ours])
    weights = flows.sizes_bytes * _factors(observed)[flows.links]
    total = float(weights[judged].sum())
    share = float(weights[astray].sum()) / total if total else None
    if share is not None and flows.samples[astray].sum() < MIN_STRAY_SAMPLES:
        return 0.0 if share <= FEW_SHARE_MAX else None
    return share


def judged_overrides(held: Mapping[str, StandingOverride], newest: Mapping[str, LinkWindow]) -> set[str]:
    """The prefixes whose override every router has shown for so long that the newest window has to show its effect."""
    start_s = max(window.window_start_s for window in newest.values())
    settled_s = start_s - SETTLING_WINDOWS * max(window.window_s for window in newest.values())
    return {
        prefix
        for prefix, standing in held.items()
        if standing.confirmed_s is not None and standing.confirmed_s <= settled_s
    }


def _elsewhere(observed: ObservedWindow, astray: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of the flows that are not on their predicted link, those that are on none of the equal paths either."""
    flows, links = observed.flows, list(observed.egress.links)
    keys = map(observed.pairs.keys.__getitem__, flows.pairs[astray].tolist())
    seen = zip(keys, flows.links[astray].tolist(), strict=True)
    return np.array(
        [not observed.natural.may_leave(ingress, prefix, links[link]) for (ingress, prefix), link in seen],
        dtype=np.bool_,
    )


def _exits(
    observed: ObservedWindow, ours: NDArray[np.bool_], steered: Mapping[str, StandingOverride]
) -> NDArray[np.int64]:
    """The exit of each flow of `ours`; NO_EXIT for one that entered at a router without the override."""
    exits = []
    for number in observed.flows.pairs[ours].tolist():
        ingress, prefix = observed.pairs.keys[number]
        override = steered[prefix].override
        exits.append(observed.egress.number(override.exit.link) if ingress in override.inject_on else NO_EXIT)
    return np.array(exits, dtype=np.int64)


def _factors(observed: ObservedWindow) -> Floats:
    """By link number, its offered load over its flow estimate, so that no link counts more than it carried."""
    factors = np.ones(len(observed.egress.links))
    for link, window in observed.newest.items():
        offered = offered_bps(window)
        if offered and window.flow_bps:
            factors[observed.egress.number(link)] = offered / window.flow_bps
    return factors
