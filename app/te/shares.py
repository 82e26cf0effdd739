"""How the level of a link splits among its prefixes: averages over the history, slow but for a jump of the level."""

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf

import msgspec

from app.te.marks import Marks, Pacing
from app.te.model import LinkWindow
from app.te.placement import Placement

PairKey = tuple[str, str]  # (ingress router, prefix)
History = Sequence[Mapping[str, LinkWindow]]
Scale = Callable[[LinkWindow], float]  # bits per second that one sampled byte stands for


class Weight(msgspec.Struct, gc=False):
    """One pair's part of the level of its natural link `home`, in any unit, and the decayed samples it rests on."""

    home: str
    load: float = 0.0
    samples: float = 0.0


def weights(
    history: History, placement: Placement, scale: Scale, marks: Marks, pacing: Pacing
) -> dict[PairKey, Weight]:
    """Every pair of the history, with its decayed average as of the newest (last) window."""
    homes = _homes(history, placement)
    found = {pair: Weight(home) for pair, home in homes.items()}
    fades = _fades(history, homes, scale, marks, pacing)
    for windows, fade in zip(reversed(history), fades, strict=True):
        for window in windows.values():
            factor = scale(window)
            for demand in window.demands:
                weight = found[demand.ingress, demand.prefix]
                faded = fade[weight.home]
                weight.load += demand.size_bytes * factor * faded
                weight.samples += demand.samples * faded
    return found


def _homes(history: History, placement: Placement) -> dict[PairKey, str]:
    """The natural link of each pair, as of today, given where it was seen last."""
    seen_on: dict[PairKey, str] = {}
    for windows in reversed(history):
        for link, window in windows.items():
            for demand in window.demands:
                seen_on.setdefault((demand.ingress, demand.prefix), link)
    return {pair: placement.natural(*pair, link) for pair, link in seen_on.items()}


def _fades(
    history: History, homes: Mapping[PairKey, str], scale: Scale, marks: Marks, pacing: Pacing
) -> list[dict[str, float]]:
    """What windows count today, by natural link, the newest window first.

    Windows from before a jump of a link's natural level show another mix: they fade fast. All pairs of a link fade
    alike, wherever they were seen: an override changes no share.
    """
    levels = [_levels(windows, homes, scale) for windows in reversed(history)]
    ages_s = [_start_s(history[-1]) - _start_s(windows) if windows else 0 for windows in reversed(history)]
    jumps = {link: marks.jump * window.capacity_bps for link, window in history[-1].items()}
    fades = []
    for age_s, level in zip(ages_s, levels, strict=True):
        slow, fast = exp(-age_s / pacing.share_decay_s), exp(-age_s / pacing.share_attack_s)
        jumped = {link for link in level if levels[0].get(link, 0.0) - level[link] > jumps.get(link, inf)}
        fades.append({link: fast if link in jumped else slow for link in level})
    return fades


def _levels(windows: Mapping[str, LinkWindow], homes: Mapping[PairKey, str], scale: Scale) -> dict[str, float]:
    levels: dict[str, float] = {}
    for window in windows.values():
        factor = scale(window)
        for demand in window.demands:
            home = homes[demand.ingress, demand.prefix]
            levels[home] = levels.get(home, 0.0) + demand.size_bytes * factor
    return levels


def _start_s(windows: Mapping[str, LinkWindow]) -> int:
    return max(window.window_start_s for window in windows.values())
