"""Paths of a router whose BMP session began again: stale until the new session refreshes them (as in RFC 4724).

A router that reconnects (or whose collector restarted) sends all its peers and paths again, but never says which ones
it lost in between. Flushing at once would withdraw every override for the seconds that the dump takes, so stale paths
stay in use until the dump is over. Paths that were not refreshed by then are removed.
"""

from collections.abc import Callable, Set

import msgspec

from app.te.routing.rib import PeerKey, Rib

DUMP_WITHIN_S = 10.0  # counted from a peer's last refreshed path, because the dump of a full table takes longer
# Before the first of them a peer has longer. Some routers wait before they ask their neighbours for a refresh (Cisco's
# initial-refresh delay), some report peer after peer, each with its table (Junos).
FIRST_WITHIN_S = 60.0
SESSIONS_MAX = 8  # of a router, that have begun since it had nothing stale
ByPeer = dict[PeerKey, set[str]]  # prefixes
MayExpire = Callable[[str, str, float], bool]  # router, peer, when it was due


class Unrefreshed(msgspec.Struct):
    """The peers that a router has not refreshed yet, and those with stale paths, each with its last refresh time.

    Until its first refresh, that is the time at which the last session began. `sessions` are those that have begun
    since the router had nothing stale, and report them again. `dumped` are the peers of which a stale path was
    refreshed; the others have `first_s` seconds. `kept` are those that another of the sessions was in charge of when
    the last one began; `since` has for each peer the stream position at which its paths became stale. `sign_s` is the
    last sign of a dump: a peer that is up again, or a route, but of routes only those of the first `first_s` seconds:
    later ones may be changes, which never end.
    """

    peers: dict[str, float]
    paths: dict[str, float]
    sessions: list[str] = msgspec.field(default_factory=list)
    began_s: float = 0.0
    sign_s: float = 0.0
    dumped: set[str] = msgspec.field(default_factory=set)
    first_s: float = FIRST_WITHIN_S
    kept: list[str] = msgspec.field(default_factory=list)
    since: dict[str, int] = msgspec.field(default_factory=dict)

    def due_s(self, peer: str) -> float:
        """Until when the stale paths of a peer must be refreshed."""
        if peer in self.dumped:
            return self.paths[peer] + DUMP_WITHIN_S
        return max(self.paths[peer], self.sign_s) + self.first_s


