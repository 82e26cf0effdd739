"""Offsets that have no record: those with a name are passed, any other is a loss."""

from typing import Any

import pytest

from app.stream.fetching import Hole
from tests.app.stream.test_exact import Ended, Stream, reader


def hole(first: int, next_offset: int) -> Hole:
    return Hole(first, next_offset, 0.0)


async def test_a_hole_with_a_name_is_passed_and_acknowledged() -> None:
    """The end of a transaction takes an offset: without it no record is missing (tests/cases, 64)."""
    log: list[str] = []
    await reader(log).run(Stream(log, [[0], hole(1, 4), [4], hole(5, 6)]))
    taken = [line for line in log if line.startswith(("apply", "skip"))]
    assert taken == ["apply 0", "skip to 3", "apply 4", "skip to 5"]
    assert log[-1] == "ack 5"


async def test_a_hole_that_comes_again_is_only_acknowledged() -> None:
    log: list[str] = []
    await reader(log).run(Stream(log, [[0], hole(1, 3), hole(1, 3), hole(2, 4), [4]]))
    taken = [line for line in log if line.startswith(("apply", "skip"))]
    assert taken == ["apply 0", "skip to 2", "skip to 3", "apply 4"]
    assert [line for line in log if line.startswith("ack")] == ["ack 0", "ack 2", "ack 2", "ack 3", "ack 4"]


@pytest.mark.parametrize("batches", [[[0], hole(2, 3)], [hole(1, 2)], [[0], hole(1, 3), [4]]])
async def test_what_is_missing_beside_a_hole_is_a_loss(batches: list[Any]) -> None:
    log: list[str] = []
    with pytest.raises(Ended, match="was due"):
        await reader(log).run(Stream(log, batches))
    assert not [line for line in log if line.startswith("ack")]
