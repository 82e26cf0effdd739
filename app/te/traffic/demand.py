"""Sampled traffic by (ingress router, prefix), on arrays: a busy PoP has a hundred thousand such pairs in a window.

A pair has a number, which the windows of a PoP share. Amounts are whole numbers: bytes scaled by the sampling rate, and
samples.
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
    """Numbers of pairs, in the order in which they were met."""

    def __init__(self) -> None:
        self.keys: list[PairKey] = []
        self.prefixes: list[str] = []
        self.places: dict[str, int] = {}  # numbers of prefixes, as far as `prefix_of` was asked
        self.routers: dict[str, int] = {}  # numbers of ingress routers, as far as `router_of` was asked
        self._numbers: dict[PairKey, int] = {}
        self._prefix_of: Numbers = np.empty(0, np.int64)
        self._router_of: Numbers = np.empty(0, np.int64)
        self._table: Table | None = None
        self._rows: dict[str, int] = {}  # by ingress router, in what follows
        self._known: Numbers = np.empty((0, 1), np.int64)  # pairs of the table's places, and last of none

    def __len__(self) -> int:
        return len(self.keys)

    def number(self, pair: PairKey) -> int:
        """The number of a pair, a new one where it is met for the first time."""
        if (number := self._numbers.get(pair)) is None:
            number = self._numbers[pair] = len(self.keys)
            self.keys.append(pair)
            self.prefixes.append(pair[1])
        return number

    def numbered(self, keys: Iterable[PairKey]) -> Numbers:
        """`number` of many."""
        known = self._numbers.get
        found = [self.number(key) if (number := known(key)) is None else number for key in keys]
        return np.array(found, dtype=np.int64)

    @property
    def prefix_of(self) -> Numbers:
        """By pair, the number of its prefix."""
        if met := self.prefixes[len(self._prefix_of) :]:
            self._prefix_of = np.append(self._prefix_of, _numbered(met, self.places))
        return self._prefix_of

    @property
    def router_of(self) -> Numbers:
        """By pair, the number of its ingress router."""
        if met := self.keys[len(self._router_of) :]:
            self._router_of = np.append(self._router_of, _numbered((router for router, _ in met), self.routers))
        return self._router_of

    def among(self, numbers: Numbers, prefixes: Iterable[str]) -> NDArray[np.bool_]:
        """Which of these pairs are of one of these prefixes."""
        places = self.prefix_of[numbers]
        wanted = np.zeros(len(self.places), dtype=np.bool_)
        wanted[[self.places[prefix] for prefix in prefixes if prefix in self.places]] = True
        return wanted[places]

    def by_router(self, numbers: Numbers) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Ingress routers of pairs, and which of the pairs are theirs."""
        routers = self.router_of[numbers]
        for name, router in self.routers.items():
            if (which := routers == router).any():
                yield name, which

    def numbers_of(self, table: Table, routers: Sequence[str], ingress: Numbers, places: Numbers) -> Numbers:
        """The pair of each record, NO_ROUTE for none: the place of its ingress router, and what the table found."""
        if self._table is not table:
            self._table, self._rows, self._known = table, {}, np.empty((0, len(table.names) + 1), dtype=np.int64)
        if new_ones := [router for router in routers if router not in self._rows]:
            self._rows |= {router: number for number, router in enumerate(new_ones, len(self._rows))}
            more = np.full((len(new_ones), len(table.names) + 1), _UNKNOWN)
            more[:, -1] = NO_ROUTE
            self._known = np.vstack([self._known, more])
        rows = np.array([self._rows[router] for router in routers])[ingress]
        numbers: Numbers = self._known[rows, places]
        if (new := numbers == _UNKNOWN).any():
            self._meet(np.unique(rows[new] * self._known.shape[1] + places[new]), table.names)
            numbers = self._known[rows, places]
        return numbers

    def _meet(self, new: Numbers, names: Sequence[str]) -> None:
        """Number pairs that were not met with this table, by their places in all rows."""
        routers, (rows, places) = list(self._rows), np.divmod(new, self._known.shape[1])
        met = [(routers[row], names[place]) for row, place in zip(rows.tolist(), places.tolist(), strict=True)]
        self._known.flat[new] = self.numbered(met)


