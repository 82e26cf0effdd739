"""Congestion of one link: hysteresis between two thresholds, one congestion from opening to closing."""

from typing import Literal

from app.config.thresholds import Thresholds
from app.te.cycle_state import LinkState
from app.te.traffic.link import LinkLoad

Transition = Literal["opened", "open", "closed"]


def step(
    before: LinkState | None, load: LinkLoad, thresholds: Thresholds, window_start_s: int, may_close: bool = True
) -> tuple[LinkState | None, Transition | None]:
    """The state after this window and the event to publish; both are None for a link that is fine.

    `may_close` is False if the natural load is known to be too low, because part of it was not seen.
    """
    moved_bps = load.moved_out_bps or 0.0
    if before is None or not before.open:
        if _enters(load, thresholds):
            return LinkState(f"{load.link}/{window_start_s}", window_start_s, True, moved_bps), "opened"
        return _with_peak(before, moved_bps), None
    if may_close and _leaves(load, thresholds):
        return LinkState(before.id, before.since_s, False, max(before.peak_bps, moved_bps)), "closed"
    return _with_peak(before, moved_bps), "open"


def _enters(load: LinkLoad, thresholds: Thresholds) -> bool:
    return load.saturated or (load.natural_bps or 0.0) >= thresholds.enter * load.capacity_bps


def _leaves(load: LinkLoad, thresholds: Thresholds) -> bool:
    carries_less = (load.carried_bps or 0.0) < thresholds.enter * load.capacity_bps
    return carries_less and not load.saturated and (load.natural_bps or 0.0) <= thresholds.leave * load.capacity_bps


def _with_peak(before: LinkState | None, moved_bps: float) -> LinkState | None:
    """The state with its peak up to date; None for a closed congestion that has nothing left to release."""
    if before is None or (not before.open and moved_bps == 0):
        return None
    return LinkState(before.id, before.since_s, before.open, max(before.peak_bps, moved_bps))
