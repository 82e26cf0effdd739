"""Second and third step of accounting: find the prefix of each record, and sort the records into slots."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from app.feeds.attribution import Attributed
from app.te.routing.lpm import Table
from app.te.traffic.demand import NO_ROUTE, Numbers, PairIndex
from app.te.traffic.windows import Part

Slot = tuple[int, str]  # (window start, link id)
TableOf = Callable[[], Table]  # returns the current prefix table of all routers


class Slots(NamedTuple):
    """An order of the records that groups them by slot, and the slice of that order that belongs to each slot."""

    order: Numbers
    cuts: dict[Slot, slice]


def match(attributed: Attributed, table_of: TableOf, pairs: PairIndex) -> Numbers:
    """The pair (ingress router, longest prefix) of each record, as a number in `pairs`; NO_ROUTE without a prefix."""
    if not len(attributed.link):
        return np.empty(0, dtype=np.int64)
    table = table_of()
    places = table.find(attributed.destinations)
    return pairs.numbers_of(table, attributed.routers, attributed.ingress, places)


def slots_of(attributed: Attributed, step_s: int) -> Slots:
    """Group records by slot; windows begin at multiples of `step_s` seconds."""
    link, starts_s = attributed.link, attributed.starts_s
    if not len(link):
        return Slots(link, {})
    first_s = int(starts_s.min())
    window = (starts_s - first_s) // step_s
    windows = int(window.max()) + 1
    code = link * windows + window
    order = np.argsort(code.astype(np.min_scalar_type(int(code.max()))), kind="stable")  # small types: a radix sort
    code = code[order]
    cuts = [0, *(np.flatnonzero(np.diff(code)) + 1).tolist(), len(code)]
    slots = (
        (first_s + number % windows * step_s, attributed.links[number // windows])
        for number in code[cuts[:-1]].tolist()
    )
    return Slots(order, dict(zip(slots, map(slice, cuts[:-1], cuts[1:]), strict=True)))


def parts(attributed: Attributed, matched: Numbers, slots: Slots) -> Iterator[tuple[Slot, Part]]:
    """The records of each slot with their totals; `matched` is the pair of each record."""
    if not slots.cuts:
        return
    order = slots.order
    pairs, sizes_bytes, samples = matched[order], attributed.sizes_bytes[order], attributed.samples[order]
    routed = pairs != NO_ROUTE
    begins = [cut.start for cut in slots.cuts.values()]
    totals = [
        np.add.reduceat(column, begins).tolist()
        for column in (sizes_bytes * routed, samples * routed, sizes_bytes * ~routed)
    ]
    totals.append(np.maximum.reduceat(sizes_bytes * routed // np.maximum(samples, 1), begins).tolist())
    for (slot, cut), *sums in zip(slots.cuts.items(), *totals, strict=True):
        yield slot, Part(pairs[cut], sizes_bytes[cut], samples[cut], *sums)
