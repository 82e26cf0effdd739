"""What BMP shows of our routes and of the paths that they copy, and whether it is still heard. It only reads."""

from collections.abc import Callable, Sequence

from app.config.inventory import Pop
from app.contract.schemas import Exit
from app.te.routing.heard import Heard, always_heard
from app.te.routing.natural import is_wrong_as
from app.te.routing.path import Path, as_path_refusal, unfit
from app.te.routing.rib import Rib

HeardOf = Callable[[str], Heard]  # router -> how long BMP has been silent


class BmpWitness:
    """Answers questions about one prefix from the post-policy Adj-RIB-In of the routers of one PoP."""

    def __init__(self, pop: Pop, rib: Rib, heard: HeardOf = always_heard) -> None:
        self.pop = pop
        self.rib = rib
        self.heard = heard

    def alive(self, router: str, prefix: str, next_hop: str) -> bool:
        """Whether the router holds a usable eBGP path for exactly this prefix and next hop, on any session.

        The session that a route was copied from is not known after a restart.
        """
        return bool(self._usable(router, prefix, next_hop))

    def exit_path(self, prefix: str, egress: Exit, as_path: Sequence[int] = ()) -> Path | None:
        """The usable path by the session of this exit; the one with this AS path if there are several (ADD-PATH)."""
        paths = [path for path in self._usable(egress.router, prefix, egress.next_hop) if path.peer == egress.peer]
        return next((path for path in paths if path.as_path == as_path), paths[0] if paths else None)

    def holders(self, prefix: str) -> set[str]:
        """The routers with an eBGP path of their own for exactly this prefix."""
        return {router for router, path in self.rib.path_set(prefix) if path.ebgp}

    def _usable(self, router: str, prefix: str, next_hop: str) -> list[Path]:
        return [
            path
            for name, path in self.rib.path_set(prefix)
            if name == router
            and path.ebgp
            and path.next_hop == next_hop
            and self._is_up(router, path.peer)
            and (unfit(path) or as_path_refusal(path.as_path, self.pop.asn)) is None
        ]

    def _is_up(self, router: str, peer: str) -> bool:
        """Whether a session of the inventory is up, with the AS that the inventory says."""
        expected, asn = self.pop.asn_by_session.get((router, peer)), self.rib.peer_asn(router, peer)
        return expected is not None and asn is not None and not is_wrong_as(asn, expected)

    def doubted_for_s(self, router: str) -> float:
        """How long a router has been silent beyond its `bmp_silence_s`, in seconds; not above 0 if it has not."""
        return self.heard(router).silent_s - self.pop.routers[router].bmp_silence_s

    def shown(self, router: str, prefix: str) -> str | None:
        """The next hop of our route as the router received it from its injector; None if it shows none."""
        injector = self.pop.routers[router].injector.address
        for name, path in self.rib.path_set(prefix):
            if name == router and path.peer == injector and self.pop.marker_community in path.communities:
                return path.next_hop
        return None

    def injector_up(self, router: str) -> bool:
        """Whether the router reports its session with its injector as up."""
        return self.rib.peer_asn(router, self.pop.routers[router].injector.address) is not None
