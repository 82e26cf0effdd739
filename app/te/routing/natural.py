"""Natural routing: where plain BGP would send each prefix, and where else it could go.

Only eBGP-learned, post-policy paths count, then our own iBGP step. What routers learn by iBGP is distorted by our
overrides: an edge whose best path is one of them withdraws its own from the mesh.
"""

from collections.abc import Collection, Mapping

import msgspec

from app.config.inventory import Pop
from app.contract.schemas import Exit
from app.te.routing.bestpath import RouterPath, choose, equals
from app.te.routing.interning import PathSet
from app.te.routing.lpm import Table
from app.te.routing.lpm_overlay import TableCache
from app.te.routing.path import Path
from app.te.routing.rib import Rib

BLACKHOLE = "65535:666"
BARRED_COMMUNITIES = frozenset({"65535:0", "65535:6", BLACKHOLE})  # GRACEFUL_SHUTDOWN, LLGR_STALE


class Alternate(msgspec.Struct, frozen=True, gc=False):
    """A live eBGP path that an override may copy."""

    exit: Exit
    path: Path


class NaturalRoutes(msgspec.Struct, frozen=True, gc=False):
    """What natural routing says of prefixes; `path_set` are the paths of all kinds that it was computed from."""

    path_set: PathSet
    paths: tuple[RouterPath, ...]
    exits: dict[str, Exit]  # by ingress router, those whose best path leaves by a known link
    links: frozenset[str]  # links with a live path
    overridden: bool  # a router holds a route of ours
    blackholed: bool  # some router's best path is one
    tied: dict[str, frozenset[str]] = {}  # by ingress router that was asked for, the links of equal paths
    alternates: dict[int, tuple[Alternate, ...]] = {}  # by the Rib's `sessions`, when asked for


