"""Whether the figures of a link can be trusted: its flows compared with its counters, and gaps in either."""

from collections.abc import Collection, Iterable, Sequence
from math import exp

import msgspec

from app.config.thresholds import Thresholds
from app.contract.schemas import Feed
from app.te.traffic.level import error_share
from app.te.traffic.link import LinkWindow
from app.te.traffic.loads import Traffic, is_full, offered_bps
from app.te.traffic.observed import ObservedWindow

UNTRUSTED = "untrusted-link"
FEW_SAMPLES = 10  # if this many are expected, seeing none is not chance: 1 in 20,000
MIN_RATIO_SAMPLES = 100  # below this, flows over counters is noise: +-20 %


class Trust(msgspec.Struct, frozen=True):
    """The verdict on one link. `ratio` is flows over counters, None if there are too few samples.

    `untrusted` stays true while an untrusted link is silent; `feed` then says `silent`.
    """

    feed: Feed
    ratio: float | None
    untrusted: bool


def judge(
    observed: ObservedWindow, thresholds: Thresholds, decay_s: float, distrusted: Collection[str] = ()
) -> dict[str, Trust]:
    """The verdict on every link of the newest window; `distrusted` are the links that were untrusted before."""
    pasts = {link: [windows[link] for windows in observed.history if link in windows] for link in observed.newest}
    sample_bytes = _sample_bytes(window for past in pasts.values() for window in past)
    return {
        link: _judge(past, thresholds, decay_s, link in distrusted, _sample_bytes(past) or sample_bytes)
        for link, past in pasts.items()
    }


def trusting(traffic: Traffic, trust: dict[str, Trust]) -> Traffic:
    """The same traffic with the verdicts in its loads. An untrusted link may neither trigger nor receive a move."""
    loads = {
        link: msgspec.structs.replace(load, feed=trust[link].feed, flow_ratio=trust[link].ratio)
        for link, load in traffic.loads.items()
    }
    usable = frozenset(link for link in traffic.usable if not trust[link].untrusted)
    return msgspec.structs.replace(traffic, loads=loads, usable=usable)


def _judge(
    past: Sequence[LinkWindow], thresholds: Thresholds, decay_s: float, before: bool, sample_bytes: float
) -> Trust:
    newest = past[-1]
    comparable = [window for window in past if _is_comparable(window, thresholds, sample_bytes)]
    seen, expected = _samples(comparable, decay_s, sample_bytes)
    enough = max(seen, expected) >= MIN_RATIO_SAMPLES
    untrusted = enough and _contradict(seen, expected, thresholds, before)
    if _is_saturated(newest, thresholds):
        untrusted = before  # a full link carries less than it is offered, which proves nothing either way
    untrusted |= newest.renumbered  # what is counted for this link may belong to another interface
    ratio = seen / expected if enough and expected else None
    return Trust(_feed(newest, past, untrusted, sample_bytes), ratio, untrusted)


def _contradict(seen: float, expected: float, thresholds: Thresholds, before: bool) -> bool:
    """Whether flows over counters is outside the band by more than the sampling error.

    A link that was untrusted `before` has to return into the band itself.
    """
    low, high = thresholds.ratio_low * expected, thresholds.ratio_high * expected
    if before:
        return not low <= seen <= high
    return seen < low * (1 - error_share(int(low))) or seen > high * (1 + error_share(int(high)))


def _feed(newest: LinkWindow, past: Sequence[LinkWindow], untrusted: bool, sample_bytes: float) -> Feed:
    if newest.has_gap:
        return "gap"
    if newest.is_silent and not newest.renumbered:
        return "silent"
    if untrusted:
        return "untrusted"
    had_counters = newest.counters_heard or any(window.carried_bps is not None for window in past)
    lost_counters = newest.carried_bps is None and had_counters
    return "gap" if lost_counters or _lost_flows(newest, sample_bytes) else "live"


def _samples(comparable: Sequence[LinkWindow], decay_s: float, sample_bytes: float) -> tuple[float, float]:
    """Decayed (samples seen, samples expected from the counters) of these windows, both computed from bytes."""
    seen = expected = 0.0
    for window in comparable if sample_bytes else ():
        fade = exp((window.window_start_s - comparable[-1].window_start_s) / decay_s)
        seen += fade * _flow_bytes(window) / sample_bytes
        expected += fade * _counter_bytes(window) / sample_bytes
    return seen, expected


def _is_comparable(window: LinkWindow, thresholds: Thresholds, sample_bytes: float) -> bool:
    """Whether flows and counters are both there and can be compared.

    They cannot on a full link: its counters stop at the capacity, while its flows may exceed it.
    """
    both = window.carried_bps is not None and not _lost_flows(window, sample_bytes)
    return both and window.up and not window.has_gap and not _is_saturated(window, thresholds)


def _lost_flows(window: LinkWindow, sample_bytes: float) -> bool:
    """Whether nothing was sampled although the counters show more than a few samples' worth of traffic."""
    return not _flow_bytes(window) and _counter_bytes(window) > FEW_SAMPLES * sample_bytes


def _is_saturated(window: LinkWindow, thresholds: Thresholds) -> bool:
    return bool(window.dropped_bps) or is_full(window, window.carried_bps or 0.0, thresholds)


def _flow_bytes(window: LinkWindow) -> float:
    """All sampled bytes, with or without a known route."""
    return window.sampled_bytes + window.unroutable_bytes


def _counter_bytes(window: LinkWindow) -> float:
    return 0.0 if window.carried_bps is None else offered_bps(window) * window.window_s / 8


def _sample_bytes(windows: Iterable[LinkWindow]) -> float:
    """The average number of bytes that one sample stands for; 0 without samples."""
    size_bytes = samples = 0.0
    for window in windows:
        size_bytes += window.sampled_bytes
        samples += window.samples
    return size_bytes / samples if samples else 0.0
