"""A second witness of lost paths, without BMP and Kafka: the external paths that each router sends to its own gobgpd.

Routers send all their paths there (ADD-PATH, RFC 7911). Of a router that does not, this witness says nothing.
"""

from collections.abc import Iterable, Mapping

from app.bgp.speaker import InjectedRoute

Hops = frozenset[str]


class SessionWitness:
    """The next hops that each router sends for the prefixes that were asked about, as far as they are known."""

    def __init__(self) -> None:
        self._hops: dict[str, dict[str, Hops]] = {}

    def take(self, router: str, prefixes: Iterable[str], hops: Mapping[str, Hops]) -> set[str]:
        """Take over an answer for these prefixes; a prefix left out is unknown. Return those of which it is news."""
        known, news = self._hops.setdefault(router, {}), set()
        for prefix in prefixes:
            before, now = known.pop(prefix, None), hops.get(prefix)
            if now is not None:
                known[prefix] = now
            if now != before:
                news.add(prefix)
        return news

    def has_lost(self, router: str, prefix: str, next_hop: str) -> bool:
        """Whether the router is known to have no external path with this next hop."""
        hops = self._hops.get(router, {}).get(prefix)
        return hops is not None and next_hop not in hops

    def would_lose(self, router: str, hops: Mapping[str, Hops], held: Mapping[str, InjectedRoute]) -> bool:
        """Whether one of the routes held by its speaker would lose its path by what this router sends now."""
        return any(
            (route := held.get(prefix)) is not None
            and route.next_hop not in now
            and not self.has_lost(router, prefix, route.next_hop)
            for prefix, now in hops.items()
        )

    def forget(self, router: str, prefix: str) -> None:
        """Forget a prefix without override on this router; not one that was lost, until it is back."""
        self._hops.get(router, {}).pop(prefix, None)

    def knows(self, router: str, prefix: str) -> bool:
        """Whether the router's paths for this prefix are known."""
        return prefix in self._hops.get(router, ())

    def known(self, router: str) -> set[str]:
        """The prefixes of which the router's paths are known."""
        return set(self._hops.get(router, ()))
