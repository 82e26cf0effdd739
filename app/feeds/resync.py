"""A BMP session that comes back: what it does not say again is gone.

A router that reconnects (or whose collector restarted) tells all its peers and paths anew, but never what it lost in
between. Flushing at once would take back every override for the seconds until the dump is here, so old paths stay
until the dump is over, and then only what was told again stays.
"""

from collections.abc import Iterable

import msgspec

from app.te.rib import PeerKey, Rib

DUMP_WITHIN_S = 10.0  # after the last path that was told again: the dump of a full table takes longer
PathKey = tuple[str, PeerKey]  # (prefix, path key)


class Doubt(msgspec.Struct):
    """What a router that began anew has not told again: peers, and peers with such paths, by the time of the last."""

    peers: dict[str, float]
    paths: dict[str, float]


class Resync:
    """Doubts by router, which outlive a restart, and the very paths, which are kept in their rows."""

    def __init__(self, rib: Rib, doubts: dict[str, Doubt]) -> None:
        self._rib = rib
        self._doubts = doubts
        self._untold: dict[tuple[str, str], set[PathKey]] = {}

    def restore(self, router: str, paths: Iterable[PathKey]) -> None:
        """Paths in doubt, as a row of a router in doubt tells them; those of its other peers are none."""
        for path in paths:
            if path[1][0] in self._doubts[router].paths:
                self._untold.setdefault((router, path[1][0]), set()).add(path)

    def untold(self, router: str, paths: Iterable[PathKey]) -> list[PathKey]:
        """Those of the paths that are in doubt."""
        if router not in self._doubts:
            return []
        return [path for path in paths if path in self._untold.get((router, path[1][0]), ())]

    def router_began(self, router: str, at_s: float) -> None:
        """A new session of this router: its peers and paths are in doubt until each is told again.

        A peer told up twice in one session is no doubt: a BGP session that broke is told down first.
        """
        peers = self._rib.peers(router)
        self._doubts[router] = Doubt(dict.fromkeys(peers, at_s), dict.fromkeys(peers, at_s))
        for peer in peers:
            self._untold[router, peer] = self._rib.keys_of(router, peer)

    def peer_told(self, router: str, peer: str) -> None:
        if router in self._doubts:
            self._doubts[router].peers.pop(peer, None)

    def path_told(self, router: str, path: PathKey, at_s: float) -> None:
        peer = path[1][0]
        if path in (untold := self._untold.get((router, peer), set())):
            untold.discard(path)
            self._doubts[router].paths[peer] = at_s

    def peer_gone(self, router: str, peer: str) -> None:
        self.peer_told(router, peer)
        self._paths_of(router, peer)

    def _paths_of(self, router: str, peer: str) -> set[PathKey]:
        """What is in doubt of a peer, and no longer is."""
        if router in self._doubts:
            self._doubts[router].paths.pop(peer, None)
        return self._untold.pop((router, peer), set())

    def overdue_peers(self, at_s: float) -> list[tuple[str, str]]:
        """(router, peer) pairs that were not told up again in time."""
        return [
            (router, peer)
            for router, doubt in self._doubts.items()
            for peer, since_s in doubt.peers.items()
            if at_s > since_s + DUMP_WITHIN_S
        ]

    def overdue_paths(self, at_s: float) -> list[tuple[str, set[PathKey]]]:
        """(router, paths) that were not told again in time; they are forgotten here."""
        due = [
            (router, peer)
            for router, doubt in self._doubts.items()
            for peer, since_s in doubt.paths.items()
            if at_s > since_s + DUMP_WITHIN_S
        ]
        overdue = [(router, self._paths_of(router, peer)) for router, peer in due]
        for router in [router for router, doubt in self._doubts.items() if not doubt.peers and not doubt.paths]:
            del self._doubts[router]
        return overdue
