"""What was seen of a PoP, as one object a cycle: closed windows, their pairs as columns, and where BGP sends each pair.

All arrays are in numbers of the same pairs and links. Most of it is the same from one cycle to the next, so an Observer
keeps what it made of windows and routes, and makes only what is new.
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
    """The demands of one link in one window; each pair once."""

    link: str
    pairs: Numbers
    sizes_bytes: Floats
    samples: Floats


class SeenFlows(NamedTuple):
    """The demands of all links of a window, one after the other."""

    pairs: Numbers
    links: Numbers
    sizes_bytes: Floats


class ObservedWindow(NamedTuple):
    """The newest closed window with its history (newest last; empty windows are those without a feed)."""

    history: Sequence[LinkWindows]
    columns: Sequence[Sequence[DemandColumn]]  # of each window of the history
    egress: EgressIndex
    flows: SeenFlows  # of the newest window

    @property
    def newest(self) -> LinkWindows:
        """All links of the newest window; none where the feed is lost, or nothing was seen yet."""
        return self.history[-1] if self.history else {}

    @property
    def pairs(self) -> PairIndex:
        """What the numbers of pairs stand for."""
        return self.egress.pairs

    @property
    def natural(self) -> NaturalRouting:
        """Plain BGP as of now."""
        return self.egress.natural


class Observer:
    """Observes the windows of one PoP, cycle after cycle."""

    def __init__(self, natural: NaturalRouting) -> None:
        self._natural = natural
        self._egress = EgressIndex(natural, PairIndex())
        self._made: list[tuple[LinkWindows, Sequence[DemandColumn]]] = []

    def observe(self, history: Sequence[LinkWindows]) -> ObservedWindow:
        """The newest (last) window of this history."""
        if (pairs := _numbering(history)) is not self._egress.pairs:
            self._egress, self._made = EgressIndex(self._natural, pairs), []
        known = {id(windows): columns for windows, columns in self._made}
        columns = [known.get(id(windows)) or _columns(windows, pairs) for windows in history]
        self._made = list(zip(history, columns, strict=True))
        newest = columns[-1] if columns else ()
        return ObservedWindow(list(history), columns, self._egress, _flows(newest, self._egress))


def observe(history: Sequence[LinkWindows], natural: NaturalRouting) -> ObservedWindow:
    """As an Observer that sees this history for the first time."""
    return Observer(natural).observe(history)


def _numbering(history: Sequence[LinkWindows]) -> PairIndex:
    """The pairs of the newest window with traffic: all windows but those of before a restart have them."""
    newest = (max((one.demand for one in windows.values()), key=len) for windows in reversed(history) if windows)
    return next((demand.pairs for demand in newest if demand), PairIndex())


def _columns(windows: LinkWindows, pairs: PairIndex) -> list[DemandColumn]:
    numbered = [(link, window.demand.numbered(pairs)) for link, window in windows.items()]
    return [
        DemandColumn(link, one.numbers, one.sizes_bytes.astype(np.float64), one.samples.astype(np.float64))
        for link, one in numbered
    ]


def _flows(columns: Sequence[DemandColumn], egress: EgressIndex) -> SeenFlows:
    links = np.array([egress.number(column.link) for column in columns], dtype=np.int64)
    nothing = DemandColumn("", np.empty(0, np.int64), np.empty(0), np.empty(0))
    return SeenFlows(
        np.concatenate([column.pairs for column in columns or [nothing]]),
        np.repeat(links, [len(column.pairs) for column in columns]),
        np.concatenate([column.sizes_bytes for column in columns or [nothing]]),
    )
