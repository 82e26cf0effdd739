"""Whether moves work: once the routers show our route, the traffic has to follow it."""

from collections.abc import Mapping

import msgspec

from app.config.thresholds import Thresholds
from app.te.cycle_state import StandingOverride
from app.te.routing.natural import NaturalRouting
from app.te.traffic.observed import ObservedWindow

INEFFECTIVE = "ineffective"
SETTLING_WINDOWS = 2  # after a change, this many whole windows may still show the old exit
MIN_SEEN_SAMPLES = 30  # fewer samples do not say where a prefix leaves


def confirmed(held: Mapping[str, StandingOverride], natural: NaturalRouting, now_s: int) -> dict[str, StandingOverride]:
    """The held overrides with `confirmed_s` up to date: `now_s` once every router in `inject_on` shows the route."""
    return {prefix: _confirmed(prefix, standing, natural, now_s) for prefix, standing in held.items()}


def _confirmed(prefix: str, standing: StandingOverride, natural: NaturalRouting, now_s: int) -> StandingOverride:
    shown = natural.followers(prefix).issuperset(standing.override.inject_on)
    if shown == (standing.confirmed_s is not None):
        return standing
    return msgspec.structs.replace(standing, confirmed_s=now_s if shown else None)


def ineffective(
    held: Mapping[str, StandingOverride], observed: ObservedWindow, thresholds: Thresholds
) -> frozenset[str]:
    """The prefixes whose override all routers show, but whose traffic still leaves by other links after it settled.

    A prefix is judged by the newest windows that together give enough samples. Only traffic that enters at a router
    with the override counts; without enough of it, the prefix is not reported.
    """
    unsure = {prefix: standing.confirmed_s for prefix, standing in held.items() if standing.confirmed_s is not None}
    seen = {prefix: _Seen() for prefix in unsure}
    for windows in reversed(observed.history):
        for link, window in windows.items():
            settled_s = window.window_start_s - SETTLING_WINDOWS * window.window_s
            due = {prefix for prefix, confirmed_s in unsure.items() if confirmed_s <= settled_s}
            for demand in window.demand.of_prefixes(due) if due else ():
                if demand.ingress in held[demand.prefix].override.inject_on:
                    egress = held[demand.prefix].override.exit
                    seen[demand.prefix].add(demand.size_bytes, demand.samples, link == egress.link)
        unsure = {prefix: since_s for prefix, since_s in unsure.items() if seen[prefix].samples < MIN_SEEN_SAMPLES}
    return frozenset(
        prefix
        for prefix, sums in seen.items()
        if sums.samples >= MIN_SEEN_SAMPLES and sums.exit_bytes < thresholds.effective_min * sums.size_bytes
    )


class _Seen(msgspec.Struct):
    """The sampled traffic of one prefix: in total, and the part that left by the exit of its override."""

    size_bytes: int = 0
    exit_bytes: int = 0
    samples: int = 0

    def add(self, size_bytes: int, samples: int, on_exit: bool) -> None:
        self.size_bytes += size_bytes
        self.exit_bytes += size_bytes if on_exit else 0
        self.samples += samples
