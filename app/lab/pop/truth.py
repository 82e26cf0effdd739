"""What really happened: the truth that every estimate and every claim is checked against."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.lab.pop.exits import Floats


class Loads(NamedTuple):
    """Bytes by link in inventory order for one tick, or by (time, link) once stacked."""

    offered: Floats  # what the routers sent to the port: carried + dropped
    carried: Floats
    dropped: Floats
    natural: Floats  # what plain BGP would have sent there of all wanted bytes, including what senders held back
    natural_sent: Floats  # the same for the bytes really sent, which is all that an estimate can know
    blackholed: Floats  # sent to a dead next hop on that link; never reached the port


def stack(ticks: Sequence[Loads], group: int = 1) -> Loads:
    """Stack at least one tick into matrices. Each row is the sum of `group` ticks, the last of those that are left."""
    starts = range(0, len(ticks), group)
    return Loads(*(np.add.reduceat(np.array(column), starts) for column in zip(*ticks, strict=True)))
