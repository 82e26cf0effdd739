"""What BMP says about our routes and about the paths they copy. Pure reads of the Rib."""

from typing import NamedTuple

from app.config.inventory import Pop
from app.contract.schemas import Exit
from app.te.routing.rib import Rib

# GRACEFUL_SHUTDOWN, BLACKHOLE and LLGR_STALE: such a path is on its way out or was never meant for traffic.
UNUSABLE = frozenset({"65535:0", "65535:666", "65535:6"})


class Shown(NamedTuple):
    """Our route as a router has it; epoch None where the router took off our large community."""

    next_hop: str
    epoch: int | None


class BmpWitness:
    """The post-policy Adj-RIB-In of the routers of one PoP, asked about one prefix at a time."""

    def __init__(self, pop: Pop, rib: Rib) -> None:
        self.pop = pop
        self.rib = rib

    def alive(self, router: str, prefix: str, next_hop: str, peer: str | None = None) -> bool:
        """The router holds a usable eBGP path for exactly this prefix with this next hop, on a session that is up.

        `peer` None takes any session: of a route found after a restart nobody knows which one it was made from.
        """
        return any(
            path.ebgp
            and path.next_hop == next_hop
            and peer in (None, path.peer)
            and (router, path.peer) in self.pop.link_by_session
            and self.rib.peer_asn(router, path.peer) is not None
            and UNUSABLE.isdisjoint(path.communities)
            for path in self.rib.paths(router, prefix).values()
        )

    def exit_alive(self, prefix: str, where: Exit) -> bool:
        """The path that an override copies is there and usable."""
        return self.alive(where.router, prefix, where.next_hop, where.peer)

    def shown(self, router: str, prefix: str) -> Shown | None:
        """Our route as the router has it from its injector, or None."""
        injector = self.pop.routers[router].injector.address
        for path in self.rib.paths(router, prefix).values():
            if path.peer == injector and self.pop.marker_community in path.communities:
                return Shown(path.next_hop, _epoch(self.pop.asn, path.large_communities))
        return None

    def injector_up(self, router: str) -> bool:
        """The session between the router and its injector, as the router says."""
        return self.rib.peer_asn(router, self.pop.routers[router].injector.address) is not None


def _epoch(asn: int, large_communities: tuple[str, ...]) -> int | None:
    for text in large_communities:
        admin, _, rest = text.partition(":")
        epoch = rest.partition(":")[0]
        if admin == str(asn) and epoch.isdecimal():
            return int(epoch)
    return None
