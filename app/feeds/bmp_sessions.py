"""From BMP records to the Rib of one PoP: which session is which router, which peers are up, which paths are live."""

from collections.abc import Iterable, Mapping

import msgspec

from app.config.inventory import Pop
from app.feeds.bmp import BmpRecord, to_path
from app.feeds.stale_paths import StalePaths, Unrefreshed
from app.te.routing.interning import PathSet
from app.te.routing.rib import Rib

StalePlaces = tuple[str, list[int]]  # (prefix, places of its stale paths in its path set)


class Sessions(msgspec.Struct):
    """What the routes agent must remember besides the paths: its progress, BMP sessions and peers."""

    applied: int = -1
    first_flush: int = 1  # rows of flushes `first_flush` to `flush` may be ahead of `applied` (tables/rib.py)
    flush: int = 0
    routers: dict[str, str] = msgspec.field(default_factory=dict)  # BMP session -> router
    peers: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)  # router -> peers that are up, with their AS
    began: dict[str, int] = msgspec.field(default_factory=dict)  # router -> position where its last session began
    unrefreshed: dict[str, Unrefreshed] = msgspec.field(default_factory=dict, name="doubts")
    records: int = 0
    ignored: dict[str, int] = msgspec.field(default_factory=dict)


class RibFeed:
    """Applies the BMP records of one PoP to a Rib, and returns which prefixes of which router changed."""

    def __init__(self, pop: Pop, rib: Rib, sessions: Sessions | None = None) -> None:
        self.pop = pop
        self.rib = rib
        self.sessions = sessions or Sessions()
        self._forget_strangers()
        self.replay_until = -1  # records up to this position are replayed, because some rows already include them
        self._stale = StalePaths(rib, self.sessions.unrefreshed)
        self._by_sysname = {router.bmp_sysname: router.name for router in pop.router}
        self._by_address = {
            address: router.name
            for router in pop.router
            for address in (router.ibgp_address, router.agent_address, router.loopback4, router.loopback6)
        }
        for router, peers in self.sessions.peers.items():
            for peer, asn in peers.items():
                rib.peer_up(router, peer, asn)

    def _forget_strangers(self) -> None:
        """Forget sessions and peers of routers that are not in the inventory any more."""
        known, sessions = self.pop.routers, self.sessions
        sessions.routers = {session: name for session, name in sessions.routers.items() if name in known}
        for by_router in (sessions.peers, sessions.began, sessions.unrefreshed):
            for router in by_router.keys() - known.keys():
                del by_router[router]

    def began(self, router: str) -> int:
        """The stream position where a router's current BMP session began; -1 if it had none yet."""
        return self.sessions.began.get(router, -1)

    def restore(self, began: Mapping[str, int], prefixes: Mapping[str, PathSet], stale: Iterable[StalePlaces]) -> None:
        """Mark the stale paths of a restored row.

        `began` are the beginnings of the routers' sessions when the row was written, `stale` its paths that were stale
        then. If a router's session began later than that, all its paths in the row are stale. If the row is ahead, the
        beginning is replayed, and marks them.
        """
        for router in self.sessions.unrefreshed:
            if began.get(router, -1) < self.began(router):
                self._mark_stale(
                    router, ((prefix, range(len(path_set))) for prefix, path_set in prefixes.items()), prefixes
                )
            elif began.get(router, -1) == self.began(router):
                self._mark_stale(router, stale, prefixes)

    def restored(self) -> None:
        """Drop paths of routers that left the inventory: no record would withdraw them. Call this after all rows."""
        for router in self.rib.routers() - self.pop.routers.keys():
            for peer in {peer for peer, _ in self.rib.by_peer(router)}:
                self.rib.peer_down(router, peer)

    def _mark_stale(
        self, router: str, stale: Iterable[tuple[str, Iterable[int]]], prefixes: Mapping[str, PathSet]
    ) -> None:
        for prefix, places in stale:
            for name, path in map(prefixes[prefix].__getitem__, places):
                if name == router:
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

    def router_of(self, record: BmpRecord) -> str | None:
        """The router of a record's BMP session: by the sysName in its init message, else by its address; else None."""
        return self.sessions.routers.get(record.session) or self._by_address.get(record.bmp_router)

    def expire(self, at_s: float) -> list[tuple[str, list[str]]]:
        """Remove peers and paths that were not refreshed in time after a BMP session began again.

        `at_s` is the stream's time. Returns (router, changed prefixes).
        """
        touched = [(router, self._peer_down(router, peer)) for router, peer in self._stale.overdue_peers(at_s)]
        for router, by_peer in self._stale.overdue_paths(at_s):
            paths = [(prefix, key) for key, prefixes in by_peer.items() for prefix in prefixes]
            for prefix, key in paths:
                self.rib.withdraw(router, prefix, *key)
            touched.append((router, [prefix for prefix, _ in paths]))
        return touched

    def apply(self, record: BmpRecord, at_s: float = 0.0) -> tuple[str, list[str]] | None:
        """Apply one record of Kafka time `at_s`; return (router, prefixes touched), None if it touches no peer or path.

        Records of unknown routers are counted in `sessions.ignored`.
        """
        router = self.router_of(record)
        match record.bmp_msg_type:
            case "":
                pass  # log_init and log_close of pmbmpd itself
            case "init":
                self._init(record, at_s)
            case _ if router is None:
                self._ignore("unknown-router")
            case "peer_up":
                return self._peer_up(router, record)
            case "peer_down":
                return router, self._peer_down(router, record.peer_ip)
            case _ if record.is_route:
                return self._route(router, record, at_s)
        return None

    def _init(self, record: BmpRecord, at_s: float) -> None:
        router = self._by_sysname.get(record.bmp_init_info_sysname)
        if router is None:
            self._ignore("unknown-sysname")
            return
        live = {session: name for session, name in self.sessions.routers.items() if name != router}
        self.sessions.routers = live | {record.session: router}
        self.sessions.began[router] = self.sessions.applied
        self._stale.router_began(router, at_s)

    def _peer_up(self, router: str, record: BmpRecord) -> tuple[str, list[str]]:
        asn = record.peer_asn or self.pop.asn
        self._stale.peer_refreshed(router, record.peer_ip)
        self.sessions.peers.setdefault(router, {})[record.peer_ip] = asn
        self.rib.peer_up(router, record.peer_ip, asn)
        return router, []

    def _peer_down(self, router: str, peer: str) -> list[str]:
        self._stale.peer_gone(router, peer)
        self.sessions.peers.get(router, {}).pop(peer, None)
        return self.rib.peer_down(router, peer)

    def _route(self, router: str, record: BmpRecord, at_s: float) -> tuple[str, list[str]]:
        is_replay = self.sessions.applied <= self.replay_until
        self._stale.path_refreshed(router, record.ip_prefix, (record.peer_ip, record.as_path_id), at_s, is_replay)
        if record.log_type == "update":
            ebgp = self._is_ebgp(router, record.peer_ip)
            path = to_path(record, self.pop.asn, ebgp, self._local_pref(router, record.peer_ip))
            self.rib.update(router, record.ip_prefix, path)
        else:
            self.rib.withdraw(router, record.ip_prefix, record.peer_ip, record.as_path_id)
        return router, [record.ip_prefix]

    def _local_pref(self, router: str, peer: str) -> int:
        """The local-pref that the router's import policy gives to paths of a peer; 100 (the BGP default) if unknown."""
        link = self.pop.link_by_session.get((router, peer))
        return self.pop.links[link].local_pref if link else 100

    def _is_ebgp(self, router: str, peer: str) -> bool:
        asn = self.rib.peer_asn(router, peer)
        return asn != self.pop.asn if asn is not None else (router, peer) in self.pop.link_by_session

    def _ignore(self, reason: str) -> None:
        self.sessions.ignored[reason] = self.sessions.ignored.get(reason, 0) + 1
