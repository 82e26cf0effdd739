"""Second and third step of accounting: the prefix of each record, and what each window of a link gets."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from app.feeds.attribution import Attributed
from app.te.routing.lpm import Table
from app.te.traffic.demand import NO_ROUTE, Numbers, PairIndex
from app.te.traffic.windows import Part

Slot = tuple[int, str]  # (window start, link id)
TableOf = Callable[[], Table]  # the prefixes of all routers as of now


class Slots(NamedTuple):
    """The order of records that puts those of a slot together, and where each slot has its own."""

    order: Numbers
    cuts: dict[Slot, slice]


def match(attributed: Attributed, table_of: TableOf, pairs: PairIndex) -> Numbers:
    """The pair (ingress router, longest prefix) of each record, as a number of `pairs`; NO_ROUTE for none."""
    if not len(attributed.link):
        return np.empty(0, dtype=np.int64)
    table = table_of()
    found = table.find(attributed.destinations)
    return pairs.numbers_of(table, attributed.routers, attributed.ingress, found)


def slots_of(attributed: Attributed, length_s: int) -> Slots:
    """Records by slot."""
    link, starts_s = attributed.link, attributed.starts_s
    if not len(link):
        return Slots(link, {})
    first_s = int(starts_s.min())
    window = (starts_s - first_s) // length_s
    windows = int(window.max()) + 1
    code = link * windows + window
    order = np.argsort(code.astype(np.min_scalar_type(int(code.max()))), kind="stable")  # small numbers: a radix sort
    code = code[order]
    cuts = [0, *(np.flatnonzero(np.diff(code)) + 1).tolist(), len(code)]
    slots = (
        (first_s + number % windows * length_s, attributed.links[number // windows])
        for number in code[cuts[:-1]].tolist()
    )
    return Slots(order, dict(zip(slots, map(slice, cuts[:-1], cuts[1:]), strict=True)))


def parts(attributed: Attributed, matched: Numbers, slots: Slots) -> Iterator[tuple[Slot, Part]]:
    """What each slot gets, with its sums."""
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
    for (slot, cut), *sums in zip(slots.cuts.items(), *totals, strict=True):
        yield slot, Part(pairs[cut], sizes_bytes[cut], samples[cut], *sums)
