"""Loads of a link from its octet counters, interpolated at the borders of the window."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec

WRAP_32 = 1 << 32


class CounterSample(msgspec.Struct, frozen=True, array_like=True):
    """One reading of a port's counters. Octets are 64-bit counters; discards wrap at 32 bits."""

    at_s: float
    in_octets: int
    out_octets: int
    out_packets: int
    out_discards: int
    speed_bps: int
    up: bool


class Rates(msgspec.Struct, frozen=True):
    """A link's load in a window according to its counters, in bits per second. The capacity is that of live members."""

    carried_bps: float
    dropped_bps: float
    received_bps: float
    capacity_bps: float
    up: bool


def link_rates(members: Sequence[Sequence[CounterSample]], start_s: float, end_s: float) -> Rates | None:
    """The sum of a link's members over [start_s, end_s); None if a member has no valid readings around both borders.

    A port that was never read counts neither as load nor as capacity: vendors report either a LAG or its members.
    """
    rates = [port_rates(samples, start_s, end_s) for samples in members if samples]
    known = [rate for rate in rates if rate is not None]
    if not known or len(known) < len(rates):
        return None
    return Rates(
        carried_bps=sum(rate.carried_bps for rate in known),
        dropped_bps=sum(rate.dropped_bps for rate in known),
        received_bps=sum(rate.received_bps for rate in known),
        capacity_bps=sum(rate.capacity_bps for rate in known if rate.up),
        up=any(rate.up for rate in known),
    )


def port_rates(samples: Sequence[CounterSample], start_s: float, end_s: float) -> Rates | None:
    """The rates of one port from `samples` in time order; None if a border has no reading or a counter was reset."""
    span = _spanning(samples, start_s, end_s)
    if len(span) < 2 or _was_reset(span):
        return None
    received, carried, packets, discards = (_between(column, start_s, end_s) for column in _columns(span))
    bits = 8 / (end_s - start_s)
    return Rates(
        carried_bps=carried * bits,
        dropped_bps=discards * (carried / packets if packets else 0.0) * bits,
        received_bps=received * bits,
        capacity_bps=span[-1].speed_bps,
        up=span[-1].up,
    )


def _spanning(samples: Sequence[CounterSample], start_s: float, end_s: float) -> list[CounterSample]:
    """The samples from the last at or before the start to the first at or after the end; empty if either is missing.

    The end may be up to half a window after the last sample, because polls are not aligned with windows.
    """
    before = [index for index, sample in enumerate(samples) if sample.at_s <= start_s]
    after = [index for index, sample in enumerate(samples) if sample.at_s >= end_s]
    if not before or (not after and samples[-1].at_s < (start_s + end_s) / 2):
        return []
    return list(samples[before[-1] : after[0] + 1 if after else len(samples)])


def _was_reset(span: Sequence[CounterSample]) -> bool:
    return any(later.out_octets < now.out_octets or later.in_octets < now.in_octets for now, later in pairwise(span))


CounterColumn = list[tuple[float, int]]


def _columns(span: Sequence[CounterSample]) -> tuple[CounterColumn, CounterColumn, CounterColumn, CounterColumn]:
    """(time, count since the first sample) for received octets, carried octets, packets, and unwrapped discards."""
    first, discards = span[0], [0]
    for now, later in pairwise(span):
        discards.append(discards[-1] + (later.out_discards - now.out_discards) % WRAP_32)
    return (
        [(sample.at_s, sample.in_octets - first.in_octets) for sample in span],
        [(sample.at_s, sample.out_octets - first.out_octets) for sample in span],
        [(sample.at_s, sample.out_packets - first.out_packets) for sample in span],
        [(sample.at_s, count) for sample, count in zip(span, discards, strict=True)],
    )


def _between(column: CounterColumn, start_s: float, end_s: float) -> float:
    """The count between two times, by linear interpolation between samples (and extrapolation after the last)."""
    return _at(column[-2:], end_s) - _at(column[:2], start_s)


def _at(segment: CounterColumn, at_s: float) -> float:
    (left_s, left), (right_s, right) = segment
    return left + (right - left) * (at_s - left_s) / (right_s - left_s)
