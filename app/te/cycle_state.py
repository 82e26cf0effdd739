"""What one cycle hands to the next: the hysteresis of each link and the overrides that are held. Encodes as msgpack."""

import msgspec

from app.contract.schemas import Override


class LinkState(msgspec.Struct, frozen=True):
    """The hysteresis of one link; `id` and `since_s` are those of its last congestion, also after it closed.

    `peak_bps` is the most that was ever moved off the link at once since that congestion opened.
    """

    id: str
    since_s: int
    open: bool
    peak_bps: float = 0.0


class StandingOverride(msgspec.Struct, frozen=True):
    """An override with its history.

    `observed` remembers where BGP proved us wrong: ingress router -> (link we predict, link it really took).
    `confirmed_s` is the end of the window since when all routers concerned have shown the route, None before.
    """

    override: Override
    since_s: int
    observed: dict[str, tuple[str, str]] = {}
    confirmed_s: int | None = None


class CycleState(msgspec.Struct, frozen=True):
    """All that looks back.

    `settling` are overrides released so lately that windows may still show them, `untrusted` links whose flows and
    counters contradict each other, `mismatched` the number of windows in a row in which too much traffic left where
    routing does not predict it, `quarantine` prefixes that are not moved again before a time, since that had no effect.
    """

    links: dict[str, LinkState] = {}
    held: dict[str, StandingOverride] = {}
    settling: dict[str, StandingOverride] = {}
    untrusted: tuple[str, ...] = ()
    mismatched: int = 0
    quarantine: dict[str, int] = {}
