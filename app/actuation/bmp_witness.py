"""What BMP shows of our routes and of the paths that they copy, and whether it is still heard. It only reads."""

from collections.abc import Callable

from app.config.inventory import Pop
from app.contract.schemas import Exit
from app.te.routing.heard import Heard, always_heard
from app.te.routing.natural import is_wrong_as
from app.te.routing.path import unfit
from app.te.routing.rib import Rib

HeardOf = Callable[[str], Heard]  # router -> how long BMP has been silent


class BmpWitness:
    """Answers questions about one prefix from the post-policy Adj-RIB-In of the routers of one PoP."""

    def __init__(self, pop: Pop, rib: Rib, heard: HeardOf = always_heard) -> None:
        self.pop = pop
        self.rib = rib
        self.heard = heard

    def alive(self, router: str, prefix: str, next_hop: str, peer: str | None = None) -> bool:
        """Whether the router holds a usable eBGP path for exactly this prefix and next hop, on a session that is up.

        With `peer` None any session counts: the session that a route was copied from is not known after a restart.
        """
        return any(
            path.ebgp
            and path.next_hop == next_hop
            and peer in (None, path.peer)
            and self._is_up(router, path.peer)
            and unfit(path) is None
            for path in self.rib.paths(router, prefix).values()
        )

    def _is_up(self, router: str, peer: str) -> bool:
        """Whether a session of the inventory is up, with the AS that the inventory says."""
        expected, asn = self.pop.asn_by_session.get((router, peer)), self.rib.peer_asn(router, peer)
        return expected is not None and asn is not None and not is_wrong_as(asn, expected)

    def doubted_for_s(self, router: str) -> float:
        """How long a router has been silent beyond its `bmp_silence_s`, in seconds; not above 0 if it has not."""
        return self.heard(router).silent_s - self.pop.routers[router].bmp_silence_s

    def exit_alive(self, prefix: str, egress: Exit) -> bool:
        """Whether the path that an override to `egress` copies is present and usable."""
        return self.alive(egress.router, prefix, egress.next_hop, egress.peer)

    def shown(self, router: str, prefix: str) -> str | None:
        """The next hop of our route as the router received it from its injector; None if it shows none."""
        injector = self.pop.routers[router].injector.address
        for path in self.rib.paths(router, prefix).values():
            if path.peer == injector and self.pop.marker_community in path.communities:
                return path.next_hop
        return None

    def injector_up(self, router: str) -> bool:
        """Whether the router reports its session with its injector as up."""
        return self.rib.peer_asn(router, self.pop.routers[router].injector.address) is not None