class NaturalRouting:
    """Answers from the Rib, computed once for all prefixes with the same paths, while these are asked for."""

    def __init__(self, pop: Pop, rib: Rib) -> None:
        self._pop = pop
        self.rib = rib
        self._marker = pop.marker_community
        self._places = {name: place for place, name in enumerate(pop.routers)}
        self._ours = {peer for router in pop.router for peer in (router.ibgp_address, router.injector.address)}
        self._version = -1
        self._known: dict[str, NaturalRoutes] = {}  # of this version
        # By the id of what is held, which is theirs while it is here: what is equal is one object of the Rib.
        self._fresh: dict[int, NaturalRoutes] = {}
        self._stale: dict[int, NaturalRoutes] = {}  # of the version before: most paths are still there
        self._exits: dict[tuple[str, str, str, int], Exit | None] = {}
        self._tables = TableCache()

    def routes(self, prefix: str) -> NaturalRoutes:
        """Everything about one prefix; empty where nobody holds a path for it."""
        if self._version != self.rib.version:
            self._version = self.rib.version
            self._known, self._stale, self._fresh = {}, self._fresh, {}
        if (routes := self._known.get(prefix)) is None:
            routes = self._known[prefix] = self._of(self.rib.path_set(prefix))
        return routes

    def natural_exit(self, ingress: str, prefix: str) -> Exit | None:
        """Where traffic that enters at `ingress` leaves by plain BGP; None without a path or by an unknown link."""
        return self.routes(prefix).exits.get(ingress)

    def may_leave(self, ingress: str, prefix: str, link: str) -> bool:
        """Whether plain BGP could use this link: the best path or, vendors breaking ties differently, an equal one."""
        routes = self.routes(prefix)
        if ingress not in routes.tied:
            tied = equals(routes.paths, self._pop.routers[ingress])
            routes.tied[ingress] = frozenset(one.exit.link for one in tied if one.exit is not None)
        return link in routes.tied[ingress]

    def origin_as(self, prefix: str) -> int | None:
        """The AS that originates the prefix, None where nobody holds a path or the path is our own."""
        return next((one.path.as_path[-1] for one in self.routes(prefix).paths if one.path.as_path), None)

    def exits(self, prefix: str, hidden: Collection[str] = ()) -> dict[str, Exit]:
        """Exits by router when the `hidden` ones follow an override and so show the mesh no path of theirs."""
        if not hidden:
            return self.routes(prefix).exits
        shown = [one for one in self.routes(prefix).paths if one.router not in hidden]
        return _exits(choose(shown, [router for router in self._pop.router if router.name not in hidden]))

    def alternates(self, prefix: str) -> tuple[Alternate, ...]:
        """Every live eBGP path of all routers that may be a target, ordered by (next hop, router, peer, path id)."""
        routes = self.routes(prefix)
        if (known := routes.alternates.get(self.rib.sessions)) is None:
            routes.alternates.clear()
            known = routes.alternates[self.rib.sessions] = self._alternates(routes)
        return known

    def _alternates(self, routes: NaturalRoutes) -> tuple[Alternate, ...]:
        found = [
            Alternate(one.exit, one.path)
            for one in routes.paths
            if one.exit is not None and self.barred(one.exit, one.path) is None
        ]
        return tuple(sorted(found, key=lambda a: (a.exit.next_hop, a.exit.router, a.exit.peer, a.exit.path_id)))

    def barred(self, egress: Exit, path: Path) -> str | None:
        """Why this path may not be a target, or None."""
        router = egress.router
        if (router, egress.next_hop) not in self._pop.link_by_next_hop:
            return "unknown-next-hop"
        if (router, egress.peer) not in self._pop.link_by_session:
            return "unknown-session"
        if self.rib.peer_asn(router, egress.peer) is None:
            return "session-down"
        if self._pop.links[egress.link].drain:
            return "drained"
        if self._pop.routers[router].exports_learned_routes:
            return "exports-learned-routes"
        return None if BARRED_COMMUNITIES.isdisjoint(path.communities) else "barred-community"

    def holders(self, prefix: str) -> frozenset[str]:
        """Routers that hold the prefix: by any path seen, or because the mesh would give it to them."""
        seen = (router for router, _ in self.rib.path_set(prefix))
        return frozenset(seen).union(self.routes(prefix).exits)

    def followers(self, prefix: str) -> frozenset[str]:
        """Routers that show a route of ours for this prefix."""
        return frozenset(router for router, path in self.rib.path_set(prefix) if self._marker in path.communities)

    def table(self) -> Table:
        """The table of every router as of now: in a full mesh each holds what any of them holds."""
        return self._tables.table(self.rib)

    def _of(self, path_set: PathSet) -> NaturalRoutes:
        if (routes := self._fresh.get(id(path_set))) is None:
            routes = self._fresh[id(path_set)] = self._stale.get(id(path_set)) or self._compute(path_set)
        return routes

    def _compute(self, path_set: PathSet) -> NaturalRoutes:
        known = sorted(path_set, key=self._place)
        ours = [path for _, path in known if self._marker in path.communities]
        paths = tuple(
            [
                RouterPath(router, path, self._exit(router, path))
                for router, path in known
                if path.ebgp and path.peer not in self._ours and not (ours and path in ours)
            ]
        )
        links = frozenset([one.exit.link for one in paths if one.exit is not None])
        best = choose(paths, self._pop.router)
        blackholed = any(BLACKHOLE in one.path.communities for one in best.values())
        return NaturalRoutes(path_set, paths, _exits(best), links, bool(ours), blackholed)

    def _place(self, one: tuple[str, Path]) -> int:
        return self._places[one[0]]

    def _exit(self, router: str, path: Path) -> Exit | None:
        """Its link by next hop, which tells the link even behind a route server; else by session."""
        key = router, path.peer, path.next_hop, path.path_id
        if key not in self._exits:
            by_next_hop = self._pop.link_by_next_hop.get((router, path.next_hop))
            link = by_next_hop or self._pop.link_by_session.get((router, path.peer))
            self._exits[key] = Exit(router, link, path.peer, path.next_hop, path.path_id) if link else None
        return self._exits[key]


def _exits(best: Mapping[str, RouterPath]) -> dict[str, Exit]:
    return {ingress: one.exit for ingress, one in best.items() if one.exit is not None}
