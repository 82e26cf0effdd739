"""The demand of every (ingress router, prefix), as columns: a cycle looks closely at the pairs of few prefixes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.te.traffic.demand import Floats, Numbers, PairIndex

Selection = slice | Numbers | NDArray[np.bool_]


class Pair(msgspec.Struct, frozen=True, gc=False):
    """Demand of one (ingress router, prefix): its natural link, the link of the plan, and its decayed samples."""

    ingress: str
    prefix: str
    natural: str
    planned: str
    bps: float
    samples: float


class Lists(NamedTuple):
    """Some pairs, one after the other."""

    numbers: list[int]
    natural: list[int]
    planned: list[int]
    bps: list[float]
    samples: list[float]

    def between(self, places: slice) -> "Lists":
        """Some of them."""
        return Lists(
            self.numbers[places], self.natural[places], self.planned[places], self.bps[places], self.samples[places]
        )


class Columns(NamedTuple):
    """All pairs, one after the other."""

    numbers: Numbers
    natural: Numbers
    planned: Numbers
    bps: Floats
    samples: Floats

    def at(self, places: Selection) -> Lists:
        """Some of them, for a close look."""
        return Lists(
            self.numbers[places].tolist(),
            self.natural[places].tolist(),
            self.planned[places].tolist(),
            self.bps[places].tolist(),
            self.samples[places].tolist(),
        )


class TrafficMatrix:
    """Every `Pair`, in the order of their numbers. `links` are the numbers of links by name."""

    def __init__(self, pairs: PairIndex, links: Mapping[str, int], columns: Columns) -> None:
        self._pairs = pairs
        self._links = dict(links)
        self._prefixes = pairs.prefix_of[columns.numbers]
        self._columns = columns
        self._known: dict[str, Sequence[Pair]] = {}

    def __len__(self) -> int:
        return len(self._prefixes)

    def __iter__(self) -> Iterator[Pair]:
        return self._made(self._columns.at(slice(None)))

    def of(self, prefix: str) -> Sequence[Pair]:
        """Those of one prefix; none where it was not seen."""
        if (known := self._known.get(prefix)) is None:
            bounds, columns = self._by_prefix
            place = self._pairs.places.get(prefix, len(bounds))
            places = slice(*bounds[place : place + 2]) if place + 1 < len(bounds) else slice(0)
            known = self._known[prefix] = list(self._made(columns.between(places)))
        return known

    @cached_property
    def moved(self) -> Sequence[Pair]:
        """Those that an override takes off their natural link."""
        return list(self._made(self._columns.at(self._columns.natural != self._columns.planned)))

    def planned_on(self, links: Collection[str]) -> Iterator[Pair]:
        """Those that are to leave by one of these links."""
        numbers = [number for link, number in self._links.items() if link in links]
        return self._made(self._columns.at(np.isin(self._columns.planned, numbers)))

    def leaving(self, link: str) -> set[str]:
        """Prefixes of which something is to leave by this link."""
        names, on = list(self._pairs.places), self._columns.planned == self._links.get(link, -1)
        return {names[place] for place in np.unique(self._prefixes[on]).tolist()}

    @cached_property
    def _by_prefix(self) -> tuple[list[int], Lists]:
        """The columns ordered by prefix, and where each prefix begins."""
        order = np.argsort(self._prefixes, kind="stable")
        places = np.arange(self._prefixes.max(initial=-1) + 2)
        return np.searchsorted(self._prefixes[order], places).tolist(), self._columns.at(order)

    def _made(self, lists: Lists) -> Iterator[Pair]:
        keys, names = self._pairs.keys, list(self._links)
        for number, natural, planned, bps, samples in zip(*lists, strict=True):
            ingress, prefix = keys[number]
            yield Pair(ingress, prefix, names[natural], names[planned], bps, samples)
