"""How the level of a link splits among its prefixes: averages over the history, slow unless the level jumps.

The history holds each pair many times, with a hundred thousand pairs in a window, so everything works on arrays.
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
    """Columns by pair: its number, its natural link, its part of that link's level, and the decayed samples behind it.

    `loads` have no unit of their own: only their ratios within one natural link matter.
    """

    numbers: Numbers
    natural_links: Numbers
    loads: Floats
    samples: Floats


def weights(
    observed: ObservedWindow, placement: Placement, scale: Scale, thresholds: Thresholds, pacing: Pacing
) -> Weights:
    """The decayed average of every pair in the history, as of the newest window."""
    pairs, links = observed.pairs, observed.egress.links
    numbers, natural_links = _natural_links(observed, placement)
    scaled = [
        [(column, column.sizes_bytes * scale(windows[column.link])) for column in columns]
        for windows, columns in zip(observed.history, observed.columns, strict=True)
    ]
    levels = [_levels(window, natural_links, len(links)) for window in scaled]
    loads, samples = np.zeros(len(pairs)), np.zeros(len(pairs))
    newest_s = _length_s(observed.newest)  # a longer window counts for more of the average
    fades = _fades(observed.history, levels, links, thresholds, pacing)
    for window, fade, length_s in zip(scaled, fades, map(_length_s, observed.history), strict=True):
        for column, sizes in window:
            faded = fade[natural_links[column.pairs]]
            loads[column.pairs] += sizes * faded * (length_s / newest_s)
            samples[column.pairs] += column.samples * faded
    return Weights(numbers, natural_links[numbers], loads[numbers], samples[numbers])


def _natural_links(observed: ObservedWindow, placement: Placement) -> tuple[Numbers, Numbers]:
    """The pairs of the history, and by pair number the current natural link, given the link it was last seen on."""
    egress = observed.egress
    seen_on = np.full(len(egress.pairs), -1, dtype=np.int64)
    for columns in observed.columns:
        for column in reversed(columns):  # within one window the first column counts
            seen_on[column.pairs] = egress.number(column.link)
    numbers = np.flatnonzero(seen_on >= 0)
    natural_links = np.full(len(egress.pairs), -1, dtype=np.int64)
    natural_links[numbers] = placement.naturals(egress, numbers, seen_on[numbers])
    return numbers, natural_links


def _levels(scaled: Sequence[tuple[DemandColumn, Floats]], natural_links: Numbers, count: int) -> Floats:
    """The natural level of each link in one window, in the unit of `scaled`."""
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
    """The weight of each window in the average, by natural link.

    Windows from before a jump of a link's natural level show another mix, so they fade fast. All pairs of a natural
    link fade alike, whichever link they were seen on, so that an override does not change the shares.
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


def _length_s(windows: LinkWindows) -> int:
    return max((window.window_s for window in windows.values()), default=1)
