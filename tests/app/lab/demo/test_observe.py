"""Evidence from the truth: whether our moves, and not plain BGP, filled a link too far."""

import numpy as np
import pytest

from app.lab.demo.observe import congested_by_us, mean_bps
from app.lab.pop.exits import Floats
from app.lab.pop.truth import Loads

LINKS = ("p/r1/a", "p/r1/b")
CAPACITY_BPS = np.array([800.0, 800.0])


def loads(offered: list[float], natural: list[float], seconds: int = 25) -> Loads:
    """Shares of capacity by link, the same in every second; a second at capacity is 100 bytes."""
    rows: list[Floats] = [np.tile(np.array(shares) * 100, (seconds, 1)) for shares in (offered, natural)]
    nothing = np.zeros((seconds, 2))
    return Loads(rows[0], rows[0], nothing, rows[1], rows[1], nothing)


@pytest.mark.parametrize(
    ("offered", "natural", "pushed"),
    [
        ([0.79, 0.5], [1.20, 0.1], []),
        ([0.92, 0.5], [0.79, 0.1], ["p/r1/a"]),
        ([0.95, 0.5], [0.91, 0.1], []),  # plain BGP itself is over the mark
        ([0.89, 0.5], [0.50, 0.1], []),
        ([0.92, 0.95], [0.50, 0.1], ["p/r1/a", "p/r1/b"]),
    ],
)
def test_congested_by_us(offered: list[float], natural: list[float], pushed: list[str]) -> None:
    assert list(congested_by_us(loads(offered, natural), LINKS, CAPACITY_BPS, 10, 0.90)) == pushed


def test_one_window_is_enough_and_a_second_is_not() -> None:
    calm = loads([0.5, 0.5], [0.5, 0.5])
    calm.offered[3] = [100.0, 50.0]
    assert list(congested_by_us(calm, LINKS, CAPACITY_BPS, 10, 0.90)) == []
    calm.offered[10:20, 0] = 91.0
    assert list(congested_by_us(calm, LINKS, CAPACITY_BPS, 10, 0.90)) == ["p/r1/a"]


def test_a_mean_follows_the_clock_of_what_was_told_late() -> None:
    rows = np.array([100.0, 100.0, 300.0])
    assert mean_bps(rows, np.array([0.0, 1.0, 2.0, 3.0]), 0.5, 2.5) == pytest.approx(8 * 300 / 2)
    assert mean_bps(rows, np.array([0.0, 1.0, 3.0, 3.5]), 0.5, 2.5) == pytest.approx(8 * 125 / 2), "the second was late"
