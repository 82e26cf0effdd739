"""Which window and link each flow record of a run belongs to; what belongs to none is counted."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.feeds.attribution import CLOCK_SKEW_MAX_S, attribute
from app.feeds.columns import Flows
from app.inventory import Pop
from app.te.demands import NO_ROUTE, Numbers, Pairs, Table
from app.te.prefixes import Addresses
from app.te.windows import Part, Progress

Slot = tuple[int, str]  # (window start, link id)
Places = list[tuple[str, str] | str]  # of each source: ingress router and link, or why not
TableOf = Callable[[str], Table]  # the prefixes of an ingress router as of now


class Stretch(NamedTuple):
    """Consecutive records that came in at one router and left on one link in one window."""

    ingress: str
    slot: Slot
    begin: int
    end: int


class Placed(NamedTuple):
    """Records of open windows, by ingress router and slot; sizes are scaled."""

    stretches: Sequence[Stretch]
    destinations: Addresses
    samples: Numbers
    sizes_bytes: Numbers


def place(flows: Flows, pop: Pop, length_s: int, kafka_s: float, count_in: Progress) -> Placed:
    """Sort records that came at Kafka time `kafka_s` into windows; late and unattributed ones are only counted."""
    places: Places = [attribute(pop, source) for source in flows.sources]
    rates = np.array([max(1, source.sampling_rate) for source in flows.sources], dtype=np.int64)
    sizes_bytes = flows.sizes_bytes * rates[flows.source]
    starts_s = flows.at_s - flows.at_s % length_s
    count_in.records += len(flows.source)
    kept = np.flatnonzero(_usable(flows, places, sizes_bytes, starts_s, kafka_s, count_in))
    order, stretches = _sorted(places, flows.source[kept], starts_s[kept], length_s)
    order = kept[order]
    return Placed(stretches, flows.destinations.at(order), flows.samples[order], sizes_bytes[order])


def _usable(
    flows: Flows, places: Places, sizes_bytes: Numbers, starts_s: Numbers, kafka_s: float, count_in: Progress
) -> NDArray[np.bool_]:
    """Which records belong to an open window; the bytes of the others are counted."""
    usable = np.ones(len(sizes_bytes), dtype=np.bool_)
    reasons = dict.fromkeys(one for one in places if isinstance(one, str))
    for reason in reasons:
        which = np.array([one == reason for one in places])[flows.source]
        count_in.leave_out(reason, int(sizes_bytes[which].sum()))
        usable &= ~which
    skewed = usable & (flows.at_s > kafka_s + CLOCK_SKEW_MAX_S)
    if skewed.any():
        count_in.leave_out("clock-skew", int(sizes_bytes[skewed].sum()))
        usable &= ~skewed
    late = usable & count_in.are_late(starts_s)
    count_in.late_bytes += int(sizes_bytes[late].sum())
    return usable & ~late


def _sorted(places: Places, source: Numbers, starts_s: Numbers, length_s: int) -> tuple[Numbers, Sequence[Stretch]]:
    """The order of records that puts those together which belong together, and what those are."""
    if not len(source):
        return source, ()
    lanes = sorted({one for one in places if not isinstance(one, str)})
    number_of = {lane: number for number, lane in enumerate(lanes)}
    lane = np.array([-1 if isinstance(one, str) else number_of[one] for one in places])[source]
    first_s = int(starts_s.min())
    window = (starts_s - first_s) // length_s
    windows = int(window.max()) + 1
    code = lane * windows + window
    order = np.argsort(code.astype(np.min_scalar_type(int(code.max()))), kind="stable")  # small numbers: a radix sort
    code = code[order]
    cuts = [0, *(np.flatnonzero(np.diff(code)) + 1).tolist(), len(code)]
    return order, [
        Stretch(lanes[number // windows][0], (first_s + number % windows * length_s, lanes[number // windows][1]), *cut)
        for number, cut in zip(code[cuts[:-1]].tolist(), pairwise(cuts), strict=True)
    ]


def parts(placed: Placed, table_of: TableOf, pairs: Pairs) -> Iterator[tuple[Slot, Part]]:
    """What each stretch adds to its slot, with the prefixes of its destinations."""
    for ingress, group in groupby(placed.stretches, itemgetter(0)):
        stretches = list(group)
        cut = slice(stretches[0].begin, stretches[-1].end)
        numbers = pairs.find(ingress, table_of(ingress), placed.destinations.at(cut))
        samples, sizes_bytes = placed.samples[cut], placed.sizes_bytes[cut]
        routed = numbers != NO_ROUTE
        begins = [one.begin - cut.start for one in stretches]
        totals = [
            np.add.reduceat(column, begins).tolist()
            for column in (sizes_bytes * routed, samples * routed, sizes_bytes * ~routed)
        ]
        for one, begin, *sums in zip(stretches, begins, *totals, strict=True):
            own = slice(begin, begin + one.end - one.begin)
            yield one.slot, Part(numbers[own], sizes_bytes[own], samples[own], *sums)
