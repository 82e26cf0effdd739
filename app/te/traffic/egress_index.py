"""What natural routing predicts for many pairs at once, as columns.

Most routes do not change from one decision to the next, so only prefixes whose routes changed are read again.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.te.routing.natural import NaturalRoutes, NaturalRouting
from app.te.traffic.demand import Numbers, PairIndex

Flags = NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)
NO_EXIT = -1


class Predicted(NamedTuple):
    """The prediction for some pairs, as columns in their order. Links are numbers, as in `EgressIndex.links`."""

    exits: Numbers  # the link by which plain BGP sends the pair, NO_EXIT for none
    overridden: Flags  # some router holds an override for the prefix of the pair
    prefixes: Numbers
    live: Flags  # by prefix and link: the prefix has a live path by that link

    def lives(self, on: Numbers) -> Flags:
        """Whether the prefix of each pair has a live path by the link at the same place in `on`."""
        return self.live[self.prefixes, on]


class EgressIndex:
    """Predicts the exits of pairs that `pairs` numbers. `links` maps link ids to numbers and only grows."""

    def __init__(self, natural: NaturalRouting, pairs: PairIndex) -> None:
        self.natural = natural
        self.pairs = pairs
        self.links: dict[str, int] = {}
        self._routers: dict[str, int] = {}
        self._version = -1
        # One row per prefix number. `_live` has a column per link number, `_exits` one per router number.
        self._routes: list[NaturalRoutes | None] = []  # what the row was computed from
        self._is_fresh = np.zeros(0, dtype=np.bool_)  # the row was checked in this version of the Rib
        self._overridden = np.zeros(0, dtype=np.bool_)
        self._live = np.zeros((0, 0), dtype=np.bool_)
        self._exits = np.zeros((0, 0), dtype=np.int64)

    def number(self, link: str) -> int:
        """The number of a link; a new link gets the next number."""
        return self.links.setdefault(link, len(self.links))

    def predict(self, numbers: Numbers) -> Predicted:
        """Predict the exits of these pairs by the current routes."""
        pairs = self.pairs
        prefixes, routers = pairs.prefix_of[numbers], pairs.router_of[numbers]
        self._refresh(list(pairs.places), prefixes)
        columns = np.array([self._router(name) for name in pairs.routers], dtype=np.int64)
        self._resize(len(pairs.places))
        exits = self._exits[prefixes, columns[routers]]
        return Predicted(exits, self._overridden[prefixes], prefixes, self._live)

    def _router(self, name: str) -> int:
        return self._routers.setdefault(name, len(self._routers))

    def _refresh(self, names: Sequence[str], prefixes: Numbers) -> None:
        self._resize(len(names))
        if self._version != self.natural.rib.version:
            self._version = self.natural.rib.version
            self._is_fresh[:] = False
        if len(due := np.unique(prefixes[~self._is_fresh[prefixes]])):
            self._is_fresh[due] = True
            rows = due.tolist()
            routes = map(self.natural.routes, map(names.__getitem__, rows))
            self._rewrite([(row, now) for row, now in zip(rows, routes, strict=True) if now is not self._routes[row]])

    def _rewrite(self, changed: Sequence[tuple[int, NaturalRoutes]]) -> None:
        """Write the rows of these prefixes again. Few are distinct, so each distinct row is computed once."""
        distinct: dict[tuple[object, ...], int] = {}
        places = [distinct.setdefault(_row_key(routes), len(distinct)) for _, routes in changed]
        examples = list({place: routes for place, (_, routes) in zip(places, changed, strict=True)}.items())
        exits = [
            (place, self._router(router), self.number(egress.link))
            for place, routes in examples
            for router, egress in routes.exits.items()
        ]
        live = [(place, self.number(link), True) for place, routes in examples for link in sorted(routes.links)]
        self._resize(len(self._routes))
        rows = [row for row, _ in changed]
        self._exits[rows] = _filled(exits, NO_EXIT, len(distinct), len(self._routers))[places]
        self._live[rows] = _filled(live, False, len(distinct), len(self.links))[places]
        self._overridden[rows] = [routes.overridden for _, routes in changed]
        for row, routes in changed:
            self._routes[row] = routes

    def _resize(self, prefixes: int) -> None:
        """Make room for this many prefixes and for all known links and routers."""
        self._routes += [None] * (prefixes - len(self._routes))
        self._is_fresh = _grown(self._is_fresh, False, prefixes)
        self._overridden = _grown(self._overridden, False, prefixes)
        self._live = _grown(self._live, False, prefixes, len(self.links))
        self._exits = _grown(self._exits, NO_EXIT, prefixes, len(self._routers))


def _row_key(routes: NaturalRoutes) -> tuple[object, ...]:
    """A key that is equal for routes with equal rows. Exits compare by id: NaturalRouting shares equal ones."""
    return *routes.exits, *map(id, routes.exits.values()), routes.links


def _filled(entries: Sequence[tuple[int, int, int]], fill: bool | int, *shape: int) -> NDArray[np.generic]:
    """An array of this shape with (row, column, value) entries, `fill` everywhere else."""
    table: NDArray[np.generic] = np.full(shape, fill)
    if entries:
        rows, columns, values = zip(*entries, strict=True)
        table[rows, columns] = values
    return table


def _grown(array: NDArray[T], fill: bool | int, *shape: int) -> NDArray[T]:
    if array.shape == shape:
        return array
    grown = np.full(shape, fill, dtype=array.dtype)
    grown[tuple(map(slice, array.shape))] = array
    return grown
