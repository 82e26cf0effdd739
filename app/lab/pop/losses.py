"""Traffic that never leaves because tables contradict each other: loops and dead ends.

Two tables are read at slightly different moments, so a contradiction seen at one read may never have existed. It counts
once reads at least CONFIRM_S apart all show it, with its bytes from the first read on; else it was transient.
"""

from typing import Final

import numpy as np

from app.lab.pop.exits import Floats, Masks

CONFIRM_S: Final = 1.0
_SLACK_S: Final = 1e-6  # ticks are sums of floats


class LossLedger:
    """Books the lost bytes of one kind of contradiction, by (ingress router, prefix)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._since_s = np.full(shape, np.inf)  # inf: not lost
        self._held_bytes = np.zeros(shape)
        self._confirmed = np.zeros(shape, dtype=bool)
        self.confirmed_bytes = 0.0
        self._passed_bytes = 0.0
        self.last_s: float | None = None  # the last read that a confirmed one was seen at
        self.count = 0  # confirmed contradictions, one for each (ingress router, prefix) and time

    @property
    def transient_bytes(self) -> float:
        """Bytes of what one read showed and no later one confirmed, or not yet."""
        return self._passed_bytes + float(self._held_bytes.sum())

    def update(self, at_s: float, lost: Masks, wanted_bytes: Floats) -> None:
        """Book one read; `wanted_bytes` is the traffic of its tick."""
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
