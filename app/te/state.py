"""What one cycle hands to the next: the hysteresis of each link and the overrides that are held. Encodes as msgpack."""

import msgspec

from app.schemas import Override


class LinkState(msgspec.Struct, frozen=True):
    """The hysteresis of one link; `id` and `since_s` are those of its last congestion, also after it closed.

    `peak_bps` is the most that was ever moved off the link at once since that congestion opened.
    """

    id: str
    since_s: int
    open: bool
    peak_bps: float = 0.0


class Held(msgspec.Struct, frozen=True):
    """An override with its history.

    `observed` remembers where BGP proved us wrong: ingress router -> (link we predict, link it really took).
    """

    override: Override
    since_s: int
    observed: dict[str, tuple[str, str]] = {}


class CycleState(msgspec.Struct, frozen=True):
    """All that looks back. `settling` are overrides released so lately that windows may still show them."""

    links: dict[str, LinkState] = {}
    held: dict[str, Held] = {}
    settling: dict[str, Held] = {}
