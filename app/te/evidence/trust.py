"""Whether what a link tells can be relied on: its flows against its counters, and what is missing of either."""

from collections.abc import Collection, Iterable, Sequence
from math import exp

import msgspec

from app.config.thresholds import Thresholds
from app.contract.schemas import Feed
from app.te.traffic.link import LinkWindow
from app.te.traffic.loads import Traffic, error_share, offered_bps
from app.te.traffic.observed import ObservedWindow

UNTRUSTED = "untrusted-link"
FEW_SAMPLES = 10  # where so many are expected, none at all is no accident: 1 in 20,000
MIN_RATIO_SAMPLES = 100  # below, flows over counters is noise: +-20 %


class Trust(msgspec.Struct, frozen=True):
    """The verdict on one link. `untrusted` also stands while the link is silent, which `feed` then says."""

    feed: Feed
    ratio: float | None
    untrusted: bool


def judge(
    observed: ObservedWindow, thresholds: Thresholds, decay_s: float, distrusted: Collection[str] = ()
) -> dict[str, Trust]:
    """The verdict on every link of the newest window; `distrusted` are those that were untrusted before."""
    pasts = {link: [windows[link] for windows in observed.history if link in windows] for link in observed.newest}
    sample_bytes = _sample_bytes(window for past in pasts.values() for window in past)
    return {
        link: _judge(past, thresholds, decay_s, link in distrusted, _sample_bytes(past) or sample_bytes)
        for link, past in pasts.items()
    }


def trusting(traffic: Traffic, trust: dict[str, Trust]) -> Traffic:
    """The same traffic with what each feed is worth: an untrusted link may neither trigger nor receive a move."""
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
    telling = [window for window in past if _is_telling(window, thresholds, sample_bytes)]
    seen, expected = _samples(telling, decay_s, sample_bytes)
    enough = max(seen, expected) >= MIN_RATIO_SAMPLES
    untrusted = enough and _contradict(seen, expected, thresholds, before)
    if _is_saturated(newest, thresholds):
        untrusted = before  # a full link shows less than is wanted: no contradiction, and no proof either
    ratio = seen / expected if enough and expected else None
    return Trust(_feed(newest, past, untrusted, sample_bytes), ratio, untrusted)


def _contradict(seen: float, expected: float, thresholds: Thresholds, before: bool) -> bool:
    """Out of the band by more than sampling explains; once so, until it is truly inside."""
    low, high = thresholds.ratio_low * expected, thresholds.ratio_high * expected
    if before:
        return not low <= seen <= high
    return seen < low * (1 - error_share(int(low))) or seen > high * (1 + error_share(int(high)))


def _feed(newest: LinkWindow, past: Sequence[LinkWindow], untrusted: bool, sample_bytes: float) -> Feed:
    if newest.carried_bps is None and not _flow_bytes(newest):
        return "silent"
    if untrusted:
        return "untrusted"
    lost_counters = newest.carried_bps is None and any(window.carried_bps is not None for window in past)
    return "gap" if lost_counters or _lost_flows(newest, sample_bytes) else "live"


def _samples(telling: Sequence[LinkWindow], decay_s: float, sample_bytes: float) -> tuple[float, float]:
    """Decayed (samples seen, samples that the counters let expect) of these windows, both by bytes."""
    seen = expected = 0.0
    for window in telling if sample_bytes else ():
        fade = exp((window.window_start_s - telling[-1].window_start_s) / decay_s)
        seen += fade * _flow_bytes(window) / sample_bytes
        expected += fade * _counter_bytes(window) / sample_bytes
    return seen, expected


def _is_telling(window: LinkWindow, thresholds: Thresholds, sample_bytes: float) -> bool:
    """Flows and counters both there and comparable: counters of a full link stop where flows may go on."""
    both = window.carried_bps is not None and not _lost_flows(window, sample_bytes)
    return both and window.up and not _is_saturated(window, thresholds)


def _lost_flows(window: LinkWindow, sample_bytes: float) -> bool:
    """Nothing was sampled of more than a few samples' worth."""
    return not _flow_bytes(window) and _counter_bytes(window) > FEW_SAMPLES * sample_bytes


def _is_saturated(window: LinkWindow, thresholds: Thresholds) -> bool:
    carried_bps = window.carried_bps or 0.0
    return bool(window.dropped_bps) or carried_bps >= thresholds.saturated * window.capacity_bps


def _flow_bytes(window: LinkWindow) -> float:
    """All that was sampled, whether a route is known for it or not."""
    return window.sampled_bytes + window.unroutable_bytes


def _counter_bytes(window: LinkWindow) -> float:
    return 0.0 if window.carried_bps is None else offered_bps(window) * window.window_s / 8


def _sample_bytes(windows: Iterable[LinkWindow]) -> float:
    """What one sample stands for, on average; 0 where there is none."""
    size_bytes = samples = 0.0
    for window in windows:
        size_bytes += window.sampled_bytes
        samples += window.samples
    return size_bytes / samples if samples else 0.0
