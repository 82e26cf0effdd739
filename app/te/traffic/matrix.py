"""The demand of every (ingress router, prefix), as columns, because a cycle needs the pairs of few prefixes only."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.te.traffic.demand import Floats, Numbers, PairIndex

Selection = slice | Numbers | NDArray[np.bool_]


class Pair(msgspec.Struct, frozen=True, gc=False):
    """Demand of one (ingress router, prefix): its natural link, its link with the overrides in force, and its samples.

    `bps` is bits per second; `samples` are decayed with age, like the average that `bps` is computed from.
    """

    ingress: str
    prefix: str
    natural: str
    planned: str
    bps: float
    samples: float


class Lists(NamedTuple):
    """Columns of some pairs as plain lists; links are numbers."""

    numbers: list[int]
    natural: list[int]
    planned: list[int]
    bps: list[float]
    samples: list[float]

    def between(self, places: slice) -> "Lists":
        """The pairs at these places."""
        return Lists(
            self.numbers[places], self.natural[places], self.planned[places], self.bps[places], self.samples[places]
        )


class Columns(NamedTuple):
    """Columns of all pairs as arrays; links are numbers."""

    numbers: Numbers
    natural: Numbers
    planned: Numbers
    bps: Floats
    samples: Floats

    def at(self, places: Selection) -> Lists:
        """The pairs at these places, as lists."""
        return Lists(
            self.numbers[places].tolist(),
            self.natural[places].tolist(),
            self.planned[places].tolist(),
            self.bps[places].tolist(),
            self.samples[places].tolist(),
        )


class TrafficMatrix:
    """Every `Pair`, in the order of pair numbers. `links` maps each link id to its number in the columns."""

    def __init__(self, pairs: PairIndex, links: Mapping[str, int], columns: Columns) -> None:
        self._pairs = pairs
        self._links = dict(links)
        self._prefixes = pairs.prefix_of[columns.numbers]
        self._columns = columns
        self._known: dict[str, Sequence[Pair]] = {}

    def __len__(self) -> int:
        return len(self._prefixes)

    def __iter__(self) -> Iterator[Pair]:
        return self._pairs_of(self._columns.at(slice(None)))

    def of(self, prefix: str) -> Sequence[Pair]:
        """The pairs of one prefix; empty if no traffic of it was seen."""
        if (known := self._known.get(prefix)) is None:
            bounds, columns = self._by_prefix
            place = self._pairs.places.get(prefix, len(bounds))
            places = slice(*bounds[place : place + 2]) if place + 1 < len(bounds) else slice(0)
            known = self._known[prefix] = list(self._pairs_of(columns.between(places)))
        return known

    @cached_property
    def moved(self) -> Sequence[Pair]:
        """The pairs that an override moves off their natural link."""
        return list(self._pairs_of(self._columns.at(self._columns.natural != self._columns.planned)))

    def planned_on(self, links: Collection[str]) -> Iterator[Pair]:
        """The pairs that leave by one of these links, with the overrides in force."""
        numbers = [number for link, number in self._links.items() if link in links]
        return self._pairs_of(self._columns.at(np.isin(self._columns.planned, numbers)))

    def leaving(self, link: str) -> set[str]:
        """The prefixes with any traffic that leaves by this link, with the overrides in force."""
        names, on = list(self._pairs.places), self._columns.planned == self._links.get(link, -1)
        return {names[place] for place in np.unique(self._prefixes[on]).tolist()}

    @cached_property
    def _by_prefix(self) -> tuple[list[int], Lists]:
        """Where each prefix begins, and the columns ordered by prefix."""
        order = np.argsort(self._prefixes, kind="stable")
        places = np.arange(self._prefixes.max(initial=-1) + 2)
        return np.searchsorted(self._prefixes[order], places).tolist(), self._columns.at(order)

    def _pairs_of(self, lists: Lists) -> Iterator[Pair]:
        keys, names = self._pairs.keys, list(self._links)
        for number, natural, planned, bps, samples in zip(*lists, strict=True):
            ingress, prefix = keys[number]
            yield Pair(ingress, prefix, names[natural], names[planned], bps, samples)
