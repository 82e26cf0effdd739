"""The prefix table of a Rib as it is now: one that was built, and what came and went since laid over it.

BMP changes paths all the time and the set of prefixes a little, and building a table takes seconds at full table.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from app.te.routing.lpm import Addresses, PrefixTable, Table
from app.te.routing.rib import Rib


class OverlayTable(Table):
    """A table and what came and went since; `holds` tells whether a prefix is there now."""

    def __init__(self, base: PrefixTable, turned: Collection[str], holds: Callable[[str], bool]) -> None:
        self._base = base
        came = [prefix for prefix in turned if holds(prefix)]
        self._came = PrefixTable(came)
        gone = sorted(frozenset(turned).difference(came))
        self._gone = {prefix: place for place, prefix in enumerate(gone, len(base.names) + len(came))}
        self._names = [*base.names, *came, *gone]  # for what is gone: what is found in its place
        self._holds = holds
        self._instead: dict[str, int] = {}

    @property
    def names(self) -> Sequence[str]:
        """As of a PrefixTable, but a prefix may have two places, and not all are there; these `find` never gives."""
        return self._names

    def find(self, addresses: Addresses) -> NDArray[np.int64]:
        """As of a table of all that is there now."""
        old, new = self._base.find(addresses), self._came.find(addresses)
        for place in np.unique(old).tolist() if self._gone else ():
            if place >= 0 and (name := self._names[place]) in self._gone:
                old[old == place] = self._next(name)
        places = np.where(new >= 0, new + len(self._base.names), old)
        for i in np.flatnonzero((old >= 0) & (new >= 0)).tolist():
            if _length(self._names[old[i]]) > _length(self._names[places[i]]):
                places[i] = old[i]
        return places

    def _next(self, gone: str) -> int:
        """The place of the longest prefix around one that is gone, for it is the same for all that is in it, or -1."""
        if gone not in self._instead:
            around = next((around for around in _around(gone) if self._holds(around)), None)
            self._instead[gone] = -1 if around is None else self._gone[gone]
            if around is not None:
                self._names[self._gone[gone]] = around
        return self._instead[gone]


def _length(prefix: str) -> int:
    return int(prefix.rpartition("/")[2])


def _around(prefix: str) -> Iterator[str]:
    """All prefixes that hold this one and more, the longest first."""
    network = ipaddress.ip_network(prefix)
    return (str(network.supernet(new_prefix=length)) for length in range(network.prefixlen - 1, -1, -1))


class TableCache:
    """The table of a Rib's prefixes: built for each of its epochs, with what turned since laid over it."""

    def __init__(self) -> None:
        self._epoch = self._since = self._turned = -1  # in `turned`: where the base begins, and how far it is laid over
        self._base = PrefixTable.build(())
        self._table: Table = self._base

    def table(self, rib: Rib) -> Table:
        """What matches as the Rib is now; ask again when it changed."""
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
