"""What the simulated PoP is made of: the routes that its neighbours announce and the paths that its routers hold."""

from collections.abc import Mapping

import msgspec


class Announcement(msgspec.Struct, frozen=True):
    """One announcement of one eBGP neighbour."""

    prefix: str
    next_hop: str
    as_path: tuple[int, ...]
    med: int | None = None


class InstalledPath(msgspec.Struct, frozen=True):
    """What one router forwards by for one prefix: its best path as its table shows it, own AS not in it."""

    next_hop: str
    communities: tuple[str, ...]
    as_path: tuple[int, ...]
    local_pref: int


RouterTable = Mapping[str, InstalledPath]  # by prefix
Tables = Mapping[str, RouterTable]  # by router name
