"""Sampled traffic by (ingress router, prefix), in arrays: a busy PoP has a hundred thousand such pairs in a window.

Each pair has a number, and all windows of a PoP use the same numbers. Amounts are whole numbers: bytes scaled by the
sampling rate, and samples.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from app.te.routing.lpm import Table

PairKey = tuple[str, str]  # (ingress router, prefix)
Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]
NO_ROUTE, _UNKNOWN = -1, -2


class PairIndex:
    """Numbers pairs (ingress router, prefix) from 0 on, in the order in which they are first seen."""

    def __init__(self) -> None:
        self.keys: list[PairKey] = []
        self.prefixes: list[str] = []
        self.places: dict[str, int] = {}  # number by prefix; complete once `prefix_of` was read
        self.routers: dict[str, int] = {}  # number by ingress router; complete once `router_of` was read
        self._numbers: dict[PairKey, int] = {}
        self._prefix_of: Numbers = np.empty(0, np.int64)
        self._router_of: Numbers = np.empty(0, np.int64)
        self._table: Table | None = None
        self._rows: dict[str, int] = {}  # row of `_known` by ingress router
        self._known: Numbers = np.empty((0, 1), np.int64)  # pair by place in the table; the last column is "no place"

    def __len__(self) -> int:
        return len(self.keys)

    def number(self, pair: PairKey) -> int:
        """The number of a pair; it gets a new number when it is first seen."""
        if (number := self._numbers.get(pair)) is None:
            number = self._numbers[pair] = len(self.keys)
            self.keys.append(pair)
            self.prefixes.append(pair[1])
        return number

    def numbered(self, keys: Iterable[PairKey]) -> Numbers:
        """The numbers of many pairs, as `number` returns them one by one."""
        known = self._numbers.get
        numbers = [self.number(key) if (number := known(key)) is None else number for key in keys]
        return np.array(numbers, dtype=np.int64)

    @property
    def prefix_of(self) -> Numbers:
        """The number of each pair's prefix, by pair number."""
        if new := self.prefixes[len(self._prefix_of) :]:
            self._prefix_of = np.append(self._prefix_of, _numbered(new, self.places))
        return self._prefix_of

    @property
    def router_of(self) -> Numbers:
        """The number of each pair's ingress router, by pair number."""
        if new := self.keys[len(self._router_of) :]:
            self._router_of = np.append(self._router_of, _numbered((router for router, _ in new), self.routers))
        return self._router_of

    def among(self, numbers: Numbers, prefixes: Iterable[str]) -> NDArray[np.bool_]:
        """A mask of the pairs `numbers` whose prefix is one of `prefixes`."""
        places = self.prefix_of[numbers]
        wanted = np.zeros(len(self.places), dtype=np.bool_)
        wanted[[self.places[prefix] for prefix in prefixes if prefix in self.places]] = True
        return wanted[places]

    def by_router(self, numbers: Numbers) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Each ingress router of the pairs `numbers`, with a mask of its pairs."""
        routers = self.router_of[numbers]
        for name, router in self.routers.items():
            if (which := routers == router).any():
                yield name, which

    def numbers_of(self, table: Table, routers: Sequence[str], ingress: Numbers, places: Numbers) -> Numbers:
        """The pair number of each record; NO_ROUTE where `places` is -1.

        `ingress` has the place of each record's ingress router in `routers`, `places` the place that `table` found.
        """
        if self._table is not table:
            self._table, self._rows, self._known = table, {}, np.empty((0, len(table.names) + 1), dtype=np.int64)
        if new_routers := [router for router in routers if router not in self._rows]:
            self._rows |= {router: number for number, router in enumerate(new_routers, len(self._rows))}
            more = np.full((len(new_routers), len(table.names) + 1), _UNKNOWN)
            more[:, -1] = NO_ROUTE
            self._known = np.vstack([self._known, more])
        rows = np.array([self._rows[router] for router in routers])[ingress]
        numbers: Numbers = self._known[rows, places]
        if (new := numbers == _UNKNOWN).any():
            self._learn(np.unique(rows[new] * self._known.shape[1] + places[new]), table.names)
            numbers = self._known[rows, places]
        return numbers

    def _learn(self, new: Numbers, names: Sequence[str]) -> None:
        """Number the pairs that were not yet seen with this table; `new` are their places in the flattened `_known`."""
        routers, (rows, places) = list(self._rows), np.divmod(new, self._known.shape[1])
        keys = [(routers[row], names[place]) for row, place in zip(rows.tolist(), places.tolist(), strict=True)]
        self._known.flat[new] = self.numbered(keys)


class PairDemand(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Sampled traffic of one pair on one link in one window; bytes are scaled by the sampling rate."""

    ingress: str
    prefix: str
    size_bytes: int
    samples: int


PackedColumn = tuple[list[str], list[int], list[int]]  # prefixes, bytes, samples


