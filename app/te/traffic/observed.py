"""What was seen of a PoP, one object per cycle: closed windows, their pairs as columns, and where BGP sends each pair.

All arrays use the same numbers of pairs and links. Most of the data does not change from one cycle to the next, so an
Observer keeps the columns of windows and routes, and computes only the new ones.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from app.te.routing.natural import NaturalRouting
from app.te.traffic.demand import Floats, Numbers, PairIndex
from app.te.traffic.egress_index import EgressIndex
from app.te.traffic.link import LinkWindow

LinkWindows = Mapping[str, LinkWindow]  # all links of one window, by link id


class DemandColumn(NamedTuple):
    """The demand of one link in one window, as columns; each pair occurs once."""

    link: str
    pairs: Numbers
    sizes_bytes: Floats
    samples: Floats


class SeenFlows(NamedTuple):
    """The demand of all links of a window, as columns, one link after the other; `links` are link numbers."""

    pairs: Numbers
    links: Numbers
    sizes_bytes: Floats
    samples: Floats


class ObservedWindow(NamedTuple):
    """The newest closed window with its history: oldest window first; a window without any link had no feed.

    The paths of a `doubtful` router may be out of date: it was not heard for too long.
    """

    history: Sequence[LinkWindows]
    columns: Sequence[Sequence[DemandColumn]]  # of each window of the history
    egress: EgressIndex
    flows: SeenFlows  # of the newest window
    doubtful: frozenset[str] = frozenset()  # routers

    @property
    def newest(self) -> LinkWindows:
        """All links of the newest window; empty if the feed is lost or nothing was seen yet."""
        return self.history[-1] if self.history else {}

    @property
    def pairs(self) -> PairIndex:
        """The index that all pair numbers in this object refer to."""
        return self.egress.pairs

    @property
    def natural(self) -> NaturalRouting:
        """Natural routing, as of the current Rib."""
        return self.egress.natural


class Observer:
    """Observes the windows of one PoP cycle after cycle, and reuses the columns of earlier cycles."""

    def __init__(self, natural: NaturalRouting) -> None:
        self._natural = natural
        self._egress = EgressIndex(natural, PairIndex())
        self._cache: list[tuple[LinkWindows, Sequence[DemandColumn]]] = []

    def observe(self, history: Sequence[LinkWindows]) -> ObservedWindow:
        """The newest (last) window of this history, together with the history."""
        if (pairs := _numbering(history)) is not self._egress.pairs:
            self._egress, self._cache = EgressIndex(self._natural, pairs), []
        known = {id(windows): columns for windows, columns in self._cache}
        columns = [known.get(id(windows)) or _columns(windows, pairs) for windows in history]
        self._cache = list(zip(history, columns, strict=True))
        newest = columns[-1] if columns else ()
        return ObservedWindow(list(history), columns, self._egress, _flows(newest, self._egress))


def observe(history: Sequence[LinkWindows], natural: NaturalRouting) -> ObservedWindow:
    """The newest (last) window of this history, observed from scratch, as a new Observer does."""
    return Observer(natural).observe(history)


def _numbering(history: Sequence[LinkWindows]) -> PairIndex:
    """The PairIndex of the newest window with traffic. All windows use it, except those from before a restart."""
    newest = (max((link.demand for link in windows.values()), key=len) for windows in reversed(history) if windows)
    return next((demand.pairs for demand in newest if demand), PairIndex())


def _columns(windows: LinkWindows, pairs: PairIndex) -> list[DemandColumn]:
    numbered = [(link, window.demand.numbered(pairs)) for link, window in windows.items()]
    return [
        DemandColumn(link, demand.numbers, demand.sizes_bytes.astype(np.float64), demand.samples.astype(np.float64))
        for link, demand in numbered
    ]


def _flows(columns: Sequence[DemandColumn], egress: EgressIndex) -> SeenFlows:
    links = np.array([egress.number(column.link) for column in columns], dtype=np.int64)
    nothing = DemandColumn("", np.empty(0, np.int64), np.empty(0), np.empty(0))
    return SeenFlows(
        np.concatenate([column.pairs for column in columns or [nothing]]),
        np.repeat(links, [len(column.pairs) for column in columns]),
        np.concatenate([column.sizes_bytes for column in columns or [nothing]]),
        np.concatenate([column.samples for column in columns or [nothing]]),
    )
