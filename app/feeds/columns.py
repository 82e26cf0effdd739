"""Flows as columns: what came in at one router, matched and cut by link and window."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from operator import itemgetter

import numpy as np

from app.feeds.flows import Flow
from app.te.demands import NO_ROUTE, Pairs, Table
from app.te.windows import Part

Slot = tuple[int, str]  # (window start, link id)


def parts(
    groups: Sequence[tuple[Slot, Sequence[Flow]]], ingress: str, table: Table, pairs: Pairs
) -> Iterator[tuple[Slot, Part]]:
    """Groups of flows that are alike but for destination and size, all of one ingress router. A slot comes once."""
    if not groups:
        return
    groups = sorted(groups, key=itemgetter(0))
    flows = [flow for _, group in groups for flow in group]
    numbers = pairs.find(ingress, table, [flow.destination for flow in flows])
    rates = np.array([group[0].sampling_rate for _, group in groups], dtype=np.int64)
    sizes_bytes = np.repeat(rates, [len(group) for _, group in groups])
    sizes_bytes *= np.array([flow.size_bytes for flow in flows], dtype=np.int64)
    samples = np.array([flow.samples for flow in flows], dtype=np.int64)
    counts = {slot: sum(len(group) for _, group in same) for slot, same in groupby(groups, itemgetter(0))}
    cuts = list(accumulate(counts.values(), initial=0))
    routed = numbers != NO_ROUTE
    totals = [
        np.add.reduceat(column, cuts[:-1]).tolist()
        for column in (sizes_bytes * routed, samples * routed, sizes_bytes * ~routed)
    ]
    for slot, (begin, end), *sums in zip(counts, pairwise(cuts), *totals, strict=True):
        yield slot, Part(numbers[begin:end], sizes_bytes[begin:end], samples[begin:end], *sums)
