"""What a new BMP session has not reported yet of what was known of its router before (stale paths, as in RFC 4724).

A router that reconnects (or whose collector restarted) sends all its peers and paths again, but never says which ones
it lost in between. Flushing at once would withdraw every override for the seconds that the dump takes, so all of that
stays in use until the dump is over. What the session has not reported by then is removed, unless another session of the
router has it. Each session awaits its own dump: what another one reports says nothing of it.
"""

from collections.abc import Callable, Iterator, Set

import msgspec

from app.te.routing.rib import PeerKey, Rib

DUMP_WITHIN_S = 10.0  # counted from a peer's last reported path, because the dump of a full table takes longer
# Before the first of them a peer has longer. Some routers wait before they ask their neighbours for a refresh (Cisco's
# initial-refresh delay), some report peer after peer, each with its table (Junos).
FIRST_WITHIN_S = 60.0
ByPeer = dict[PeerKey, set[str]]  # prefixes


class Awaited(msgspec.Struct):
    """The peers that a session has not reported up, and those of which it awaits paths, each with its last sign.

    Until the first path of a peer, that is when they became awaited, which `since` has as the stream's position.
    `dumped` are the peers of which an awaited path came; the others have `first_s` seconds. `sign_s` is the last sign
    of a dump: a peer that was awaited, or a route, but of routes only those of the first `first_s` seconds: later ones
    may be changes, which never end.
    """

    router: str
    began_s: float
    first_s: float
    peers: dict[str, float]
    paths: dict[str, float] = msgspec.field(default_factory=dict)
    since: dict[str, int] = msgspec.field(default_factory=dict)
    sign_s: float = 0.0
    dumped: set[str] = msgspec.field(default_factory=set)

    def peer_due_s(self, peer: str) -> float:
        """Until when the session has to report a peer up."""
        return max(self.peers[peer], self.sign_s) + DUMP_WITHIN_S

    def paths_due_s(self, peer: str) -> float:
        """Until when the awaited paths of a peer have to come."""
        if peer in self.dumped:
            return self.paths[peer] + DUMP_WITHIN_S
        return max(self.paths[peer], self.sign_s) + self.first_s


