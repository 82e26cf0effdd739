"""From BMP records to the Rib of one PoP: which peers are up, and which paths each router has."""

from collections.abc import Collection, Iterable, Mapping

from app.config.inventory import Pop
from app.feeds.as_path import read_as_path
from app.feeds.bmp import BmpRecord, canonical, to_path
from app.feeds.bmp_clocks import began_again, stream_time
from app.feeds.bmp_sessions import Sessions, SessionTracker
from app.feeds.stale_paths import StalePaths
from app.te.routing.interning import PathSet
from app.te.routing.rib import Rib

EXPIRE_EVERY_S = 1.0  # a look at all that is stale
PATHS_MAX = 16  # of a prefix from one peer, by path identifier (RFC 7911)
TOO_MANY = "too-many-paths"

StalePlaces = tuple[str, list[int]]  # (prefix, places of its stale paths in its path set)
Touched = tuple[str, list[str]]  # (router, prefixes that changed)


class RibFeed:
    """Applies the BMP records of one PoP to a Rib, and returns which prefixes of which router changed."""

    def __init__(self, pop: Pop, rib: Rib, sessions: Sessions | None = None) -> None:
        self.pop = pop
        self.rib = rib
        self.sessions = sessions or Sessions()
        self.replay_until = -1  # records up to this position are replayed, because some rows already include them
        self._expired_s = -EXPIRE_EVERY_S
        self._stale = StalePaths(rib, self.sessions.unrefreshed)
        self.tracker = SessionTracker(pop, self.sessions, self._stale)
        for router, peers in self.sessions.peers.items():
            for peer, asn in peers.items():
                rib.peer_up(router, peer, asn)

    def began(self, router: str) -> int:
        """The stream position where a router's current BMP session began; -1 if it had none yet."""
        return self.sessions.began.get(router, -1)

    def restore(
        self, applied: int, began: Mapping[str, int], prefixes: Mapping[str, PathSet], stale: Iterable[StalePlaces]
    ) -> None:
        """Mark the stale paths of a restored row.

        `applied` is the row's position, `began` are the beginnings of the routers' sessions when it was written, and
        `stale` its paths that were stale then. Paths of a peer that became stale later than that are, too. If the row
        is ahead, the beginning is replayed, and marks them.
        """
        stale = list(stale)
        for router, unrefreshed in self.sessions.unrefreshed.items():
            if began.get(router, -1) <= self.began(router):
                later = {peer for peer, position in unrefreshed.since.items() if position > applied}
                everything = [(prefix, range(len(path_set))) for prefix, path_set in prefixes.items() if later]
                self._mark_stale(router, stale, prefixes)
                self._mark_stale(router, everything, prefixes, later)

    def restored(self) -> None:
        """Drop paths of routers that left the inventory: no record would withdraw them. Call this after all rows.

        What none of them calls stale is refreshed.
        """
        for router in self.rib.routers() - self.pop.routers.keys():
            for peer in {peer for peer, _ in self.rib.by_peer(router)}:
                self.rib.peer_down(router, peer)
        self._stale.restored()

    def _mark_stale(
        self,
        router: str,
        stale: Iterable[tuple[str, Iterable[int]]],
        prefixes: Mapping[str, PathSet],
        peers: Collection[str] | None = None,
    ) -> None:
        """Mark the paths at these places, of these peers or of all."""
        for prefix, places in stale:
            for name, path in map(prefixes[prefix].__getitem__, places):
                if name == router and (peers is None or path.peer in peers):
                    self._stale.restore(router, prefix, (path.peer, path.path_id))

    def stale(self, prefixes: Mapping[str, PathSet]) -> list[StalePlaces]:
        """The stale paths among those of `prefixes`, by their places in the path sets."""
        if not self.sessions.unrefreshed:
            return []
        stale = [(prefix, list(self._stale_places(prefix, path_set))) for prefix, path_set in prefixes.items()]
        return [(prefix, places) for prefix, places in stale if places]

    def _stale_places(self, prefix: str, path_set: PathSet) -> Iterable[int]:
        for place, (router, path) in enumerate(path_set):
            if self._stale.is_stale(router, prefix, (path.peer, path.path_id)):
                yield place

    def doubtful(self, now_s: float) -> frozenset[str]:
        """The routers whose paths may be out of date at Kafka time `now_s`; see SessionTracker.is_doubtful."""
        return frozenset(router for router in self.pop.routers if self.tracker.is_doubtful(router, now_s))

    def expire(self, at_s: float) -> list[Touched]:
        """Remove peers and paths that were not refreshed in time after a BMP session began again.

        `at_s` is the stream's time. Returns (router, changed prefixes).
        """
        self.tracker.give_up_waiting(at_s)
        if not self.sessions.unrefreshed:
            return []
        touched: list[Touched] = []
        if not self._expired_s <= at_s < self._expired_s + EXPIRE_EVERY_S:
            self._expired_s = at_s
            touched = self._expire(at_s)
        for session in self._stale.refreshed():
            self.tracker.is_whole(session)
        return touched

    def _expire(self, at_s: float) -> list[Touched]:
        """Remove what is overdue at `at_s`."""

        def may_expire(router: str, peer: str, due_s: float) -> bool:
            return at_s > due_s and self.tracker.may_expire(router, peer, at_s, due_s)

        due = self._stale.overdue_peers(at_s, may_expire)
        touched = [(router, self._peer_down(router, peer)) for router, peer in due]
        for router, by_peer in self._stale.overdue_paths(at_s, may_expire):
            paths = [(prefix, key) for key, prefixes in by_peer.items() for prefix in prefixes]
            for prefix, key in paths:
                self.rib.withdraw(router, prefix, *key)
            touched.append((router, [prefix for prefix, _ in paths]))
        return touched

    def apply(self, record: BmpRecord, at_s: float = 0.0) -> list[Touched]:
        """Apply one record of Kafka time `at_s`; return (router, prefixes touched) of each peer or path it touches.

        Records of sessions that are no router's are counted in `sessions.ignored`.
        """
        if began_again(self.sessions.writers, record.writer_id, record.seq, at_s):
            self.tracker.end_all(record.writer_id)
        at_s = self.sessions.at_s = stream_time(self.sessions.writers, self.sessions.at_s, record.writer_id, at_s)
        if record.ends_session:
            self.tracker.end(record.session, record.seq)
        elif record.event_type != "log":
            pass  # a connection to pmbmpd that has not said anything yet, or a dump of pmbmpd's tables
        elif record.bmp_msg_type == "init":
            router, waited = self.tracker.hear_init(record, at_s)
            return [touched for each in waited for touched in self._apply(router, each, at_s)]
        else:
            router = self.tracker.hear(record, at_s)
            touched = self._apply(router, record, at_s)
            if router is not None and record.bmp_msg_type != "route_monitor":  # not for each of very many
                touched += [(router, self._peer_down(router, peer)) for peer in self.tracker.orphans(router, at_s)]
            return touched
        return []

    def _apply(self, router: str | None, record: BmpRecord, at_s: float) -> list[Touched]:
        if router is None:
            return []
        match record.bmp_msg_type:
            case "peer_up" if record.is_global:
                self._peer_up(router, record, at_s)
                return [(router, [])]
            case "peer_down" if record.is_global:
                peer = canonical(record.peer_ip)
                self.tracker.reported(record, peer, is_up=False)
                return [(router, self._peer_down(router, peer))]
            case _ if record.is_route:
                self._route(router, record, at_s)
                return [(router, [record.ip_prefix])]
        if (rib := record.other_rib) is not None:
            unused = self.sessions.unused.setdefault(router, {})
            unused[rib] = unused.get(rib, 0) + 1
        return []

    def _peer_up(self, router: str, record: BmpRecord, at_s: float) -> None:
        peer = canonical(record.peer_ip)
        asn = record.peer_asn or self.pop.asn_by_session.get((router, peer), self.pop.asn)
        self.tracker.reported(record, peer)
        self._stale.peer_refreshed(router, peer, at_s, record.session, self.sessions.applied)
        self.sessions.peers.setdefault(router, {})[peer] = asn
        self.rib.peer_up(router, peer, asn)

    def _peer_down(self, router: str, peer: str) -> list[str]:
        self._stale.peer_gone(router, peer)
        self.sessions.peers.get(router, {}).pop(peer, None)
        return self.rib.peer_down(router, peer)

    def _route(self, router: str, record: BmpRecord, at_s: float) -> None:
        is_replay = self.sessions.applied <= self.replay_until
        peer = canonical(record.peer_ip)
        self.tracker.reported(record, peer)
        self._stale.path_refreshed(router, record.ip_prefix, (peer, record.as_path_id), at_s, is_replay)
        if record.log_type == "update":
            if record.as_path_id and self._has_enough(router, record.ip_prefix, peer, record.as_path_id):
                self.sessions.ignored[TOO_MANY] = self.sessions.ignored.get(TOO_MANY, 0) + 1
                return
            path = to_path(record, self.pop.asn, self._is_ebgp(router, peer, record), self._local_pref(router, peer))
            self.rib.update(router, record.ip_prefix, path)
        else:
            self.rib.withdraw(router, record.ip_prefix, peer, record.as_path_id)

    def _has_enough(self, router: str, prefix: str, peer: str, path_id: int) -> bool:
        """Whether a path would be one more than PATHS_MAX: a row must have room for all paths of a prefix."""
        of_peer = [
            number
            for each, number in self.rib.paths(router, prefix)
            if each == peer and not self._stale.is_stale(router, prefix, (each, number))
        ]
        return len(of_peer) >= PATHS_MAX and path_id not in of_peer

    def _local_pref(self, router: str, peer: str) -> int:
        """The local-pref that the router's import policy gives to paths of a peer; 100 (the BGP default) if unknown."""
        link = self.pop.link_by_session.get((router, peer))
        return self.pop.links[link].local_pref if link else 100

    def _is_ebgp(self, router: str, peer: str, record: BmpRecord) -> bool:
        """Whether a path is of an external neighbour; a peer of another member AS of our confederation is none."""
        asn, is_of_link = self.rib.peer_asn(router, peer), (router, peer) in self.pop.link_by_session
        if asn is None or is_of_link:
            return is_of_link if asn is None else asn != self.pop.asn
        return asn != self.pop.asn and not read_as_path(record.as_path).is_internal
