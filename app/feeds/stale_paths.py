"""A BMP session that comes back: what it does not say again is gone.

A router that reconnects (or whose collector restarted) tells all its peers and paths anew, but never what it lost in
between. Flushing at once would take back every override for the seconds until the dump is here, so old paths stay
until the dump is over, and then only what was told again stays.
"""

import msgspec

from app.te.routing.rib import PeerKey, Rib

DUMP_WITHIN_S = 10.0  # after the last path that was told again: the dump of a full table takes longer
ByPeer = dict[PeerKey, set[str]]  # prefixes


class Doubt(msgspec.Struct):
    """What a router that began anew has not told again: peers, and peers with such paths, by the time of the last."""

    peers: dict[str, float]
    paths: dict[str, float]


class Resync:
    """Doubts by router, which outlive a restart, and the very paths, which are kept in their rows."""

    def __init__(self, rib: Rib, doubts: dict[str, Doubt]) -> None:
        self._rib = rib
        self._doubts = doubts
        self._untold: dict[str, ByPeer] = {}

    def restore(self, router: str, prefix: str, key: PeerKey) -> None:
        """A path in doubt, as a row of a router in doubt tells of it; one of its other peers is none."""
        if key[0] in self._doubts[router].paths:
            self._untold.setdefault(router, {}).setdefault(key, set()).add(prefix)

    def is_untold(self, router: str, prefix: str, key: PeerKey) -> bool:
        """Whether this path is in doubt."""
        return router in self._untold and prefix in self._untold[router].get(key, ())

    def router_began(self, router: str, at_s: float) -> None:
        """A new session of this router: its peers and paths are in doubt until each is told again.

        A peer told up twice in one session is no doubt: a BGP session that broke is told down first.
        """
        peers = self._rib.peers(router)
        self._doubts[router] = Doubt(dict.fromkeys(peers, at_s), dict.fromkeys(peers, at_s))
        self._untold[router] = {key: prefixes for key, prefixes in self._rib.by_peer(router).items() if key[0] in peers}

    def peer_told(self, router: str, peer: str) -> None:
        if router in self._doubts:
            self._doubts[router].peers.pop(peer, None)

    def path_told(self, router: str, prefix: str, key: PeerKey, at_s: float, is_replay: bool) -> None:
        """Doubt about the others of its peer lasts on, also where a row that is ahead was told of this one before."""
        is_untold = self.is_untold(router, prefix, key)
        if is_untold:
            self._untold[router][key].discard(prefix)
        if is_untold or (is_replay and router in self._doubts and key[0] in self._doubts[router].paths):
            self._doubts[router].paths[key[0]] = at_s

    def peer_gone(self, router: str, peer: str) -> None:
        self.peer_told(router, peer)
        self._paths_of(router, peer)

    def _paths_of(self, router: str, peer: str) -> ByPeer:
        """What is in doubt of a peer, and no longer is."""
        if router in self._doubts:
            self._doubts[router].paths.pop(peer, None)
        untold = self._untold.get(router, {})
        return {key: untold.pop(key) for key in list(untold) if key[0] == peer}

    def overdue_peers(self, at_s: float) -> list[tuple[str, str]]:
        """(router, peer) pairs that were not told up again in time."""
        return [
            (router, peer)
            for router, doubt in self._doubts.items()
            for peer, since_s in doubt.peers.items()
            if at_s > since_s + DUMP_WITHIN_S
        ]

    def overdue_paths(self, at_s: float) -> list[tuple[str, ByPeer]]:
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
            self._untold.pop(router, None)
        return overdue
