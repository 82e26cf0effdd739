"""Elastic demand: senders back off when a full link drops their packets, and come back when the drops stop.

A share of each (ingress router, prefix) is elastic, like TCP and adaptive video. When its link drops, that part falls
to what is carried; when nothing is lost, it grows back to what it wants within 5 to 20 s, each pair at its own pace.
"""

from typing import Final

import numpy as np

from app.lab.pop.exits import NO_LINK, Exits, Floats
from app.lab.pop.pop import SimPop

RAMP_S_MIN: Final = 5.0
RAMP_S_MAX: Final = 20.0
STREAM: Final = 2  # its own random numbers; noise uses (seed, tick), sampling (seed, 1)


class Elasticity:
    """Turns wanted bytes into sent bytes, tick by tick. With a share of 0, exactly what is wanted is sent."""

    def __init__(self, sim: SimPop, share: float, tick_s: float) -> None:
        self._share = share
        paces = np.random.default_rng((sim.seed, 0, STREAM))
        self._growth = tick_s / paces.uniform(RAMP_S_MIN, RAMP_S_MAX, sim.demand_bps.shape)
        self._level = np.ones(sim.demand_bps.shape)  # share of the elastic part that is sent

    def sent_bytes(self, wanted_bytes: Floats) -> Floats:
        """What senders send of `wanted_bytes` in this tick; both are by (ingress router, prefix)."""
        return np.asarray(wanted_bytes * (1 - self._share + self._share * self._level))

    def learn(self, sent_bytes: Floats, carried_bytes: Floats, exits: Exits) -> None:
        """Adapt to how much of a tick was carried.

        Traffic without an exit is left alone: it may only seem to loop, because tables are read at different moments.
        """
        known = (sent_bytes > 0) & (exits.link != NO_LINK)
        arrived = np.divide(carried_bytes, sent_bytes, out=np.ones_like(sent_bytes), where=known)
        grown = np.minimum(self._level + self._growth, 1.0)
        self._level = np.where(arrived < 1, self._level * arrived, grown)
