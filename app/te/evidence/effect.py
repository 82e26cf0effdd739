"""Whether moves work: the routers show our route, and then the traffic has to follow it."""

from collections.abc import Mapping

import msgspec

from app.config.thresholds import Thresholds
from app.te.cycle_state import StandingOverride
from app.te.routing.natural import NaturalRouting
from app.te.traffic.observed import ObservedWindow

INEFFECTIVE = "ineffective"
SETTLING_WINDOWS = 2  # after a change so many whole windows may still show the old exit
MIN_SEEN_SAMPLES = 30  # fewer say nothing of where a prefix goes


def confirmed(held: Mapping[str, StandingOverride], natural: NaturalRouting, now_s: int) -> dict[str, StandingOverride]:
    """The same, with the end of the window since when every router concerned has shown our route."""
    return {prefix: _confirmed(prefix, one, natural, now_s) for prefix, one in held.items()}


def _confirmed(prefix: str, one: StandingOverride, natural: NaturalRouting, now_s: int) -> StandingOverride:
    shown = natural.followers(prefix).issuperset(one.override.inject_on)
    if shown == (one.confirmed_s is not None):
        return one
    return msgspec.structs.replace(one, confirmed_s=now_s if shown else None)


def ineffective(
    held: Mapping[str, StandingOverride], observed: ObservedWindow, thresholds: Thresholds
) -> frozenset[str]:
    """Prefixes whose override all routers show, and whose traffic leaves elsewhere all the same, once settled.

    Judged by the newest windows that give enough samples; where traffic is not steered or not seen, nothing is said.
    """
    unsure = {prefix: one.confirmed_s for prefix, one in held.items() if one.confirmed_s is not None}
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
        for prefix, one in seen.items()
        if one.samples >= MIN_SEEN_SAMPLES and one.exit_bytes < thresholds.effective_min * one.size_bytes
    )


class _Seen(msgspec.Struct):
    """Where a prefix was seen to leave."""

    size_bytes: int = 0
    exit_bytes: int = 0
    samples: int = 0

    def add(self, size_bytes: int, samples: int, on_exit: bool) -> None:
        self.size_bytes += size_bytes
        self.exit_bytes += size_bytes if on_exit else 0
        self.samples += samples
