"""Interfaces that a router seems to have numbered again: one of the inventory falls silent, and another one appears."""

from collections.abc import Mapping

import msgspec

APPEARS_WITHIN_S = 600.0  # after the interface of the inventory was last read; restarts of routers take minutes


class OtherInterface(msgspec.Struct):
    """An interface that the inventory does not name: when it was first and last read, and how often."""

    first_s: float
    last_s: float
    readings: int = 1


def successors(others: Mapping[int, OtherInterface], last_read_s: float) -> list[int]:
    """The ifIndexes that appeared soon after an interface was read for the last time, in ascending order.

    One reading of a number proves nothing.
    """
    return sorted(
        ifindex
        for ifindex, other in others.items()
        if last_read_s < other.first_s <= last_read_s + APPEARS_WITHIN_S and other.readings > 1
    )
