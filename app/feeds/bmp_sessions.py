"""From BMP records to the Rib of one PoP: which session is which router, which peers are up, which paths live."""

from collections.abc import Iterable, Mapping

import msgspec

from app.config.inventory import Pop
from app.feeds.bmp import BmpRecord, to_path
from app.feeds.stale_paths import StalePaths, Unrefreshed
from app.te.routing.interning import PathSet
from app.te.routing.rib import Rib

StalePlaces = tuple[str, list[int]]  # some of the paths that are held for a prefix


class Sessions(msgspec.Struct):
    """What the routes agent must remember besides the paths: its progress, BMP sessions and peers."""

    applied: int = -1
    first_flush: int = 1  # rows of these flushes are in the changelog, though ahead of `applied` (tables/rib.py)
    flush: int = 0
    routers: dict[str, str] = msgspec.field(default_factory=dict)
    peers: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    began: dict[str, int] = msgspec.field(default_factory=dict)  # router -> position of its last beginning
    unrefreshed: dict[str, Unrefreshed] = msgspec.field(default_factory=dict, name="doubts")
    records: int = 0
    ignored: dict[str, int] = msgspec.field(default_factory=dict)


class RibFeed:
    """Applies BMP records of one PoP to a Rib, and returns which prefixes of which router changed."""

    def __init__(self, pop: Pop, rib: Rib, sessions: Sessions | None = None) -> None:
        self.pop = pop
        self.rib = rib
        self.sessions = sessions or Sessions()
        self._forget_strangers()
        self.replay_until = -1  # records up to this position are replayed, because some rows have them
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
        """Sessions of routers that the inventory has no longer."""
        known, sessions = self.pop.routers, self.sessions
        sessions.routers = {session: name for session, name in sessions.routers.items() if name in known}
        for by_router in (sessions.peers, sessions.began, sessions.unrefreshed):
            for router in by_router.keys() - known.keys():
                del by_router[router]

    def began(self, router: str) -> int:
        """The position of the beginning of a router's session; -1 before the first."""
        return self.sessions.began.get(router, -1)

    def restore(self, began: Mapping[str, int], prefixes: Mapping[str, PathSet], stale: Iterable[StalePlaces]) -> None:
        """Which paths of a row are stale; it was written when the routers' sessions had begun at `began`.

        All paths from before the last beginning are stale. Where the row is ahead, the beginning itself is replayed.
        """
        for router in self.sessions.unrefreshed:
            if began.get(router, -1) < self.began(router):
                self._mark_stale(
                    router, ((prefix, range(len(path_set))) for prefix, path_set in prefixes.items()), prefixes
                )
            elif began.get(router, -1) == self.began(router):
                self._mark_stale(router, stale, prefixes)

    def restored(self) -> None:
        """Call after all rows. Drops the paths of routers that left the inventory: nobody would withdraw them."""
        for router in self.rib.routers() - self.pop.routers.keys():
            for peer in {peer for peer, _ in self.rib.by_peer(router)}:
                self.rib.peer_down(router, peer)

    def _mark_stale(
        self, router: str, some: Iterable[tuple[str, Iterable[int]]], prefixes: Mapping[str, PathSet]
    ) -> None:
        for prefix, places in some:
            for name, path in map(prefixes[prefix].__getitem__, places):
                if name == router:
                    self._stale.restore(router, prefix, (path.peer, path.path_id))

    def stale(self, prefixes: Mapping[str, PathSet]) -> list[StalePlaces]:
        """Which paths are stale."""
        if not self.sessions.unrefreshed:
            return []
        found = [(prefix, list(self._stale_places(prefix, path_set))) for prefix, path_set in prefixes.items()]
        return [(prefix, places) for prefix, places in found if places]

    def _stale_places(self, prefix: str, path_set: PathSet) -> Iterable[int]:
        for place, (router, path) in enumerate(path_set):
            if self._stale.is_stale(router, prefix, (path.peer, path.path_id)):
                yield place

    def router_of(self, record: BmpRecord) -> str | None:
        """The router behind a BMP session: by the name it gave at init, else by its address."""
        return self.sessions.routers.get(record.session) or self._by_address.get(record.bmp_router)

    def expire(self, at_s: float) -> list[tuple[str, list[str]]]:
        """Remove what was not refreshed in time after a session began again (the stream's time): (router, prefixes)."""
        touched = [(router, self._peer_down(router, peer)) for router, peer in self._stale.overdue_peers(at_s)]
        for router, by_peer in self._stale.overdue_paths(at_s):
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
        """What the router's import policy gives this peer's paths; 100, the default of BGP, where it is not ours."""
        link = self.pop.link_by_session.get((router, peer))
        return self.pop.links[link].local_pref if link else 100

    def _is_ebgp(self, router: str, peer: str) -> bool:
        asn = self.rib.peer_asn(router, peer)
        return asn != self.pop.asn if asn is not None else (router, peer) in self.pop.link_by_session

    def _ignore(self, reason: str) -> None:
        self.sessions.ignored[reason] = self.sessions.ignored.get(reason, 0) + 1
