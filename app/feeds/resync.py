"""A BMP session that comes back: what it does not say again is gone.

A router that reconnects (or whose collector restarted) tells all its peers and paths anew, but never what it lost in
between. Flushing at once would take back every override for the seconds until the dump is here, so old paths stay
until a while after the new beginning, and then only what was told again stays.
"""

from app.te.rib import PeerKey, Rib

DUMP_WITHIN_S = 10.0
Doubted = set[tuple[str, PeerKey]]  # (prefix, path key)


class Resync:
    """Peers and paths in doubt, by router and peer, with the stream's time at which the doubt began."""

    def __init__(self, rib: Rib) -> None:
        self._rib = rib
        self._peers: dict[tuple[str, str], float] = {}
        self._paths: dict[tuple[str, str], tuple[float, Doubted]] = {}

    def router_began(self, router: str, at_s: float) -> None:
        """A new session of this router: its peers and paths are in doubt until each is told again.

        A peer told up twice in one session is no doubt: a BGP session that broke is told down first.
        """
        for peer in self._rib.peers(router):
            self._peers[router, peer] = at_s
            self._paths[router, peer] = at_s, self._rib.keys_of(router, peer)

    def peer_told(self, router: str, peer: str) -> None:
        self._peers.pop((router, peer), None)

    def path_told(self, router: str, peer: str, prefix: str, path_id: int) -> None:
        if (doubt := self._paths.get((router, peer))) is not None:
            doubt[1].discard((prefix, (peer, path_id)))

    def peer_gone(self, router: str, peer: str) -> None:
        self._peers.pop((router, peer), None)
        self._paths.pop((router, peer), None)

    def overdue_peers(self, at_s: float) -> list[tuple[str, str]]:
        """(router, peer) pairs that were not told up again in time."""
        return [key for key, since_s in self._peers.items() if at_s > since_s + DUMP_WITHIN_S]

    def overdue_paths(self, at_s: float) -> list[tuple[str, Doubted]]:
        """(router, paths) that were not told again in time; they are forgotten here."""
        due = [key for key, (since_s, _) in self._paths.items() if at_s > since_s + DUMP_WITHIN_S]
        return [(key[0], self._paths.pop(key)[1]) for key in due]
