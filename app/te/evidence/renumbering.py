"""Interfaces that a router seems to have numbered again: one of the inventory falls silent, and another one appears."""

from collections.abc import Mapping

import msgspec

FORGOTTEN_S = 120.0  # an interface that was not read for so long is not read any more
APPEARS_WITHIN_S = 600.0  # after the interface of the inventory was last read; restarts of routers take minutes


class OtherInterface(msgspec.Struct):
    """An interface that the inventory does not name: when it was first and last read, and how often."""

    first_s: float
    last_s: float
    readings: int = 1


def note(others: dict[int, OtherInterface], ifindex: int, at_s: float, most: int) -> None:
    """Remember a reading of another interface, in order of the last one; `most` are kept.

    One that is not read any more makes room. Those that are do not: they would take turns, and all seem to be new.
    """
    other = others.pop(ifindex, None)
    if other is None:
        oldest = next(iter(others), None)
        if oldest is not None and len(others) >= most:
            if others[oldest].last_s > at_s - FORGOTTEN_S:
                return
            del others[oldest]
        others[ifindex] = OtherInterface(at_s, at_s)
        return
    others[ifindex] = other
    if at_s > other.last_s:
        other.last_s = at_s
        other.readings += 1


def successors(others: Mapping[int, OtherInterface], last_read_s: float) -> list[int]:
    """The ifIndexes that appeared soon after an interface was read for the last time, in ascending order.

    One reading of a number proves nothing.
    """
    return sorted(
        ifindex
        for ifindex, other in others.items()
        if last_read_s < other.first_s <= last_read_s + APPEARS_WITHIN_S and other.readings > 1
    )
