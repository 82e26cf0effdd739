"""One path of one router, as BMP reports it, and why an override may not copy it."""

from collections.abc import Sequence
from typing import Literal

import msgspec

Origin = Literal["igp", "egp", "incomplete"]

BLACKHOLE = "65535:666"
BARRED_COMMUNITIES = frozenset({"65535:0", "65535:6", BLACKHOLE})  # GRACEFUL_SHUTDOWN, LLGR_STALE
# The longest real paths have about 40 numbers; some routers reset a session over one with more than 255.
AS_PATH_MAX = 64
# More than these would make rows as large as a neighbour likes. What bars a path is kept, and the path is no target.
AS_NUMBERS_KEPT = 255
COMMUNITIES_MAX = 64  # of each kind; paths in use have up to about 60
UINT32_MAX = 2**32 - 1
NOBODYS_AS = frozenset({0, 23456, 65535})  # RFC 7607, 6793 (AS_TRANS) and 7300
LINK_LOCAL = ("fe8", "fe9", "fea", "feb")  # fe80::/10


class Path(msgspec.Struct, frozen=True, array_like=True, gc=False, cache_hash=True):
    """One post-policy Adj-RIB-In path of one router, with our own AS stripped. Equal paths share one object: see Rib.

    `as_path` has the numbers of sequences and sets in order, without confederation segments. `hops` is None for a plain
    sequence, else the length by RFC 4271 and RFC 5065: a set counts 1, a confederation segment 0. Of longer ones only
    AS_NUMBERS_KEPT numbers are kept, and of more than COMMUNITIES_MAX communities one more than that. `local_pref` is
    None where BMP has none: then what the inventory says of the link counts, as it is when the path is judged.
    `gc=False`: there are very many paths, none is in a reference cycle, and tracking them took half the time of a pass
    over a table.
    """

    peer: str
    next_hop: str
    as_path: tuple[int, ...]
    origin: Origin = "igp"
    med: int | None = None
    local_pref: int | None = 100
    communities: tuple[str, ...] = ()
    large_communities: tuple[str, ...] = ()
    path_id: int = 0
    ebgp: bool = True
    hops: int | None = None

    @property
    def length(self) -> int:
        """The length of the AS path, as best-path selection compares it."""
        return len(self.as_path) if self.hops is None else self.hops


def unfit(path: Path) -> str | None:
    """The reason code why no override may copy this path, whatever its exit; None if one may."""
    if not BARRED_COMMUNITIES.isdisjoint(path.communities):
        return "barred-community"
    if max(len(path.communities), len(path.large_communities)) > COMMUNITIES_MAX:
        return "too-many-communities"  # some are not kept, and what they ask for is not known
    if len(path.as_path) > AS_PATH_MAX:
        return "as-path-too-long"
    if path.hops is not None:
        return "as-path-not-plain"  # a copy would be another path: an override has one sequence
    if path.next_hop.startswith(LINK_LOCAL):
        return "link-local-next-hop"  # it means something on one port of one router only
    return None


def as_path_refusal(numbers: Sequence[int], own_asn: int) -> str | None:
    """The reason code why no router may be given this AS path; None if it may. Telemetry and actuator both ask."""
    if not numbers:
        return "empty-as-path"  # the prefix would seem to originate from us
    if len(numbers) > AS_PATH_MAX:
        return "as-path-too-long"
    if own_asn in numbers:
        return "own-as-in-path"
    is_valid = all(0 < number <= UINT32_MAX for number in numbers) and NOBODYS_AS.isdisjoint(numbers)
    return None if is_valid else "as-path-invalid"
