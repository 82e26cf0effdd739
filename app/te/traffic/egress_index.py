"""What natural routing says of many pairs at once, as columns.

Most routes are the same from one decision to the next, so only prefixes with other routes are read again.
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
    """By place in the pairs that were asked for. Links are numbers, as in `EgressIndex.links`."""

    exits: Numbers  # where plain BGP sends it, NO_EXIT for nowhere
    overridden: Flags  # a router holds a route of ours for its prefix
    prefixes: Numbers
    live: Flags  # by prefix and link

    def lives(self, on: Numbers) -> Flags:
        """Whether the prefix of each pair has a live path by the link beside it."""
        return self.live[self.prefixes, on]


class EgressIndex:
    """The answers of one natural routing about the pairs of one numbering; `links` are numbers by name and grow."""

    def __init__(self, natural: NaturalRouting, pairs: PairIndex) -> None:
        self.natural = natural
        self.pairs = pairs
        self.links: dict[str, int] = {}
        self._routers: dict[str, int] = {}
        self._version = -1
        self._routes: list[NaturalRoutes | None] = []  # by prefix, as its row was made
        self._asked = np.zeros(0, dtype=np.bool_)  # by prefix: of this version
        self._overridden = np.zeros(0, dtype=np.bool_)
        self._live = np.zeros((0, 0), dtype=np.bool_)
        self._exits = np.zeros((0, 0), dtype=np.int64)

    def number(self, link: str) -> int:
        """Of a link by name."""
        return self.links.setdefault(link, len(self.links))

    def predict(self, numbers: Numbers) -> Predicted:
        """What routing says now of these pairs."""
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
            self._asked[:] = False
        if len(due := np.unique(prefixes[~self._asked[prefixes]])):
            self._asked[due] = True
            rows = due.tolist()
            routes = map(self.natural.routes, map(names.__getitem__, rows))
            self._note([(row, now) for row, now in zip(rows, routes, strict=True) if now is not self._routes[row]])

    def _note(self, changed: Sequence[tuple[int, NaturalRoutes]]) -> None:
        """Write the rows of these prefixes anew. Most are like those of many others."""
        distinct: dict[tuple[object, ...], int] = {}
        places = [distinct.setdefault(_alike(routes), len(distinct)) for _, routes in changed]
        like = list({place: routes for place, (_, routes) in zip(places, changed, strict=True)}.items())
        exits = [
            (place, self._router(router), self.number(egress.link))
            for place, routes in like
            for router, egress in routes.exits.items()
        ]
        live = [(place, self.number(link), True) for place, routes in like for link in sorted(routes.links)]
        self._resize(len(self._routes))
        rows = [row for row, _ in changed]
        self._exits[rows] = _filled(exits, NO_EXIT, len(distinct), len(self._routers))[places]
        self._live[rows] = _filled(live, False, len(distinct), len(self.links))[places]
        self._overridden[rows] = [routes.overridden for _, routes in changed]
        for row, routes in changed:
            self._routes[row] = routes

    def _resize(self, prefixes: int) -> None:
        """Room for all that was met."""
        self._routes += [None] * (prefixes - len(self._routes))
        self._asked = _grown(self._asked, False, prefixes)
        self._overridden = _grown(self._overridden, False, prefixes)
        self._live = _grown(self._live, False, prefixes, len(self.links))
        self._exits = _grown(self._exits, NO_EXIT, prefixes, len(self._routers))


def _alike(routes: NaturalRoutes) -> tuple[object, ...]:
    """The same for routes with the same exits, which are objects of NaturalRouting, and links."""
    return *routes.exits, *map(id, routes.exits.values()), routes.links


def _filled(entries: Sequence[tuple[int, int, int]], fill: bool | int, *shape: int) -> NDArray[np.generic]:
    """A table with (row, column, value) entries."""
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