class StalePaths:
    """The unrefreshed peers and the stale paths of a PoP's routers.

    `unrefreshed` (by router) is part of the progress row; the stale paths are marked in their own rows.
    """

    def __init__(self, rib: Rib, unrefreshed: dict[str, Unrefreshed]) -> None:
        self._rib = rib
        self._unrefreshed = unrefreshed
        self._stale: dict[str, ByPeer] = {}

    def restore(self, router: str, prefix: str, key: PeerKey) -> None:
        """Mark a path as stale because its row says so; ignored if its peer has no stale paths any more."""
        if key[0] in self._unrefreshed[router].paths:
            self._stale.setdefault(router, {}).setdefault(key, set()).add(prefix)

    def is_stale(self, router: str, prefix: str, key: PeerKey) -> bool:
        """Whether this path is stale: it waits to be refreshed."""
        return router in self._stale and prefix in self._stale[router].get(key, ())

    def router_began(
        self,
        router: str,
        session: str,
        at_s: float,
        first_s: float = FIRST_WITHIN_S,
        in_charge: Callable[[str], bool] = lambda peer: False,
        position: int = -1,
    ) -> None:
        """Start a new BMP session of this router: its peers and paths are stale until each is refreshed.

        A peer that a session is `in_charge` of, which has begun since the router had nothing stale and goes on, stays
        as it is: the new one may be of other peers. A second peer_up in one BMP session makes nothing stale: a BGP
        session that broke is reported down first.
        """
        before = self._unrefreshed.get(router) or Unrefreshed({}, {})
        kept = list(filter(in_charge, self._rib.peers(router)))
        sessions = [*(each for each in before.sessions if each != session), session][-SESSIONS_MAX:]
        self._unrefreshed[router] = Unrefreshed(
            {peer: since_s for peer, since_s in before.peers.items() if peer in kept},
            {peer: since_s for peer, since_s in before.paths.items() if peer in kept},
            sessions,
            at_s,
            dumped=before.dumped.intersection(kept),
            first_s=first_s,
            kept=kept,
            since={peer: since for peer, since in before.since.items() if peer in kept},
        )
        self._stale[router] = {key: each for key, each in self._stale.get(router, {}).items() if key[0] in kept}
        self._begin(router, set(self._rib.peers(router)).difference(kept), at_s, position)

    def _begin(self, router: str, peers: Set[str], at_s: float, position: int) -> None:
        """All that these peers have is stale."""
        unrefreshed = self._unrefreshed[router]
        stale = {key: prefixes for key, prefixes in self._rib.by_peer(router).items() if key[0] in peers}
        unrefreshed.peers |= dict.fromkeys(peers, at_s)
        unrefreshed.paths |= dict.fromkeys((peer for peer, _ in stale), at_s)
        unrefreshed.dumped -= peers
        unrefreshed.since |= dict.fromkeys((peer for peer, _ in stale), position)
        self._stale.setdefault(router, {}).update(stale)

    def peer_refreshed(self, router: str, peer: str, at_s: float, session: str = "", position: int = -1) -> None:
        """Note that the router reported this peer up again; its paths still wait for their own refresh.

        If the newest session reports a peer that another one was in charge of, it reports them all again.
        """
        unrefreshed = self._unrefreshed.get(router)
        if unrefreshed is None:
            return
        if peer in unrefreshed.kept and session == unrefreshed.sessions[-1]:
            kept, unrefreshed.kept = unrefreshed.kept, []
            self._begin(router, set(kept).intersection(self._rib.peers(router)), at_s, position)
        if unrefreshed.peers.pop(peer, None) is not None:
            unrefreshed.sign_s = at_s

    def path_refreshed(self, router: str, prefix: str, key: PeerKey, at_s: float, is_replay: bool) -> None:
        """Note that a path was announced or withdrawn again. That gives its peer more time for its other stale paths.

        During a replay this is also so for a path that is not stale any more, because its row already includes this.
        """
        unrefreshed, is_stale = self._unrefreshed.get(router), self.is_stale(router, prefix, key)
        if unrefreshed is None:
            return
        if at_s <= unrefreshed.began_s + unrefreshed.first_s:
            unrefreshed.sign_s = max(unrefreshed.sign_s, at_s)
        if is_stale or (is_replay and key[0] in unrefreshed.paths):
            unrefreshed.paths[key[0]] = at_s
            unrefreshed.dumped.add(key[0])
        if is_stale:
            self._stale[router][key].discard(prefix)
            if not self._stale[router][key]:
                del self._stale[router][key]
                self._settle(router, key[0])

    def _settle(self, router: str, peer: str) -> None:
        """Wait no longer for the paths of a peer if none of them is stale."""
        if all(key[0] != peer for key in self._stale.get(router, ())):
            self._unrefreshed[router].paths.pop(peer, None)

    def restored(self) -> None:
        """Note that all rows are restored: what no row calls stale was refreshed before they were written."""
        for router, unrefreshed in self._unrefreshed.items():
            for peer in list(unrefreshed.paths):
                self._settle(router, peer)

    def peer_gone(self, router: str, peer: str) -> None:
        """Forget a peer that went down, with its stale paths."""
        if router in self._unrefreshed:
            self._unrefreshed[router].peers.pop(peer, None)
        self._pop_paths(router, peer)

    def _pop_paths(self, router: str, peer: str) -> ByPeer:
        """Remove and return the stale paths of a peer."""
        if router in self._unrefreshed:
            self._unrefreshed[router].paths.pop(peer, None)
        stale = self._stale.get(router, {})
        return {key: stale.pop(key) for key in list(stale) if key[0] == peer}

    def peers_vouched(self, router: str, reports: Callable[[str], bool]) -> None:
        """Nothing of the peers that another session `reports` is stale any more: it never stopped reporting them."""
        unrefreshed = self._unrefreshed[router]
        for peer in filter(reports, {*unrefreshed.peers, *unrefreshed.paths}):
            self.peer_gone(router, peer)

    def overdue_peers(self, at_s: float, may_expire: MayExpire) -> list[tuple[str, str]]:
        """The (router, peer) pairs whose peer_up did not come in time, of those that may expire."""
        return [
            (router, peer)
            for router, unrefreshed in self._unrefreshed.items()
            for peer, since_s in unrefreshed.peers.items()
            if may_expire(router, peer, max(since_s, unrefreshed.sign_s) + DUMP_WITHIN_S)
        ]

    def overdue_paths(self, at_s: float, may_expire: MayExpire) -> list[tuple[str, ByPeer]]:
        """Remove and return the (router, paths) that were not refreshed in time, of the peers that may expire."""
        due = [
            (router, peer)
            for router, unrefreshed in self._unrefreshed.items()
            for peer in unrefreshed.paths
            if may_expire(router, peer, unrefreshed.due_s(peer))
        ]
        return [(router, self._pop_paths(router, peer)) for router, peer in due]

    def refreshed(self) -> list[str]:
        """The sessions that have refreshed everything since the last call; their routers have nothing stale."""
        done = [
            (router, unrefreshed.sessions)
            for router, unrefreshed in self._unrefreshed.items()
            if not unrefreshed.peers and not unrefreshed.paths
        ]
        for router, _ in done:
            del self._unrefreshed[router]
            self._stale.pop(router, None)
        return [session for _, sessions in done for session in sessions]
