"""Which link a flow record belongs to, or why it belongs to none."""

from app.feeds.flows import Flow
from app.inventory import Pop

LOCAL_INTERFACE = 0x3FFFFFFF  # "the device itself" in sFlow
SPECIAL_BITS = 0xC0000000  # sFlow's format bits: discarded, or several outputs
CLOCK_SKEW_MAX_S = 60.0


def attribute(pop: Pop, flow: Flow, kafka_s: float) -> tuple[str, str] | str:
    """(link id, ingress router) of a flow record, or the reason why its bytes are unattributed."""
    router = pop.router_by_agent.get(flow.exporter)
    if router is None:
        return "unknown-router"
    if flow.sampling_rate == 0:
        return "unknown-sampling-rate"
    if flow.iface_out in (0, LOCAL_INTERFACE) or flow.iface_out & SPECIAL_BITS:
        return "special-interface"
    link = pop.link_by_interface.get((router, flow.iface_out))
    if link is None:
        return "unknown-interface"
    ingress = pop.ingress_by_interface.get((router, flow.iface_in))
    if ingress is None:
        return "unknown-ingress"
    return (link, ingress) if flow.at_s <= kafka_s + CLOCK_SKEW_MAX_S else "clock-skew"
