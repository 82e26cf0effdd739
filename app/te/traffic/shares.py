"""How the level of a link splits among its prefixes: averages over the history, slow but for a jump of the level.

The history holds each pair many times, a hundred thousand pairs in a window, so all is done on arrays. A pair has a
number, which the windows keep with their arrays from cycle to cycle.
"""

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.config.thresholds import Marks, Pacing
from app.te.traffic.demand import Numbers, Pairs
from app.te.traffic.egress_index import Forecast
from app.te.traffic.link import LinkWindow
from app.te.traffic.placement import Placement

History = Sequence[Mapping[str, LinkWindow]]
Scale = Callable[[LinkWindow], float]  # bits per second that one sampled byte stands for
Floats = NDArray[np.float64]


class Weights(NamedTuple):
    """By pair: its natural link, its part of that link's level in any unit, and the decayed samples it rests on."""

    numbers: Numbers
    homes: Numbers
    loads: Floats
    samples: Floats


class Column(NamedTuple):
    """A window's demands in numbers of the same pairs."""

    of: Pairs
    pairs: Numbers
    sizes_bytes: Floats
    samples: Floats


NOTHING = Column(Pairs(), np.empty(0, np.int64), np.empty(0), np.empty(0))


class Seen(NamedTuple):
    """The demands of all links of a window, one after the other."""

    pairs: Numbers
    links: Numbers
    sizes_bytes: Floats


def weights(
    history: History, pairs: Pairs, placement: Placement, scale: Scale, marks: Marks, pacing: Pacing
) -> Weights:
    """Every pair of the history, with its decayed average as of the newest (last) window, in numbers of `pairs`."""
    columns = [[(link, _column(window, pairs)) for link, window in windows.items()] for windows in history]
    numbers, homes = _homes(columns, pairs, placement)
    links = placement.forecast(pairs).links
    scaled = [
        [(column, column.sizes_bytes * scale(windows[link])) for link, column in one]
        for windows, one in zip(history, columns, strict=True)
    ]
    levels = [_levels(one, homes, len(links)) for one in scaled]
    loads, samples = np.zeros(len(pairs)), np.zeros(len(pairs))
    for one, fade in zip(scaled, _fades(history, levels, links, marks, pacing), strict=True):
        for column, sizes in one:
            faded = fade[homes[column.pairs]]
            loads[column.pairs] += sizes * faded
            samples[column.pairs] += column.samples * faded
    return Weights(numbers, homes[numbers], loads[numbers], samples[numbers])


def numbering(history: History) -> Pairs:
    """The pairs of the newest window with traffic: all windows but those of before a restart have them."""
    newest = (max((one.demands for one in windows.values()), key=len) for windows in reversed(history) if windows)
    return next((demands.pairs for demands in newest if demands), Pairs())


def seen(windows: Mapping[str, LinkWindow], pairs: Pairs, forecast: Forecast) -> Seen:
    """Everything that was seen in a window, in numbers of `pairs` and of the links of `forecast`."""
    columns = [_column(window, pairs) for window in windows.values()] or [NOTHING]
    links = np.array([forecast.number(link) for link in windows], dtype=np.int64)
    return Seen(
        np.concatenate([column.pairs for column in columns]),
        np.repeat(links, [len(column.pairs) for column in columns]),
        np.concatenate([column.sizes_bytes for column in columns]),
    )


def _column(window: LinkWindow, pairs: Pairs) -> Column:
    column: Column | None = window.__dict__.get("column")
    if column is None or column.of is not pairs:
        demands = window.demands.numbered(pairs)
        sizes, samples = demands.sizes_bytes.astype(np.float64), demands.samples.astype(np.float64)
        column = window.__dict__["column"] = Column(pairs, demands.numbers, sizes, samples)
    return column


def _homes(
    columns: Sequence[Sequence[tuple[str, Column]]], pairs: Pairs, placement: Placement
) -> tuple[Numbers, Numbers]:
    """Pairs of the history, and by pair the natural link, as of today, given where it was seen last."""
    forecast = placement.forecast(pairs)
    seen_on = np.full(len(pairs), -1, dtype=np.int64)
    for one in columns:
        for link, column in reversed(one):  # in a window the first one counts
            seen_on[column.pairs] = forecast.number(link)
    numbers = np.flatnonzero(seen_on >= 0)
    homes = np.full(len(pairs), -1, dtype=np.int64)
    homes[numbers] = placement.naturals(pairs, numbers, seen_on[numbers])
    return numbers, homes


def _levels(scaled: Sequence[tuple[Column, Floats]], homes: Numbers, count: int) -> Floats:
    """Natural level of each link in one window."""
    level = np.zeros(count)
    for column, sizes in scaled:
        level += np.bincount(homes[column.pairs], weights=sizes, minlength=count)
    return level


def _fades(
    history: History, levels: Sequence[Floats], links: Mapping[str, int], marks: Marks, pacing: Pacing
) -> list[Floats]:
    """What each window counts today, by natural link.

    Windows from before a jump of a link's natural level show another mix: they fade fast. All pairs of a link fade
    alike, wherever they were seen: an override changes no share.
    """
    newest = history[-1]
    jumps = np.array([marks.jump * newest[link].capacity_bps if link in newest else inf for link in links])
    fades = []
    for windows, level in zip(history, levels, strict=True):
        age_s = _start_s(newest) - _start_s(windows) if windows else 0
        slow, fast = exp(-age_s / pacing.share_decay_s), exp(-age_s / pacing.share_attack_s)
        fades.append(np.where(levels[-1] - level > jumps, fast, slow))
    return fades


def _start_s(windows: Mapping[str, LinkWindow]) -> int:
    return max(window.window_start_s for window in windows.values())
