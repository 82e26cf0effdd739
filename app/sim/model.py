"""What the simulated PoP is made of: the routes that its neighbours announce."""

import msgspec


class Route(msgspec.Struct, frozen=True):
    """One announcement of one eBGP neighbour."""

    prefix: str
    next_hop: str
    as_path: tuple[int, ...]
    med: int | None = None
