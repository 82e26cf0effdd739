"""What BMP shows of our routes and of the paths that they copy. It only reads the Rib."""

from typing import NamedTuple

from app.config.inventory import Pop
from app.contract.schemas import Exit
from app.te.routing.rib import Rib

# GRACEFUL_SHUTDOWN, BLACKHOLE and LLGR_STALE: such a path is about to go, or was never meant for traffic.
UNUSABLE = frozenset({"65535:0", "65535:666", "65535:6"})


class Shown(NamedTuple):
    """Our route as a router shows it over BMP; `epoch` is None if the router removed our large community."""

    next_hop: str
    epoch: int | None


class BmpWitness:
    """Answers questions about one prefix from the post-policy Adj-RIB-In of the routers of one PoP."""

    def __init__(self, pop: Pop, rib: Rib) -> None:
        self.pop = pop
        self.rib = rib

    def alive(self, router: str, prefix: str, next_hop: str, peer: str | None = None) -> bool:
        """Whether the router holds a usable eBGP path for exactly this prefix and next hop, on a session that is up.

        With `peer` None any session counts: the session that a route was copied from is not known after a restart.
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

    def exit_alive(self, prefix: str, egress: Exit) -> bool:
        """Whether the path that an override to `egress` copies is present and usable."""
        return self.alive(egress.router, prefix, egress.next_hop, egress.peer)

    def shown(self, router: str, prefix: str) -> Shown | None:
        """Return our route as the router received it from its injector; None if it shows none."""
        injector = self.pop.routers[router].injector.address
        for path in self.rib.paths(router, prefix).values():
            if path.peer == injector and self.pop.marker_community in path.communities:
                return Shown(path.next_hop, _epoch(self.pop.asn, path.large_communities))
        return None

    def injector_up(self, router: str) -> bool:
        """Whether the router reports its session with its injector as up."""
        return self.rib.peer_asn(router, self.pop.routers[router].injector.address) is not None


def _epoch(asn: int, large_communities: tuple[str, ...]) -> int | None:
    for text in large_communities:
        admin, _, rest = text.partition(":")
        epoch = rest.partition(":")[0]
        if admin == str(asn) and epoch.isdecimal():
            return int(epoch)
    return None
