"""How well we predict plain BGP: whether the traffic that we do not steer leaves by the links that we predict."""

from collections.abc import Collection

from app.te.traffic.egress_index import NO_EXIT
from app.te.traffic.observed import ObservedWindow

MISMATCH = "egress-mismatch"
MISMATCHED_WINDOWS = 3  # in a row; one routing change affects two: the window it falls into and the next to close


def mismatch_share(observed: ObservedWindow, touched: Collection[str]) -> float | None:
    """The share of bytes that left by another link than routing predicts; None if there is no traffic to judge by.

    Vendors choose differently between equal paths, so any of these counts as predicted. The share leaves out the
    `touched` prefixes (held or settling), prefixes for which a router still holds an override, and prefixes without a
    predicted exit.
    """
    pairs, flows, natural = observed.pairs, observed.flows, observed.natural
    bgp = observed.egress.predict(flows.pairs)
    judged = (bgp.exits != NO_EXIT) & ~bgp.overridden & ~pairs.among(flows.pairs, touched)
    astray = judged & (bgp.exits != flows.links)
    total, mispredicted, links = flows.sizes_bytes[judged].sum(), 0.0, list(observed.egress.links)
    for number, link, size_bytes in zip(*(column[astray].tolist() for column in flows), strict=True):
        ingress, prefix = pairs.keys[number]
        if not natural.may_leave(ingress, prefix, links[link]):
            mispredicted += size_bytes
    return mispredicted / float(total) if total else None
