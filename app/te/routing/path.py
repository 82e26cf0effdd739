"""One path of one router, as BMP reports it."""

from typing import Literal

import msgspec

Origin = Literal["igp", "egp", "incomplete"]


class Path(msgspec.Struct, frozen=True, array_like=True, gc=False, cache_hash=True):
    """One post-policy Adj-RIB-In path of one router, with our own AS stripped. Equal paths share one object: see Rib.

    `gc=False`: there are very many paths, none is in a reference cycle, and tracking them took half the time of a pass
    over a table.
    """

    peer: str
    next_hop: str
    as_path: tuple[int, ...]
    origin: Origin = "igp"
    med: int | None = None
    local_pref: int = 100
    communities: tuple[str, ...] = ()
    large_communities: tuple[str, ...] = ()
    path_id: int = 0
    ebgp: bool = True
