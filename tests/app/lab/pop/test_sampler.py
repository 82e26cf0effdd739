"""Samples of a tick: how many, of what, and with the pool of a real skip process."""

import math

import numpy as np
import pytest

from app.lab.pop.exits import NO_LINK
from app.lab.pop.packets import FRAME_BYTES, FRAME_BYTES_MEAN
from app.lab.pop.sampler import Sampler, Samples

RATE = 1000
EXITS = np.array([[0, 1, NO_LINK], [0, 0, 1]])
FRAMES = np.array([[2e6, 1e6, 0], [5e5, 0, 3e6]])


def draw(ticks: int = 1, seed: int = 3) -> list[Samples]:
    sampler = Sampler(2, RATE, np.random.default_rng(seed))
    return [sampler.sample(FRAMES * FRAME_BYTES_MEAN, EXITS, 1.0) for _ in range(ticks)]


def test_counts_are_binomial_and_go_by_pair_and_link() -> None:
    (samples,) = draw()
    for ingress, prefix in np.ndindex(EXITS.shape):
        mine = (samples.ingress == ingress) & (samples.prefix == prefix)
        expected = FRAMES[ingress, prefix] / RATE
        assert mine.sum() == pytest.approx(expected, abs=4 * math.sqrt(expected))
        assert (samples.link[mine] == EXITS[ingress, prefix]).all()


def test_scaled_frame_lengths_estimate_the_bytes() -> None:
    (samples,) = draw()
    assert set(samples.frame_bytes.tolist()) == set(FRAME_BYTES.tolist())
    assert samples.frame_bytes.sum() * RATE == pytest.approx(FRAMES.sum() * FRAME_BYTES_MEAN, rel=0.04)


def test_the_pool_is_the_frame_count_of_the_port() -> None:
    ticks = draw(3)
    for link, sent in enumerate((2.5e6, 4e6)):
        pool = np.concatenate([samples.pool[samples.link == link] for samples in ticks])
        sequence = np.concatenate([samples.sequence[samples.link == link] for samples in ticks])
        skips = np.diff(pool)
        assert sequence.tolist() == list(range(1, len(sequence) + 1))
        assert pool[-1] <= 3 * sent
        assert (skips > 0).all()
        assert skips.mean() == pytest.approx(RATE, rel=0.05)
        assert skips.std() == pytest.approx(RATE, rel=0.1), "geometric: as wide as its mean"


def test_time_is_the_place_in_the_stream() -> None:
    (samples,) = draw()
    assert (np.diff(samples.due_s) >= 0).all()
    assert 0 <= samples.due_s.min() < samples.due_s.max() < 1
    first = samples.link == 0
    assert samples.due_s[first] == pytest.approx((samples.pool[first] - 1) / 2.5e6)


def test_a_silent_tick_has_no_samples_and_seeds_repeat() -> None:
    quiet = Sampler(2, RATE, np.random.default_rng(1)).sample(np.zeros((2, 3)), EXITS, 1.0)
    assert len(quiet.due_s) == 0
    assert np.array_equal(draw()[0].pool, draw()[0].pool)
