"""Demand that reacts: senders back off when a full link drops their packets, and come back when it does not.

Of each (ingress router, prefix) a share is elastic, as TCP and adaptive video are. When its link drops, that part falls
to what is carried; when nothing is lost, it grows back to its wish within 5 to 20 s, each pair at its own pace.
"""

from typing import Final

import numpy as np

from app.lab.pop.exits import NO_LINK, Exits, Floats
from app.lab.pop.pop import SimPop

RAMP_S_MIN: Final = 5.0
RAMP_S_MAX: Final = 20.0
STREAM: Final = 2  # of random numbers, beside those of noise (seed, tick) and sampling (seed, 1)


class Elasticity:
    """What is sent of what is wished, tick by tick. A share of 0 sends the wish, to the last bit."""

    def __init__(self, sim: SimPop, share: float, tick_s: float) -> None:
        self._share = share
        paces = np.random.default_rng((sim.seed, 0, STREAM))
        self._growth = tick_s / paces.uniform(RAMP_S_MIN, RAMP_S_MAX, sim.demand_bps.shape)
        self._level = np.ones(sim.demand_bps.shape)  # what of the elastic part is sent

    def sent_bytes(self, wished_bytes: Floats) -> Floats:
        """By (ingress router, prefix)."""
        return np.asarray(wished_bytes * (1 - self._share + self._share * self._level))

    def learn(self, sent_bytes: Floats, carried_bytes: Floats, exits: Exits) -> None:
        """Take in what became of a tick. What has no exit is left alone: tables read apart may only seem to loop."""
        known = (sent_bytes > 0) & (exits.link != NO_LINK)
        arrived = np.divide(carried_bytes, sent_bytes, out=np.ones_like(sent_bytes), where=known)
        grown = np.minimum(self._level + self._growth, 1.0)
        self._level = np.where(arrived < 1, self._level * arrived, grown)
