"""Counts traffic that never leaves because the routers' tables contradict each other: loops and dead ends.

Tables are read at slightly different moments, so a contradiction in a single read may never have existed. It counts,
with its bytes from the first read on, once all reads over at least CONFIRM_S show it; otherwise it was transient.
"""

from typing import Final

import numpy as np

from app.lab.pop.exits import Floats, Masks

CONFIRM_S: Final = 1.0
_SLACK_S: Final = 1e-6  # ticks are sums of floats


class LossLedger:
    """Adds up the bytes lost to one kind of contradiction; `shape` is (ingress routers, prefixes)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._since_s = np.full(shape, np.inf)  # infinity: not lost now
        self._held_bytes = np.zeros(shape)
        self._confirmed = np.zeros(shape, dtype=bool)
        self.confirmed_bytes = 0.0
        self._passed_bytes = 0.0
        self.last_s: float | None = None  # time of the last read that showed a confirmed contradiction
        self.count = 0  # confirmed contradictions: each (ingress router, prefix) counts once until it ends

    @property
    def transient_bytes(self) -> float:
        """Bytes lost according to reads that later reads did not confirm, or not yet."""
        return self._passed_bytes + float(self._held_bytes.sum())

    def update(self, at_s: float, lost: Masks, wanted_bytes: Floats) -> None:
        """Take in one read at `at_s`: which traffic is lost, and the bytes of its tick."""
        self._passed_bytes += float(self._held_bytes[~lost].sum())
        self._held_bytes = np.where(lost, self._held_bytes + wanted_bytes, 0)
        self._since_s = np.where(lost, np.minimum(self._since_s, at_s), np.inf)
        ripe = at_s - self._since_s >= CONFIRM_S - _SLACK_S
        self.confirmed_bytes += float(self._held_bytes[ripe].sum())
        self._held_bytes[ripe] = 0
        self.count += int((ripe & ~self._confirmed).sum())
        self._confirmed = ripe
        if ripe.any():
            self.last_s = at_s
