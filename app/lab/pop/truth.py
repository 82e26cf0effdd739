"""What really happened: the measure that every estimate and every claim is held against."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.lab.pop.exits import Floats


class Loads(NamedTuple):
    """Bytes by link in inventory order; of one tick, or by (time, link) once stacked."""

    offered: Floats  # what the routers sent to the port: carried + dropped
    carried: Floats
    dropped: Floats
    natural: Floats  # what plain BGP would have sent there of all that was wanted, whoever backed off meanwhile
    natural_sent: Floats  # of what was really sent: all that an estimate can know
    blackholed: Floats  # sent to a dead next hop on that link; never reached the port


def stack(ticks: Sequence[Loads], group: int = 1) -> Loads:
    """The ticks as matrices, each row the sum of `group` ticks (the last one of what is left); at least one tick."""
    starts = range(0, len(ticks), group)
    return Loads(*(np.add.reduceat(np.array(column), starts) for column in zip(*ticks, strict=True)))
