"""What may never be moved, and how much may be moved: limits that no decision can override."""

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache

from app.config.inventory import Budgets, Pop
from app.te.routing.lpm import Network, parse_network

# RFC 6890, multicast, and everything that is not global unicast. Documentation prefixes are left out, because examples
# and laboratories route them.
BOGONS = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
    "::/3",
    "2001::/23",
    "2002::/16",
    "4000::/2",
    "8000::/1",
)


class Guards:
    """Refusals that depend only on the prefix and the inventory. Each check returns a reason code, or None."""

    def __init__(self, pop: Pop) -> None:
        self._protected = tuple(pop.own_prefixes), tuple(pop.pinned_prefixes)
        budgets = pop.budgets
        self._lengths = {
            4: (budgets.min_prefix_length4, budgets.max_prefix_length4),
            6: (budgets.min_prefix_length6, budgets.max_prefix_length6),
        }
        self.strict = {name for name, link in pop.links.items() if link.urpf == "strict"}
        self._exporting = {router.name for router in pop.router if router.exports_learned_routes}

    def prefix(self, prefix: str) -> str | None:
        """Why this prefix is never moved, or None. A prefix that covers our own or a pinned one would move it along."""
        version, length, never = _place(prefix, *self._protected)
        shortest, longest = self._lengths[version]
        return never or (None if shortest <= length <= longest else "prefix-length")

    def links(self, natural_links: Iterable[str]) -> str | None:
        """Why no prefix may move off these links: strict uRPF drops what the peer sends from a prefix that moved."""
        return "strict-urpf" if any(link in self.strict for link in natural_links) else None

    def routers(self, inject_on: Iterable[str]) -> str | None:
        """Why these routers may not carry an override: the neighbours that they export it to would lose the prefix."""
        return "exports-learned-routes" if any(router in self._exporting for router in inject_on) else None


def family_refusal(prefix: str, next_hop: str) -> str | None:
    """Why no override of this prefix may have this next hop, or None.

    An IPv6 next hop of an IPv4 prefix (RFC 8950) needs a capability that an injector's session may lack.
    """
    return None if (":" in prefix) == (":" in next_hop) else "next-hop-family"


class _Area:
    """A set of prefixes as sorted address ranges, by IP version."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        self._ranges: dict[int, tuple[list[int], list[int]]] = {4: ([], []), 6: ([], [])}  # first and last numbers
        for network in sorted(map(parse_network, prefixes)):
            firsts, lasts = self._ranges[network.version]
            if not lasts or lasts[-1] < network.value:  # else it lies inside the range before
                firsts.append(network.value)
                lasts.append(network.last)

    def overlaps(self, network: Network) -> bool:
        """Whether the network shares any address with the set."""
        firsts, lasts = self._ranges[network.version]
        place = bisect_right(firsts, network.last) - 1
        return place >= 0 and lasts[place] >= network.value


_area = lru_cache(_Area)
_BOGONS = _Area(BOGONS)


@lru_cache(1 << 18)  # every cycle checks the same prefixes
def _place(prefix: str, own: tuple[str, ...], pinned: tuple[str, ...]) -> tuple[int, int, str | None]:
    """(IP version, length, why it is never moved) of a prefix."""
    network = parse_network(prefix)
    if network.length == 0:
        return network.version, 0, "default-route"
    for reason, area in (("own-prefix", _area(own)), ("pinned", _area(pinned)), ("bogon", _BOGONS)):
        if area.overlaps(network):
            return network.version, network.length, reason
    return network.version, network.length, None


class Budget:
    """What is left of the budgets in this cycle, given the overrides that were kept.

    `pop_bps` is the traffic of the whole PoP, `moved_bps` what the kept overrides move.
    """

    def __init__(self, budgets: Budgets, pop_bps: float, kept: int, moved_bps: float) -> None:
        self._new = budgets.max_new_per_cycle
        self._overrides = budgets.max_overrides - kept
        self._moved_bps = budgets.max_moved_share * pop_bps - moved_bps

    def allows(self, bps: float, replaces: bool = False) -> bool:
        """Whether one more move of this size is within all budgets; `replaces`: the prefix already has an override."""
        return self._new > 0 and (replaces or (self._overrides > 0 and bps <= self._moved_bps))

    def spend(self, bps: float, replaces: bool = False, times: int = 1) -> None:
        """Book a move; `times` -1 undoes it."""
        self._new -= times
        if not replaces:
            self._overrides -= times
            self._moved_bps -= times * bps
        assert self._new >= 0, "ask before spending"
