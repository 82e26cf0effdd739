"""What one cycle hands to the next: the hysteresis of each link and the overrides in force. Encodes as msgpack."""

import msgspec

from app.contract.schemas import Override


class LinkState(msgspec.Struct, frozen=True):
    """The hysteresis of one link. `id` and `since_s` belong to its last congestion, even after that has closed.

    `peak_bps` is the most traffic that was moved off the link at any one time since that congestion opened.
    """

    id: str
    since_s: int
    open: bool
    peak_bps: float = 0.0


class StandingOverride(msgspec.Struct, frozen=True):
    """An override with its history. `since_s` is the end of the window that made it or, later, released it.

    `observed` remembers where our BGP model was wrong: ingress router -> (link we predict, link the traffic took).
    `confirmed_s` is the end of the first window in which every router in `inject_on` showed the route; None while one
    of them does not.
    """

    override: Override
    since_s: int
    observed: dict[str, tuple[str, str]] = {}
    confirmed_s: int | None = None


class CycleState(msgspec.Struct, frozen=True):
    """Everything that a cycle remembers of earlier ones: `links` by link id, all other mappings by prefix.

    `held` are the overrides in force. `settling` are overrides released so recently that windows may still show them.
    `untrusted` are links whose flows and counters contradict each other. `mismatched` counts the consecutive windows in
    which too much traffic left by a link that routing does not predict. `quarantine` says until when (unix seconds)
    a prefix is not moved again, because moving it had no effect.
    """

    links: dict[str, LinkState] = {}
    held: dict[str, StandingOverride] = {}
    settling: dict[str, StandingOverride] = {}
    untrusted: tuple[str, ...] = ()
    mismatched: int = 0
    quarantine: dict[str, int] = {}