class PairDemand(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Traffic of one pair on one link in one window."""

    ingress: str
    prefix: str
    size_bytes: int
    samples: int


PackedColumn = tuple[list[str], list[int], list[int]]  # prefixes, bytes, samples


class Demand:
    """Traffic of one link in one window by pair. What is added is summed up when somebody looks."""

    def __init__(self, pairs: PairIndex | None = None) -> None:
        self.pairs = PairIndex() if pairs is None else pairs
        self._more: list[tuple[Numbers, Numbers, Numbers]] = []
        self._sums: tuple[Numbers, Numbers, Numbers] = _array(()), _array(()), _array(())

    @classmethod
    def of(cls, amounts: Mapping[PairKey, Sequence[int]]) -> "Demand":
        """From (bytes, samples) by pair."""
        made = cls()
        sizes_bytes, samples = zip(*amounts.values(), strict=True) if amounts else ((), ())
        made.add(made.pairs.numbered(amounts), _array(sizes_bytes), _array(samples))
        return made

    def add(self, numbers: Numbers, sizes_bytes: Numbers, samples: Numbers) -> None:
        """More of pairs; what has NO_ROUTE is left out."""
        self._more.append((numbers, sizes_bytes, samples))

    def numbered(self, pairs: PairIndex) -> "Demand":
        """The same in the numbers of other pairs; itself where they are its own."""
        if pairs is self.pairs:
            return self
        other = Demand(pairs)
        keys = map(self.pairs.keys.__getitem__, self.numbers.tolist())
        other.add(pairs.numbered(keys), self.sizes_bytes, self.samples)
        return other

    @property
    def numbers(self) -> Numbers:
        """Each pair once, in order."""
        return self._summed()[0]

    @property
    def sizes_bytes(self) -> Numbers:
        """By place in `numbers`."""
        return self._summed()[1]

    @property
    def samples(self) -> Numbers:
        """By place in `numbers`."""
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
        """Those of these prefixes."""
        return self._at(self.pairs.among(self.numbers, prefixes))

    def largest(self, count: int) -> list[tuple[str, int, int]]:
        """(prefix, bytes, samples) of the largest prefixes, by all routers; ties go to the last by name."""
        prefixes, place = np.unique(self.pairs.prefix_of[self.numbers], return_inverse=True)
        sizes_bytes, samples = _added(place, self.sizes_bytes), _added(place, self.samples)
        least = np.partition(sizes_bytes, -count)[-count] if len(sizes_bytes) > count else 0
        which, names = sizes_bytes >= least, list(self.pairs.places)
        columns = [column[which].tolist() for column in (prefixes, sizes_bytes, samples)]
        found = [(names[prefix], size_bytes, packets) for prefix, size_bytes, packets in zip(*columns, strict=True)]
        return sorted(found, key=lambda one: (one[1], one[0]), reverse=True)[:count]

    def _at(self, places: slice | NDArray[np.bool_]) -> Iterator[PairDemand]:
        keys = self.pairs.keys
        columns = [column[places].tolist() for column in self._summed()]
        for number, size_bytes, samples in zip(*columns, strict=True):
            ingress, prefix = keys[number]
            yield PairDemand(ingress, prefix, size_bytes, samples)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Demand) and sorted(map(astuple, self)) == sorted(map(astuple, other))

    def packed(self) -> dict[str, PackedColumn]:
        """As rows have it, by ingress router."""
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
        """From a row."""
        return cls.of(
            {
                (ingress, prefix): (size_bytes, samples)
                for ingress, column in columns.items()
                for prefix, size_bytes, samples in zip(*column, strict=True)
            }
        )


def _numbered(names: Iterable[str], numbers: dict[str, int]) -> Numbers:
    """The number of each name, a new one for one that is met for the first time."""
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _array(amounts: Sequence[int]) -> Numbers:
    return np.array(amounts, dtype=np.int64)


def _added(place: Numbers, amounts: Numbers) -> Numbers:
    sums = np.zeros(int(place.max(initial=-1)) + 1, dtype=np.int64)
    np.add.at(sums, place, amounts)
    return sums
