"""Samples the frames of a tick: each is taken with probability 1/rate as it leaves on an external link.

This is the random skip process of a real sampler: skips between samples are geometric with mean `rate`, and the sample
pool is the true number of frames that the port has sent. A sample's position in that stream gives its time in the tick.
"""

from dataclasses import dataclass

import numpy as np

from app.lab.pop.exits import Floats, Ints
from app.lab.pop.packets import FRAME_BYTES, FRAME_BYTES_MEAN, FRAME_SHARE


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of one tick in order of time; every array has one element per sample."""

    due_s: Floats  # since the start of the tick
    link: Ints
    ingress: Ints  # router index
    prefix: Ints
    frame_bytes: Ints
    pool: Ints  # frames that its link has sent so far, including this one
    sequence: Ints  # per link, from 1


class Sampler:
    """The samplers of all links. Keeps their sample pools and sequence numbers."""

    def __init__(self, links: int, rate: int, rng: np.random.Generator) -> None:
        self._rate, self._rng = rate, rng
        self._frames_sent = np.zeros(links, np.int64)
        self._samples_taken = np.zeros(links, np.int64)

    def sample(self, carried_bytes: Floats, exit_link: Ints, tick_s: float) -> Samples:
        """Sample what left the PoP in one tick; both matrices are by (ingress router, prefix)."""
        frames = np.rint(carried_bytes / FRAME_BYTES_MEAN).astype(np.int64)
        taken = self._rng.binomial(frames, 1 / self._rate)
        parts = [
            self._sample_link(link, frames, np.where(exit_link == link, taken, 0), exit_link == link, tick_s)
            for link in range(len(self._frames_sent))
        ]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        return Samples(*(column[order] for column in columns))

    def _sample_link(
        self, link: int, frames: Ints, taken: Ints, of_link: np.ndarray, tick_s: float
    ) -> tuple[Floats, Ints, Ints, Ints, Ints, Ints, Ints]:
        count, sent = int(taken.sum()), int(frames[of_link].sum())
        place = np.sort(self._rng.choice(sent, size=count, replace=False, shuffle=False))
        pair = self._rng.permutation(np.repeat(np.arange(taken.size), taken.ravel()))
        ingress, prefix = np.divmod(pair, taken.shape[1])
        frame_bytes = self._rng.choice(FRAME_BYTES, size=count, p=FRAME_SHARE)
        pool = self._frames_sent[link] + place + 1
        sequence = self._samples_taken[link] + np.arange(1, count + 1)
        self._frames_sent[link] += sent
        self._samples_taken[link] += count
        return place / max(sent, 1) * tick_s, np.full(count, link), ingress, prefix, frame_bytes, pool, sequence
