"""First step of accounting: find the link and window of each flow record, and count the bytes that belong to none."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.config.inventory import Pop
from app.feeds.columns import FlowColumns, FlowSource
from app.te.routing.lpm import Addresses
from app.te.traffic.demand import Numbers
from app.te.traffic.windows import Progress

LOCAL_INTERFACE = 0x3FFFFFFF  # "the device itself" in sFlow
SPECIAL_BITS = 0xC0000000  # sFlow's format bits: discarded, or several outputs
CLOCK_SKEW_MAX_S = 60.0

Attribution = tuple[str, str] | str  # ingress router and link id, or the reason why there is none


class Attributed(NamedTuple):
    """Records of open windows, each with its link and ingress router; sizes are scaled by the sampling rate."""

    links: list[str]
    routers: list[str]
    link: Numbers  # place in `links`
    ingress: Numbers  # place in `routers`
    starts_s: Numbers  # start of the record's window
    destinations: Addresses
    samples: Numbers
    sizes_bytes: Numbers


def origin_of(pop: Pop, source: FlowSource) -> Attribution:
    """The (ingress router, link) of a source's records, or the reason code why their bytes are unattributed."""
    router = pop.router_by_agent.get(source.exporter)
    if router is None:
        return "unknown-router"
    if source.sampling_rate == 0:
        return "unknown-sampling-rate"
    if source.iface_out in (0, LOCAL_INTERFACE) or source.iface_out & SPECIAL_BITS:
        return "special-interface"
    link = pop.link_by_interface.get((router, source.iface_out))
    if link is None:
        return "unknown-interface"
    ingress = pop.ingress_by_interface.get((router, source.iface_in))
    return "unknown-ingress" if ingress is None else (ingress, link)


def attribute(flows: FlowColumns, pop: Pop, length_s: int, kafka_s: float, count_in: Progress) -> Attributed:
    """Attribute records that arrived at Kafka time `kafka_s` to windows of `length_s` seconds.

    Late and unattributed records are left out; their bytes are counted in `count_in`.
    """
    origins = [origin_of(pop, source) for source in flows.sources]
    rates = np.array([max(1, source.sampling_rate) for source in flows.sources], dtype=np.int64)
    sizes_bytes = flows.sizes_bytes * rates[flows.source]
    starts_s = flows.at_s - flows.at_s % length_s
    count_in.records += len(flows.source)
    usable = _has_origin(flows, origins, sizes_bytes, count_in)
    usable &= ~_is_skewed(flows, usable, sizes_bytes, kafka_s, count_in)
    late = usable & (starts_s < count_in.open_from_s)
    count_in.late_bytes += int(sizes_bytes[late].sum())
    kept = np.flatnonzero(usable & ~late)
    routers, links = (sorted({origin[part] for origin in origins if not isinstance(origin, str)}) for part in (0, 1))
    ingress, link = (_places(origins, part, names)[flows.source[kept]] for part, names in ((0, routers), (1, links)))
    destinations, samples = flows.destinations.at(kept), flows.samples[kept]
    return Attributed(links, routers, link, ingress, starts_s[kept], destinations, samples, sizes_bytes[kept])


def _has_origin(
    flows: FlowColumns, origins: list[Attribution], sizes_bytes: Numbers, count_in: Progress
) -> NDArray[np.bool_]:
    """A mask of the records that have an origin; the bytes of the others are counted by reason code."""
    usable = np.ones(len(sizes_bytes), dtype=np.bool_)
    for reason in dict.fromkeys(origin for origin in origins if isinstance(origin, str)):
        which = np.array([origin == reason for origin in origins])[flows.source]
        count_in.leave_out(reason, int(sizes_bytes[which].sum()))
        usable &= ~which
    return usable


def _is_skewed(
    flows: FlowColumns, usable: NDArray[np.bool_], sizes_bytes: Numbers, kafka_s: float, count_in: Progress
) -> NDArray[np.bool_]:
    """A mask of the usable records that are from the future by the broker's clock; their bytes are counted."""
    skewed = usable & (flows.at_s > kafka_s + CLOCK_SKEW_MAX_S)
    if skewed.any():
        count_in.leave_out("clock-skew", int(sizes_bytes[skewed].sum()))
    return skewed


def _places(origins: list[Attribution], part: int, names: list[str]) -> Numbers:
    """The place in `names` of each source's router (part 0) or link (part 1); -1 for a source without an origin."""
    place_of = {name: place for place, name in enumerate(names)}
    return np.array([-1 if isinstance(origin, str) else place_of[origin[part]] for origin in origins], dtype=np.int64)
