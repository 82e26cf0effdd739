"""The current prefix table of a Rib: a table that was built once, with the prefixes added and removed since on top.

BMP changes paths all the time but the set of prefixes only a little, and building a full table takes seconds.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from app.te.routing.lpm import Addresses, PrefixTable, Table
from app.te.routing.rib import Rib


class OverlayTable(Table):
    """A prefix table with the prefixes added and removed since it was built.

    `turned` are the prefixes that were added or removed; `holds` says whether a prefix is there now.
    """

    def __init__(self, base: PrefixTable, turned: Collection[str], holds: Callable[[str], bool]) -> None:
        self._base = base
        came = [prefix for prefix in turned if holds(prefix)]
        self._came = PrefixTable(came)
        gone = sorted(frozenset(turned).difference(came))
        self._gone = {prefix: place for place, prefix in enumerate(gone, len(base.names) + len(came))}
        # The entry of a prefix that is gone is replaced by the prefix that matches in its place.
        self._names = [*base.names, *came, *gone]
        self._holds = holds
        self._replacements: dict[str, int] = {}

    @property
    def names(self) -> Sequence[str]:
        """The prefixes by place. A prefix may have two places, and some are gone; `find` never returns those."""
        return self._names

    def find(self, addresses: Addresses) -> NDArray[np.int64]:
        """The place in `names` of the longest current prefix that contains each address; -1 for none."""
        old, new = self._base.find(addresses), self._came.find(addresses)
        for place in np.unique(old).tolist() if self._gone else ():
            if place >= 0 and (name := self._names[place]) in self._gone:
                old[old == place] = self._replacement(name)
        places = np.where(new >= 0, new + len(self._base.names), old)
        for i in np.flatnonzero((old >= 0) & (new >= 0)).tolist():
            if _length(self._names[old[i]]) > _length(self._names[places[i]]):
                places[i] = old[i]
        return places

    def _replacement(self, gone: str) -> int:
        """The place of the longest prefix that covers one that is gone, or -1: all addresses in it match the same."""
        if gone not in self._replacements:
            covering = next((prefix for prefix in _supernets(gone) if self._holds(prefix)), None)
            self._replacements[gone] = -1 if covering is None else self._gone[gone]
            if covering is not None:
                self._names[self._gone[gone]] = covering
        return self._replacements[gone]


def _length(prefix: str) -> int:
    return int(prefix.rpartition("/")[2])


def _supernets(prefix: str) -> Iterator[str]:
    """All shorter prefixes that contain this one, the longest first."""
    network = ipaddress.ip_network(prefix)
    return (str(network.supernet(new_prefix=length)) for length in range(network.prefixlen - 1, -1, -1))


class TableCache:
    """The table of a Rib's prefixes: built once in each epoch of the Rib, with later changes laid over it."""

    def __init__(self) -> None:
        # `_since` and `_turned` are places in `Rib.turned`: where the base was built, and how far the overlay goes.
        self._epoch = self._since = self._turned = -1
        self._base = PrefixTable.build(())
        self._table: Table = self._base

    def table(self, rib: Rib) -> Table:
        """A table of the prefixes that `rib` holds now. Call it again after the Rib has changed."""
        if self._epoch != rib.epoch:
            epoch, since = rib.epoch, len(rib.turned)
            self._base = self._table = PrefixTable.build(rib.all_prefixes())
            self._epoch, self._since, self._turned = epoch, since, since
        if self._turned != len(rib.turned):
            self._turned = len(rib.turned)
            times = Counter(rib.turned[self._since :])
            odd = [prefix for prefix, count in times.items() if count % 2]
            self._table = OverlayTable(self._base, odd, rib.holds) if odd else self._base
        return self._table
