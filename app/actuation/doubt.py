"""Which routers are doubted because BMP is silent, and until when overrides that leave by them may stay."""

from collections.abc import Callable, Iterable, Mapping
from math import inf

from app.actuation.bmp_witness import BmpWitness
from app.clock import Clock


class Doubt:
    """As of the last `look`. Nobody would report that a path of a doubted router was lost."""

    def __init__(self, witness: BmpWitness, clock: Clock, doubt_lease_s: float, ready: Callable[[], bool]) -> None:
        self.routers: frozenset[str] = frozenset()
        self._until_s: Mapping[str, float] = {}  # by router of which BMP is silent
        self._witness = witness
        self._clock = clock
        self._doubt_lease_s = doubt_lease_s
        self._ready = ready

    def look(self) -> bool:
        """Look which routers are heard; return whether that changed."""
        before = self.routers, self._until_s.keys()
        names = list(self._witness.pop.routers)
        self.routers = frozenset(router for router in names if self._witness.heard(router).doubtful)
        now_s, silent_s = self._clock.monotonic_s(), {router: self._witness.doubted_for_s(router) for router in names}
        self._until_s = (
            {router: now_s - past_s + self._doubt_lease_s for router, past_s in silent_s.items() if past_s > 0}
            if self._ready()
            else {}  # until BMP was read, it says nothing
        )
        return before != (self.routers, self._until_s.keys())

    def until_s(self, routers: Iterable[str]) -> float:
        """When overrides that leave by these routers have to be gone, in monotonic seconds; inf without doubt."""
        return min((self._until_s.get(router, inf) for router in routers), default=inf)
