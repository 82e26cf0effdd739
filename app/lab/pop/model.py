"""Types of the simulated PoP: routes that its neighbours announce and paths that its routers use."""

from collections.abc import Mapping

import msgspec


class Announcement(msgspec.Struct, frozen=True):
    """One route that an eBGP neighbour announces."""

    prefix: str
    next_hop: str
    as_path: tuple[int, ...]
    med: int | None = None


class InstalledPath(msgspec.Struct, frozen=True):
    """The best path of one router for one prefix, as its table shows it. The AS path does not contain our own AS."""

    next_hop: str
    communities: tuple[str, ...]
    as_path: tuple[int, ...]
    local_pref: int


RouterTable = Mapping[str, InstalledPath]  # by prefix
Tables = Mapping[str, RouterTable]  # by router name