class StalePaths:
    """What the sessions of a PoP's routers await, by session: `awaited` is part of the progress row.

    The awaited paths themselves are marked in their own rows. A row may be ahead of the record that is applied, which
    is a replay; `is_ahead` says whether that of a prefix is. It knows best which of its paths a session awaits.
    """

    def __init__(self, rib: Rib, awaited: dict[str, Awaited], is_ahead: Callable[[str], bool]) -> None:
        self._rib = rib
        self._awaited = awaited
        self._is_ahead = is_ahead
        self._paths: dict[str, ByPeer] = {}
        self._ahead: dict[str, ByPeer] = {}  # what rows say that are ahead of the start, also of sessions not yet begun

    def restore(self, session: str, prefix: str, key: PeerKey) -> None:
        """Mark a path as its row says; ignored if the session awaits no paths of its peer any more."""
        if key[0] in self._awaited[session].paths:
            self._paths.setdefault(session, {}).setdefault(key, set()).add(prefix)

    def restore_ahead(self, session: str, prefix: str, key: PeerKey) -> None:
        """Note that a row which is ahead of the start has this path as awaited."""
        self._ahead.setdefault(session, {}).setdefault(key, set()).add(prefix)

    def restored(self) -> None:
        """Note that all rows are restored: what no row calls awaited came before they were written."""
        for session, awaited in self._awaited.items():
            for peer in list(awaited.paths):
                self._settle(session, peer)

    def is_stale(self, session: str, prefix: str, key: PeerKey) -> bool:
        """Whether this session awaits this path."""
        return session in self._paths and prefix in self._paths[session].get(key, ())

    def awaits_peer(self, session: str, peer: str) -> bool:
        """Whether this session has not reported this peer up yet."""
        return session in self._awaited and peer in self._awaited[session].peers

    def began(self, router: str, session: str, position: int, at_s: float, first_s: float = FIRST_WITHIN_S) -> None:
        """A session of this router began: it awaits all that is known of it.

        A second peer_up in one BMP session makes nothing stale: a BGP session that broke is reported down first.
        """
        peers = self._rib.peers(router)
        self._awaited[session] = Awaited(router, at_s, first_s, dict.fromkeys(peers, at_s))
        self._paths[session] = {}
        self._await_paths(session, set(peers), position, at_s)

    def peer_is_new(self, router: str, session: str, peer: str, position: int, at_s: float, first_s: float) -> None:
        """A session reports a peer for the first time that another one has reported: it will report all its paths."""
        if session not in self._awaited:
            self._awaited[session] = Awaited(router, at_s, first_s, {})
            self._paths[session] = {}
        if peer not in self._awaited[session].paths:
            self._await_paths(session, {peer}, position, at_s)

    def _await_paths(self, session: str, peers: Set[str], position: int, at_s: float) -> None:
        awaited = self._awaited[session]
        ahead = self._ahead.get(session, {})
        paths = {
            key: those
            for key, prefixes in self._rib.by_peer(awaited.router).items()
            if key[0] in peers
            and (those := {each for each in prefixes if not self._is_ahead(each) or each in ahead.get(key, ())})
        }
        awaited.paths |= dict.fromkeys((peer for peer, _ in paths), at_s)
        awaited.since |= dict.fromkeys((peer for peer, _ in paths), position)
        awaited.dumped -= peers
        self._paths.setdefault(session, {}).update(paths)

    def peer_up(self, session: str, peer: str, at_s: float) -> None:
        """The session reported this peer up; its paths still have to come."""
        awaited = self._awaited.get(session)
        if awaited is not None and awaited.peers.pop(peer, None) is not None:
            awaited.sign_s = at_s

    def path_came(self, session: str, prefix: str, key: PeerKey, at_s: float, is_replay: bool) -> None:
        """The session announced or withdrew a path. That gives its peer more time for its other awaited paths.

        During a replay this is also so for a path that is not awaited any more, because its row already includes this.
        """
        awaited, is_stale = self._awaited.get(session), self.is_stale(session, prefix, key)
        if awaited is None:
            return
        if at_s <= awaited.began_s + awaited.first_s:
            awaited.sign_s = max(awaited.sign_s, at_s)
        if is_stale or (is_replay and key[0] in awaited.paths):
            awaited.paths[key[0]] = at_s
            awaited.dumped.add(key[0])
        if is_stale:
            self.path_excused(session, prefix, key)

    def peer_gone(self, router: str, peer: str) -> None:
        """Nobody awaits a peer that went down, nor its paths."""
        for session, awaited in self._awaited.items():
            if awaited.router == router:
                self.peer_excused(session, peer)

    def peer_excused(self, session: str, peer: str) -> None:
        """The session need not report this peer nor its paths: another one has it, or it is gone."""
        self._awaited[session].peers.pop(peer, None)
        self._awaited[session].paths.pop(peer, None)
        by_key = self._paths.get(session, {})
        for key in [key for key in by_key if key[0] == peer]:
            del by_key[key]

    def path_excused(self, session: str, prefix: str, key: PeerKey) -> None:
        """The session need not report this path any more: it has, another one has it, or it is removed."""
        by_key = self._paths[session]
        by_key[key].discard(prefix)
        if not by_key[key]:
            del by_key[key]
            self._settle(session, key[0])

    def drop(self, session: str) -> None:
        """Nothing is awaited of a session that has ended. What it had not reported stays."""
        self._awaited.pop(session, None)
        self._paths.pop(session, None)

    def is_overdue(self, session: str, at_s: float) -> bool:
        """Whether a session has not reported something in time."""
        awaited = self._awaited[session]
        due_s = (*map(awaited.peer_due_s, awaited.peers), *map(awaited.paths_due_s, awaited.paths))
        return any(at_s > each for each in due_s)

    def overdue_peers(self, at_s: float) -> Iterator[tuple[str, str, float]]:
        """(session, peer, when it was due) of each peer that was not reported up in time."""
        for session, awaited in list(self._awaited.items()):
            for peer in list(awaited.peers):
                if at_s > (due_s := awaited.peer_due_s(peer)):
                    yield session, peer, due_s

    def overdue_paths(self, at_s: float) -> Iterator[tuple[str, str, float, list[tuple[str, PeerKey]]]]:
        """(session, peer, when they were due, paths as (prefix, key)) of each peer whose paths did not come in time."""
        for session, awaited in list(self._awaited.items()):
            for peer in list(awaited.paths):
                if at_s > (due_s := awaited.paths_due_s(peer)):
                    by_key = self._paths.get(session, {})
                    yield session, peer, due_s, [(p, key) for key in by_key if key[0] == peer for p in by_key[key]]

    def complete(self) -> list[str]:
        """The sessions that await nothing any more, since the last call."""
        done = [session for session, awaited in self._awaited.items() if not awaited.peers and not awaited.paths]
        for session in done:
            self.drop(session)
        return done

    def _settle(self, session: str, peer: str) -> None:
        """Wait no longer for the paths of a peer if none of them is awaited."""
        if all(key[0] != peer for key in self._paths.get(session, ())):
            self._awaited[session].paths.pop(peer, None)
