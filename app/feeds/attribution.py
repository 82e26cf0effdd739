"""Which link a flow record belongs to, or why it belongs to none."""

from typing import NamedTuple

from app.config.inventory import Pop

LOCAL_INTERFACE = 0x3FFFFFFF  # "the device itself" in sFlow
SPECIAL_BITS = 0xC0000000  # sFlow's format bits: discarded, or several outputs
CLOCK_SKEW_MAX_S = 60.0


class Source(NamedTuple):
    """What flow records of one router, way in and way out have in common."""

    exporter: str
    iface_in: int
    iface_out: int
    sampling_rate: int


def attribute(pop: Pop, source: Source) -> tuple[str, str] | str:
    """(ingress router, link id) of a source's records, or the reason why their bytes are unattributed."""
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
