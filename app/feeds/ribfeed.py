"""From BMP records to the Rib of one PoP: which session is which router, which peers are up, which paths live."""

from collections.abc import Iterable, Sequence

import msgspec

from app.feeds.bmp import BmpRecord, to_path
from app.feeds.resync import Doubt, PathKey, Resync
from app.inventory import Pop
from app.te.model import Path
from app.te.rib import Rib


class Sessions(msgspec.Struct):
    """What the routes agent must remember besides the paths: its progress, BMP sessions and peers."""

    applied: int = -1
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

    def began(self, router: str) -> int:
        """The position of the beginning of a router's session; -1 before the first."""
        return self.sessions.began.get(router, -1)

    def restore(self, router: str, began: int, paths: Sequence[tuple[str, Path]], untold: Sequence[PathKey]) -> None:
        """Paths of a row that was written when the router's session had begun at `began`, with those in doubt then.

        A row of before that is all in doubt; of one of after that the beginning comes again, and tells anew.
        """
        for prefix, path in paths:
            self.rib.update(router, prefix, path)
        if router in self.sessions.doubts and began <= self.began(router):
            all_of_it = [(prefix, (path.peer, path.path_id)) for prefix, path in paths]
            self._resync.restore(router, untold if began == self.began(router) else all_of_it)

    def untold(self, router: str, paths: Iterable[tuple[str, Path]]) -> list[PathKey]:
        """Which of a router's paths are in doubt."""
        return self._resync.untold(router, ((prefix, (path.peer, path.path_id)) for prefix, path in paths))

    def router_of(self, record: BmpRecord) -> str | None:
        """The router behind a BMP session: by the name it gave at init, else by its address."""
        return self.sessions.routers.get(record.session) or self._by_address.get(record.bmp_router)

    def expire(self, at_s: float) -> list[tuple[str, list[str]]]:
        """Remove what sessions that began anew have not told again by now (the stream's time): (router, prefixes)."""
        touched = [(router, self._peer_down(router, peer)) for router, peer in self._resync.overdue_peers(at_s)]
        for router, paths in self._resync.overdue_paths(at_s):
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
        self._resync.path_told(router, (record.ip_prefix, (record.peer_ip, record.as_path_id)), at_s)
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
