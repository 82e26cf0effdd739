"""From BMP records to the Rib of one PoP: which session is which router, which peers are up, which paths live."""

from collections.abc import Iterable, Mapping

import msgspec

from app.config.inventory import Pop
from app.feeds.bmp import BmpRecord, to_path
from app.feeds.stale_paths import Doubt, Resync
from app.te.routing.interning import PathSet
from app.te.routing.rib import Rib

Places = tuple[str, list[int]]  # some of the paths that are held for a prefix


class Sessions(msgspec.Struct):
    """What the routes agent must remember besides the paths: its progress, BMP sessions and peers."""

    applied: int = -1
    first_flush: int = 1  # rows of these flushes are in the changelog, though ahead of `applied` (tables/rib.py)
    flush: int = 0
    routers: dict[str, str] = msgspec.field(default_factory=dict)
    peers: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    began: dict[str, int] = msgspec.field(default_factory=dict)  # router -> position of its last beginning
    doubts: dict[str, Doubt] = msgspec.field(default_factory=dict)
    records: int = 0
    ignored: dict[str, int] = msgspec.field(default_factory=dict)


class RibFeed:
    """Applies BMP records of one PoP to a Rib and tells which prefixes of which router changed."""

    def __init__(self, pop: Pop, rib: Rib, sessions: Sessions | None = None) -> None:
        self.pop = pop
        self.rib = rib
        self.sessions = sessions or Sessions()
        self._forget_strangers()
        self.replay_until = -1  # records up to this position come again, for some rows have them
        self._resync = Resync(rib, self.sessions.doubts)
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
        """Sessions of routers that the inventory has no longer."""
        known, sessions = self.pop.routers, self.sessions
        sessions.routers = {session: name for session, name in sessions.routers.items() if name in known}
        for by_router in (sessions.peers, sessions.began, sessions.doubts):
            for router in by_router.keys() - known.keys():
                del by_router[router]

    def began(self, router: str) -> int:
        """The position of the beginning of a router's session; -1 before the first."""
        return self.sessions.began.get(router, -1)

    def restore(self, began: Mapping[str, int], prefixes: Mapping[str, PathSet], untold: Iterable[Places]) -> None:
        """Doubts of a row that was written when the routers' sessions had begun at `began`.

        What is of before a beginning is all in doubt; of what is of after it the beginning comes again, and tells anew.
        """
        for router in self.sessions.doubts:
            if began.get(router, -1) < self.began(router):
                self._doubt(router, ((prefix, range(len(path_set))) for prefix, path_set in prefixes.items()), prefixes)
            elif began.get(router, -1) == self.began(router):
                self._doubt(router, untold, prefixes)

    def restored(self) -> None:
        """All rows were: of routers that the inventory has no longer nobody would take paths back."""
        for router in self.rib.routers() - self.pop.routers.keys():
            for peer in {peer for peer, _ in self.rib.by_peer(router)}:
                self.rib.peer_down(router, peer)

    def _doubt(self, router: str, some: Iterable[tuple[str, Iterable[int]]], prefixes: Mapping[str, PathSet]) -> None:
        for prefix, places in some:
            for name, path in map(prefixes[prefix].__getitem__, places):
                if name == router:
                    self._resync.restore(router, prefix, (path.peer, path.path_id))

    def untold(self, prefixes: Mapping[str, PathSet]) -> list[Places]:
        """Which paths are in doubt."""
        if not self.sessions.doubts:
            return []
        found = [(prefix, list(self._untold(prefix, path_set))) for prefix, path_set in prefixes.items()]
        return [(prefix, places) for prefix, places in found if places]

    def _untold(self, prefix: str, path_set: PathSet) -> Iterable[int]:
        for place, (router, path) in enumerate(path_set):
            if self._resync.is_untold(router, prefix, (path.peer, path.path_id)):
                yield place

    def router_of(self, record: BmpRecord) -> str | None:
        """The router behind a BMP session: by the name it gave at init, else by its address."""
        return self.sessions.routers.get(record.session) or self._by_address.get(record.bmp_router)

    def expire(self, at_s: float) -> list[tuple[str, list[str]]]:
        """Remove what sessions that began anew have not told again by now (the stream's time): (router, prefixes)."""
        touched = [(router, self._peer_down(router, peer)) for router, peer in self._resync.overdue_peers(at_s)]
        for router, by_peer in self._resync.overdue_paths(at_s):
            paths = [(prefix, key) for key, prefixes in by_peer.items() for prefix in prefixes]
            for prefix, key in paths:
                self.rib.withdraw(router, prefix, *key)
            touched.append((router, [prefix for prefix, _ in paths]))
        return touched

    def apply(self, record: BmpRecord, at_s: float = 0.0) -> tuple[str, list[str]] | None:
        """Apply one record of Kafka time `at_s`; (router, prefixes touched), None where it is not for us (counted)."""
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
        self._resync.router_began(router, at_s)

    def _peer_up(self, router: str, record: BmpRecord) -> tuple[str, list[str]]:
        asn = record.peer_asn or self.pop.asn
        self._resync.peer_told(router, record.peer_ip)
        self.sessions.peers.setdefault(router, {})[record.peer_ip] = asn
        self.rib.peer_up(router, record.peer_ip, asn)
        return router, []

    def _peer_down(self, router: str, peer: str) -> list[str]:
        self._resync.peer_gone(router, peer)
        self.sessions.peers.get(router, {}).pop(peer, None)
        return self.rib.peer_down(router, peer)

    def _route(self, router: str, record: BmpRecord, at_s: float) -> tuple[str, list[str]]:
        is_replay = self.sessions.applied <= self.replay_until
        self._resync.path_told(router, record.ip_prefix, (record.peer_ip, record.as_path_id), at_s, is_replay)
        if record.log_type == "update":
            ebgp = self._is_ebgp(router, record.peer_ip)
            path = to_path(record, self.pop.asn, ebgp, self._local_pref(router, record.peer_ip))
            self.rib.update(router, record.ip_prefix, path)
        else:
            self.rib.withdraw(router, record.ip_prefix, record.peer_ip, record.as_path_id)
        return router, [record.ip_prefix]

    def _local_pref(self, router: str, peer: str) -> int:
        """What the router's import policy gives this peer's paths; 100, the default of BGP, where it is not ours."""
        link = self.pop.link_by_session.get((router, peer))
        return self.pop.links[link].local_pref if link else 100

    def _is_ebgp(self, router: str, peer: str) -> bool:
        asn = self.rib.peer_asn(router, peer)
        return asn != self.pop.asn if asn is not None else (router, peer) in self.pop.link_by_session

    def _ignore(self, reason: str) -> None:
        self.sessions.ignored[reason] = self.sessions.ignored.get(reason, 0) + 1
