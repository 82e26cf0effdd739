"""How far plain BGP is really as predicted: the traffic that we do not steer, and where it was seen to leave."""

from collections.abc import Collection

from app.te.traffic.egress_index import NO_EXIT
from app.te.traffic.observed import ObservedWindow

MISMATCH = "egress-mismatch"
MISMATCHED_WINDOWS = 3  # in a row; one routing change shows in two: the one it falls into, and one closed after it


def mismatch_share(observed: ObservedWindow, touched: Collection[str]) -> float | None:
    """Share of the bytes that left by another link than routing predicts; None where there is nothing to judge by.

    Between equal paths vendors choose differently: any of them is as predicted, and what is seen counts as natural.
    Left out are the `touched` prefixes (held, or settling), those on which routers still hold a route of ours, and
    what routing has no exit for.
    """
    pairs, flows, natural = observed.pairs, observed.flows, observed.natural
    bgp = observed.egress.predict(flows.pairs)
    judged = (bgp.exits != NO_EXIT) & ~bgp.overridden & ~pairs.among(flows.pairs, touched)
    astray = judged & (bgp.exits != flows.links)
    total, elsewhere, links = flows.sizes_bytes[judged].sum(), 0.0, list(observed.egress.links)
    for number, link, size_bytes in zip(*(column[astray].tolist() for column in flows), strict=True):
        ingress, prefix = pairs.keys[number]
        if not natural.may_leave(ingress, prefix, links[link]):
            elsewhere += size_bytes
    return elsewhere / float(total) if total else None
