"""How the level of a link splits among its prefixes: averages over the history, slow but for a jump of the level.

The history holds each pair many times, a hundred thousand pairs in a window, so all is done on arrays.
"""

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf
from typing import NamedTuple

import numpy as np

from app.config.thresholds import Pacing, Thresholds
from app.te.traffic.demand import Floats, Numbers
from app.te.traffic.link import LinkWindow
from app.te.traffic.observed import DemandColumn, LinkWindows, ObservedWindow
from app.te.traffic.placement import Placement

Scale = Callable[[LinkWindow], float]  # bits per second that one sampled byte stands for


class Weights(NamedTuple):
    """By pair: its natural link, its part of that link's level in any unit, and the decayed samples it rests on."""

    numbers: Numbers
    natural_links: Numbers
    loads: Floats
    samples: Floats


def weights(
    observed: ObservedWindow, placement: Placement, scale: Scale, thresholds: Thresholds, pacing: Pacing
) -> Weights:
    """Every pair of the history, with its decayed average as of the newest window."""
    pairs, links = observed.pairs, observed.egress.links
    numbers, natural_links = _natural_links(observed, placement)
    scaled = [
        [(column, column.sizes_bytes * scale(windows[column.link])) for column in columns]
        for windows, columns in zip(observed.history, observed.columns, strict=True)
    ]
    levels = [_levels(one, natural_links, len(links)) for one in scaled]
    loads, samples = np.zeros(len(pairs)), np.zeros(len(pairs))
    for one, fade in zip(scaled, _fades(observed.history, levels, links, thresholds, pacing), strict=True):
        for column, sizes in one:
            faded = fade[natural_links[column.pairs]]
            loads[column.pairs] += sizes * faded
            samples[column.pairs] += column.samples * faded
    return Weights(numbers, natural_links[numbers], loads[numbers], samples[numbers])


def _natural_links(observed: ObservedWindow, placement: Placement) -> tuple[Numbers, Numbers]:
    """Pairs of the history, and by pair the natural link, as of today, given where it was seen last."""
    egress = observed.egress
    seen_on = np.full(len(egress.pairs), -1, dtype=np.int64)
    for columns in observed.columns:
        for column in reversed(columns):  # in a window the first one counts
            seen_on[column.pairs] = egress.number(column.link)
    numbers = np.flatnonzero(seen_on >= 0)
    natural_links = np.full(len(egress.pairs), -1, dtype=np.int64)
    natural_links[numbers] = placement.naturals(egress, numbers, seen_on[numbers])
    return numbers, natural_links


def _levels(scaled: Sequence[tuple[DemandColumn, Floats]], natural_links: Numbers, count: int) -> Floats:
    """Natural level of each link in one window."""
    level = np.zeros(count)
    for column, sizes in scaled:
        level += np.bincount(natural_links[column.pairs], weights=sizes, minlength=count)
    return level


def _fades(
    history: Sequence[LinkWindows],
    levels: Sequence[Floats],
    links: Mapping[str, int],
    thresholds: Thresholds,
    pacing: Pacing,
) -> list[Floats]:
    """What each window counts today, by natural link.

    Windows from before a jump of a link's natural level show another mix: they fade fast. All pairs of a link fade
    alike, wherever they were seen: an override changes no share.
    """
    newest = history[-1]
    jumps = np.array([thresholds.jump * newest[link].capacity_bps if link in newest else inf for link in links])
    fades = []
    for windows, level in zip(history, levels, strict=True):
        age_s = _start_s(newest) - _start_s(windows) if windows else 0
        slow, fast = exp(-age_s / pacing.share_decay_s), exp(-age_s / pacing.share_attack_s)
        fades.append(np.where(levels[-1] - level > jumps, fast, slow))
    return fades


def _start_s(windows: LinkWindows) -> int:
    return max(window.window_start_s for window in windows.values())