class Demand:
    """Sampled traffic of one link in one window, by pair. Additions are summed up on the next read."""

    def __init__(self, pairs: PairIndex | None = None) -> None:
        self.pairs = PairIndex() if pairs is None else pairs
        self._more: list[tuple[Numbers, Numbers, Numbers]] = []
        self._sums: tuple[Numbers, Numbers, Numbers] = _array(()), _array(()), _array(())

    @classmethod
    def of(cls, amounts: Mapping[PairKey, Sequence[int]]) -> "Demand":
        """A demand of (bytes, samples) by pair, with a PairIndex of its own."""
        demand = cls()
        sizes_bytes, samples = zip(*amounts.values(), strict=True) if amounts else ((), ())
        demand.add(demand.pairs.numbered(amounts), _array(sizes_bytes), _array(samples))
        return demand

    def add(self, numbers: Numbers, sizes_bytes: Numbers, samples: Numbers) -> None:
        """Add bytes and samples by pair number; entries with NO_ROUTE are ignored."""
        self._more.append((numbers, sizes_bytes, samples))

    def numbered(self, pairs: PairIndex) -> "Demand":
        """The same demand numbered by `pairs`; the object itself if it already is."""
        if pairs is self.pairs:
            return self
        renumbered = Demand(pairs)
        keys = map(self.pairs.keys.__getitem__, self.numbers.tolist())
        renumbered.add(pairs.numbered(keys), self.sizes_bytes, self.samples)
        return renumbered

    @property
    def numbers(self) -> Numbers:
        """The pair numbers, each once and in ascending order."""
        return self._summed()[0]

    @property
    def sizes_bytes(self) -> Numbers:
        """The bytes of each pair, in the order of `numbers`."""
        return self._summed()[1]

    @property
    def samples(self) -> Numbers:
        """The samples of each pair, in the order of `numbers`."""
        return self._summed()[2]

    def _summed(self) -> tuple[Numbers, Numbers, Numbers]:
        if self._more:
            numbers, sizes_bytes, samples = map(np.concatenate, zip(self._sums, *self._more, strict=True))
            self._more.clear()
            routed = numbers != NO_ROUTE
            pairs, place = np.unique(numbers[routed], return_inverse=True)
            self._sums = pairs, _added(place, sizes_bytes[routed]), _added(place, samples[routed])
        return self._sums

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[PairDemand]:
        return self._at(slice(None))

    def of_prefixes(self, prefixes: Iterable[str]) -> Iterator[PairDemand]:
        """The traffic of the pairs whose prefix is one of `prefixes`."""
        return self._at(self.pairs.among(self.numbers, prefixes))

    def largest(self, count: int) -> list[tuple[str, int, int]]:
        """(prefix, bytes, samples) of the largest prefixes, summed over all routers; ties go to the last by name."""
        prefixes, place = np.unique(self.pairs.prefix_of[self.numbers], return_inverse=True)
        sizes_bytes, samples = _added(place, self.sizes_bytes), _added(place, self.samples)
        least = np.partition(sizes_bytes, -count)[-count] if len(sizes_bytes) > count else 0
        which, names = sizes_bytes >= least, list(self.pairs.places)
        columns = [column[which].tolist() for column in (prefixes, sizes_bytes, samples)]
        rows = [(names[prefix], size_bytes, packets) for prefix, size_bytes, packets in zip(*columns, strict=True)]
        return sorted(rows, key=lambda row: (row[1], row[0]), reverse=True)[:count]

    def _at(self, places: slice | NDArray[np.bool_]) -> Iterator[PairDemand]:
        keys = self.pairs.keys
        columns = [column[places].tolist() for column in self._summed()]
        for number, size_bytes, samples in zip(*columns, strict=True):
            ingress, prefix = keys[number]
            yield PairDemand(ingress, prefix, size_bytes, samples)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Demand) and sorted(map(astuple, self)) == sorted(map(astuple, other))

    def packed(self) -> dict[str, PackedColumn]:
        """The columns (prefixes, bytes, samples) by ingress router, as table rows store them."""
        prefixes = self.pairs.prefixes
        return {
            router: (
                list(map(prefixes.__getitem__, self.numbers[which].tolist())),
                self.sizes_bytes[which].tolist(),
                self.samples[which].tolist(),
            )
            for router, which in self.pairs.by_router(self.numbers)
        }

    @classmethod
    def unpacked(cls, columns: Mapping[str, PackedColumn]) -> "Demand":
        """The demand that `packed` returned these columns for."""
        return cls.of(
            {
                (ingress, prefix): (size_bytes, samples)
                for ingress, column in columns.items()
                for prefix, size_bytes, samples in zip(*column, strict=True)
            }
        )


def _numbered(names: Iterable[str], numbers: dict[str, int]) -> Numbers:
    """The number of each name; a new name gets the next number."""
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _array(amounts: Sequence[int]) -> Numbers:
    return np.array(amounts, dtype=np.int64)


def _added(place: Numbers, amounts: Numbers) -> Numbers:
    sums = np.zeros(int(place.max(initial=-1)) + 1, dtype=np.int64)
    np.add.at(sums, place, amounts)
    return sums
