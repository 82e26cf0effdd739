"""From BMP records to the Rib of one PoP: which peers are up, and which paths each router has."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from math import inf

import msgspec

from app.config.inventory import Pop
from app.feeds.as_path import read_as_path
from app.feeds.bmp import BmpRecord, canonical, to_path
from app.feeds.bmp_clocks import began_again, stream_time
from app.feeds.bmp_memory import Sessions
from app.feeds.bmp_order import LastWords, left_out
from app.feeds.bmp_sessions import SessionTracker
from app.feeds.stale_paths import StalePaths
from app.te.routing.interning import PathSet
from app.te.routing.rib import Rib

EXPIRE_EVERY_S = 1.0  # a look at all that is stale
PATHS_MAX = 16  # of a prefix from one peer, by path identifier (RFC 7911)
TOO_MANY = "too-many-paths"
OUTDATED = "out-of-order"

StalePlaces = tuple[str, list[int]]  # (prefix, places of its awaited paths in its path set)
Touched = tuple[str, list[str]]  # (router, prefixes that changed)


class RibFeed:
    """Applies the BMP records of one PoP to a Rib, and returns which prefixes of which router changed."""

    def __init__(self, pop: Pop, rib: Rib, sessions: Sessions | None = None) -> None:
        self.pop = pop
        self.rib = rib
        self.sessions = sessions or Sessions()
        self.replay_until = -1  # records up to this position are replayed, because some rows already include them
        self.included: Callable[[str], float] = lambda prefix: -inf  # the position of the row of a prefix
        self._expired_s = -EXPIRE_EVERY_S
        self._words = LastWords()
        self._stale = StalePaths(rib, self.sessions.awaited, self._is_ahead)
        self.tracker = SessionTracker(pop, self.sessions, self._stale)
        self._apply_inventory()

    def reconfigure(self, pop: Pop) -> None:
        """Go on with another inventory of the same routers."""
        self.pop = pop
        self.tracker.reconfigure(pop)
        self._apply_inventory()

    def _apply_inventory(self) -> None:
        """Let what the inventory says of peers and dumps hold for those that are known, too."""
        for router, peers in self.sessions.peers.items():
            for peer, asn in peers.items():
                if self.rib.peer_asn(router, peer) != (known := self._asn_of(router, peer, asn)):
                    self.rib.peer_up(router, peer, known)
        for awaited in self.sessions.awaited.values():
            awaited.first_s = self.tracker.first_s(awaited.router)

    def _asn_of(self, router: str, peer: str, reported: int) -> int:
        """The AS number of a peer: the inventory's, or our own, if its router reported none (0)."""
        return reported or self.pop.asn_by_session.get((router, peer), self.pop.asn)

    def as_named(self, path_set: PathSet) -> PathSet:
        """Paths of a row by the names that routers have now."""
        names = self.sessions.renamed
        return tuple((names.get(router, router), path) for router, path in path_set) if names else path_set

    def as_reported(self, path_set: PathSet) -> PathSet:
        """Paths of a row that had the inventory's local-pref where BMP has none: what equals it is taken for that."""
        links, by_session = self.pop.links, self.pop.link_by_session
        return tuple(
            (router, msgspec.structs.replace(path, local_pref=None))
            if (link := by_session.get((router, path.peer))) and path.local_pref == links[link].local_pref
            else (router, path)
            for router, path in path_set
        )

    def restore(
        self, applied: int, prefixes: Mapping[str, PathSet], stale: Mapping[str, Sequence[StalePlaces]]
    ) -> None:
        """Mark the awaited paths of a row that was written at the position `applied`; `stale` has them by session.

        Of a peer whose paths are awaited since later, they all are. If the row is ahead of that, it is replayed, and
        marks them.
        """
        for session, awaited in self.sessions.awaited.items():
            later = {peer for peer, position in awaited.since.items() if applied < position}
            self._restore(session, stale.get(session, ()), prefixes, awaited.paths)
            if later:
                everything = ((prefix, range(len(path_set))) for prefix, path_set in prefixes.items())
                self._restore(session, everything, prefixes, later)
        for session, places in stale.items() if applied > self.sessions.applied else ():
            for prefix, numbers in places:
                for _, path in map(prefixes[prefix].__getitem__, numbers):
                    self._stale.restore_ahead(session, prefix, (path.peer, path.path_id))

    def _restore(
        self,
        session: str,
        places: Iterable[tuple[str, Iterable[int]]],
        prefixes: Mapping[str, PathSet],
        peers: Collection[str],
    ) -> None:
        router = self.sessions.awaited[session].router
        for prefix, numbers in places:
            for name, path in map(prefixes[prefix].__getitem__, numbers):
                if name == router and path.peer in peers:
                    self._stale.restore(session, prefix, (path.peer, path.path_id))

    def restored(self) -> set[str]:
        """Drop paths of routers that left the inventory, or whose name is another's now; return their prefixes.

        No record would withdraw them. Call this after all rows; what none of them calls stale is refreshed.
        """
        strangers = self.rib.routers() - self.tracker.known
        dropped = set[str]()
        for router in strangers:
            for peer in {peer for peer, _ in self.rib.by_peer(router)}:
                dropped.update(self.rib.peer_down(router, peer))
        self._stale.restored()
        return dropped

    def stale(self, prefixes: Mapping[str, PathSet]) -> dict[str, list[StalePlaces]]:
        """The awaited paths among those of `prefixes` by session, by their places in the path sets."""
        by_session = {session: list(self._places(session, prefixes)) for session in self.sessions.awaited}
        return {session: places for session, places in by_session.items() if places}

    def _places(self, session: str, prefixes: Mapping[str, PathSet]) -> Iterator[StalePlaces]:
        router = self.sessions.awaited[session].router
        for prefix, path_set in prefixes.items():
            places = [
                place
                for place, (name, path) in enumerate(path_set)
                if name == router and self._stale.is_stale(session, prefix, (path.peer, path.path_id))
            ]
            if places:
                yield prefix, places

    def doubtful(self, now_s: float) -> frozenset[str]:
        """The routers whose paths may be out of date at Kafka time `now_s`; see SessionTracker.is_doubtful."""
        return frozenset(router for router in self.pop.routers if self.tracker.is_doubtful(router, now_s))

    def expire(self, at_s: float) -> list[Touched]:
        """Remove peers and paths that were not refreshed in time after a BMP session began again.

        `at_s` is the stream's time. Returns (router, changed prefixes).
        """
        self.tracker.give_up_waiting(at_s)
        if not self.sessions.awaited:
            return []
        touched: list[Touched] = []
        if not self._expired_s <= at_s < self._expired_s + EXPIRE_EVERY_S:
            self._expired_s = at_s
            touched = self._expire(at_s)
        for session in self._stale.complete():
            self.tracker.is_whole(session)
        return touched

    def _expire(self, at_s: float) -> list[Touched]:
        """Remove what is overdue at `at_s` and no other session has."""
        touched: list[Touched] = []
        for session in [each for each in self.sessions.awaited if self.tracker.is_unread(each)]:
            if self._stale.is_overdue(session, at_s):
                self._stale.drop(session)  # it may have come
        for session, peer, due_s in self._stale.overdue_peers(at_s):
            others, may_be = self.tracker.has(session, peer, at_s, due_s)
            if others:
                self._stale.peer_excused(session, peer)
            elif not may_be:
                router = self.sessions.awaited[session].router
                touched.append((router, self._peer_down(router, peer)))
        for session, peer, due_s, paths in self._stale.overdue_paths(at_s):
            others, may_be = self.tracker.has(session, peer, at_s, due_s)
            router = self.sessions.awaited[session].router
            lost = []
            for prefix, key in paths:
                if self._is_ahead(prefix):
                    continue
                is_lost = all(self._stale.is_stale(other, prefix, key) for other in others)
                if is_lost and may_be:
                    continue
                self._stale.path_excused(session, prefix, key)
                if is_lost:
                    self.rib.withdraw(router, prefix, *key)
                    lost.append(prefix)
            if lost:
                touched.append((router, lost))
        return touched

    def apply(self, record: BmpRecord, at_s: float = 0.0) -> list[Touched]:
        """Apply one record of Kafka time `at_s`; return (router, prefixes touched) of each peer or path it touches.

        Records of sessions that are no router's are counted in `sessions.ignored`.
        """
        numbers = left_out(self.sessions.writers.get(record.writer_id), record.seq)
        if began_again(self.sessions.writers, record.writer_id, record.seq, at_s):
            self.tracker.end_all(record.writer_id)
            self._words.forget()
        elif numbers and not self._is_replay:
            self.sessions.missing = max(0, self.sessions.missing + numbers)
            self.sessions.steps_back += numbers < 0
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
        if record.is_route:
            peer = canonical(record.peer_ip)
            if self._words.path_is_outdated(record, peer):
                self.tracker.ignore(OUTDATED)
                return []
            self._route(router, record, peer, at_s)
            return [(router, [record.ip_prefix])]
        if record.is_of_peer("peer_up", "peer_down"):
            peer = canonical(record.peer_ip)
            if not self._words.peer_is_outdated(record, peer):
                return [(router, self._peer_changed(router, record, peer, at_s))]
            self.tracker.ignore(OUTDATED)
            if record.bmp_msg_type == "peer_down":
                self.tracker.is_torn(record)  # paths of before it may be there that did not come again
            return []
        if (rib := record.other_rib) is not None:
            unused = self.sessions.unused.setdefault(router, {})
            unused[rib] = unused.get(rib, 0) + 1
        return []

    def _peer_changed(self, router: str, record: BmpRecord, peer: str, at_s: float) -> list[str]:
        """Note that a peer went up or down; return the prefixes that it takes along."""
        if record.bmp_msg_type == "peer_up":
            self._peer_up(router, record, peer, at_s)
            return []
        self.tracker.reported(record, peer, is_up=False)
        return self._peer_down(router, peer)

    def _peer_up(self, router: str, record: BmpRecord, peer: str, at_s: float) -> None:
        if self.tracker.is_second(record, peer):
            first_s = self.tracker.first_s(router)
            self._stale.peer_is_new(router, record.session, peer, self.sessions.applied, at_s, first_s)
        self.tracker.reported(record, peer)
        self._stale.peer_up(record.session, peer, at_s)
        self.sessions.peers.setdefault(router, {})[peer] = record.peer_asn
        self.rib.peer_up(router, peer, self._asn_of(router, peer, record.peer_asn))

    def _peer_down(self, router: str, peer: str) -> list[str]:
        self._stale.peer_gone(router, peer)
        self.sessions.peers.get(router, {}).pop(peer, None)
        return self.rib.peer_down(router, peer, self._is_ahead if self._is_replay else None)

    def _route(self, router: str, record: BmpRecord, peer: str, at_s: float) -> None:
        self.tracker.reported(record, peer)
        self._stale.path_came(record.session, record.ip_prefix, (peer, record.as_path_id), at_s, self._is_replay)
        if self._is_ahead(record.ip_prefix):
            return
        if record.log_type == "update":
            if record.as_path_id and self._has_enough(record, router, peer):
                self.tracker.ignore(TOO_MANY)
                return
            path = to_path(record, self.pop.asn, self._is_ebgp(router, peer, record))
            self.rib.update(router, record.ip_prefix, path)
        else:
            self.rib.withdraw(router, record.ip_prefix, peer, record.as_path_id)

    @property
    def _is_replay(self) -> bool:
        return self.sessions.applied <= self.replay_until

    def _is_ahead(self, prefix: str) -> bool:
        """Whether the row of a prefix includes this record: its paths are those of later, and stay as they are."""
        return self._is_replay and self.included(prefix) >= self.sessions.applied

    def _has_enough(self, record: BmpRecord, router: str, peer: str) -> bool:
        """Whether a path would be one more than PATHS_MAX: a row must have room for all paths of a prefix."""
        of_peer = [
            number
            for each, number in self.rib.paths(router, record.ip_prefix)
            if each == peer and not self._stale.is_stale(record.session, record.ip_prefix, (each, number))
        ]
        return len(of_peer) >= PATHS_MAX and record.as_path_id not in of_peer

    def _is_ebgp(self, router: str, peer: str, record: BmpRecord) -> bool:
        """Whether a path is of an external neighbour; a peer of another member AS of our confederation is none."""
        asn, is_of_link = self.rib.peer_asn(router, peer), (router, peer) in self.pop.link_by_session
        if asn is None or is_of_link:
            return is_of_link if asn is None else asn != self.pop.asn
        return asn != self.pop.asn and not read_as_path(record.as_path).is_internal
