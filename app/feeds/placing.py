"""Which window and link each flow record of a run belongs to; what belongs to none is counted."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.config.inventory import Pop
from app.feeds.attribution import CLOCK_SKEW_MAX_S, attribute
from app.feeds.columns import Flows
from app.te.routing.lpm import Addresses, Table
from app.te.traffic.demand import NO_ROUTE, Numbers, Pairs
from app.te.traffic.windows import Part, Progress

Slot = tuple[int, str]  # (window start, link id)
Places = list[tuple[str, str] | str]  # of each source: ingress router and link, or why not
TableOf = Callable[[], Table]  # the prefixes of all routers as of now


class Placed(NamedTuple):
    """Records of open windows, slot by slot; sizes are scaled."""

    slots: dict[Slot, slice]
    routers: list[str]
    ingress: Numbers  # place in `routers`
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
    routers, links = (sorted({one[i] for one in places if not isinstance(one, str)}) for i in (0, 1))
    ingress, link = (_numbered(places, i, names)[flows.source[kept]] for i, names in ((0, routers), (1, links)))
    order, slots = _sorted(link, links, starts_s[kept], length_s)
    all_of = kept[order]
    return Placed(
        slots, routers, ingress[order], flows.destinations.at(all_of), flows.samples[all_of], sizes_bytes[all_of]
    )


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
    late = usable & (starts_s < count_in.open_from_s)
    count_in.late_bytes += int(sizes_bytes[late].sum())
    return usable & ~late


def _numbered(places: Places, part: int, names: Sequence[str]) -> Numbers:
    """Of each source, the place in `names` of its router or link."""
    number_of = {name: number for number, name in enumerate(names)}
    return np.array([-1 if isinstance(one, str) else number_of[one[part]] for one in places], dtype=np.int64)


def _sorted(link: Numbers, links: Sequence[str], starts_s: Numbers, length_s: int) -> tuple[Numbers, dict[Slot, slice]]:
    """The order of records that puts those of a slot together, and where each slot has its own."""
    if not len(link):
        return link, {}
    first_s = int(starts_s.min())
    window = (starts_s - first_s) // length_s
    windows = int(window.max()) + 1
    code = link * windows + window
    order = np.argsort(code.astype(np.min_scalar_type(int(code.max()))), kind="stable")  # small numbers: a radix sort
    code = code[order]
    cuts = [0, *(np.flatnonzero(np.diff(code)) + 1).tolist(), len(code)]
    slots = ((first_s + number % windows * length_s, links[number // windows]) for number in code[cuts[:-1]].tolist())
    return order, dict(zip(slots, map(slice, cuts[:-1], cuts[1:]), strict=True))


def parts(placed: Placed, table_of: TableOf, pairs: Pairs) -> Iterator[tuple[Slot, Part]]:
    """What a run adds to each slot, with the prefixes of its destinations."""
    if not placed.slots:
        return
    table = table_of()
    numbers = pairs.numbers_of(table, placed.routers, placed.ingress, table.find(placed.destinations))
    samples, sizes_bytes, routed = placed.samples, placed.sizes_bytes, numbers != NO_ROUTE
    begins = [cut.start for cut in placed.slots.values()]
    totals = [
        np.add.reduceat(column, begins).tolist()
        for column in (sizes_bytes * routed, samples * routed, sizes_bytes * ~routed)
    ]
    for (slot, cut), *sums in zip(placed.slots.items(), *totals, strict=True):
        yield slot, Part(numbers[cut], sizes_bytes[cut], samples[cut], *sums)
