"""How far plain BGP is really as predicted: the traffic that we do not steer, and where it was seen to leave."""

from collections.abc import Collection, Mapping

from app.schemas import Exit
from app.te.loads import Windows
from app.te.natural import NaturalRouting

MISMATCH = "egress-mismatch"
MISMATCHED_WINDOWS = 3  # in a row; one routing change shows in two: the one it falls into, and one closed after it


def mismatch_share(newest: Windows, natural: NaturalRouting, touched: Collection[str]) -> float | None:
    """Share of the bytes that left by another link than routing predicts; None where there is nothing to judge by.

    Between equal paths vendors choose differently: any of them is as predicted, and what is seen counts as natural.
    Left out are the `touched` prefixes (held, or settling), those on which routers still hold a route of ours, and
    what routing has no exit for.
    """
    total = elsewhere = 0
    exits: dict[str, Mapping[str, Exit]] = {}
    for link, window in newest.items():
        for demand in window.demands:
            if (known := exits.get(demand.prefix)) is None:
                known = exits[demand.prefix] = {} if demand.prefix in touched else _predicted(natural, demand.prefix)
            leave = known.get(demand.ingress)
            if leave is None:
                continue
            total += demand.size_bytes
            if leave.link != link and not natural.may_leave(demand.ingress, demand.prefix, link):
                elsewhere += demand.size_bytes
    return elsewhere / total if total else None


def _predicted(natural: NaturalRouting, prefix: str) -> Mapping[str, Exit]:
    """By ingress router; none where a router holds a route of ours."""
    routes = natural.routes(prefix)
    return {} if routes.overridden else routes.exits
