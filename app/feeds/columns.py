"""Flows as columns: what came in at one router, matched and cut by link and window."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

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
    groups = sorted(groups, key=lambda group: group[0])
    flows = [flow for _, group in groups for flow in group]
    lengths = [len(group) for _, group in groups]
    numbers = pairs.find(ingress, table, [flow.destination for flow in flows])
    rates = np.repeat(np.array([group[0].sampling_rate for _, group in groups], dtype=np.int64), lengths)
    sizes_bytes = rates * np.array([flow.size_bytes for flow in flows], dtype=np.int64)
    samples = np.array([flow.samples for flow in flows], dtype=np.int64)
    routed = numbers != NO_ROUTE
    ends = np.cumsum(lengths)
    firsts = [i for i, (slot, _) in enumerate(groups) if not i or slot != groups[i - 1][0]]
    cuts = [0, *ends[[i - 1 for i in firsts[1:]]].tolist(), len(flows)]
    totals = [
        np.add.reduceat(column, cuts[:-1]).tolist()
        for column in (sizes_bytes * routed, samples * routed, sizes_bytes * ~routed)
    ]
    for i, (begin, end), *sums in zip(firsts, pairwise(cuts), *totals, strict=True):
        yield groups[i][0], Part(numbers[begin:end], sizes_bytes[begin:end], samples[begin:end], *sums)
