"""Natural routing: where plain BGP would send each prefix, and where else it could go.

It is computed from eBGP-learned, post-policy paths only, followed by a model of the iBGP mesh. What routers learn by
iBGP is distorted by our overrides: an edge router whose best path is an override withdraws its own path from the mesh.
"""

from collections.abc import Collection, Mapping

import msgspec

from app.config.forms import UINT16_MAX
from app.config.inventory import Pop
from app.contract.schemas import Exit
from app.te.routing.bestpath import RouterPath, choose, equals
from app.te.routing.interning import PathSet
from app.te.routing.lpm import Table
from app.te.routing.lpm_overlay import TableCache
from app.te.routing.path import BLACKHOLE, Path, as_path_refusal, unfit
from app.te.routing.rib import Rib

DEFAULT_LOCAL_PREF = 100  # of BGP, on routes of a session that the inventory lacks
AS_TRANS = 23456  # RFC 6793: what a router without 4-byte AS numbers reports for each of them


class Alternate(msgspec.Struct, frozen=True, gc=False):
    """A live eBGP path that an override may copy."""

    exit: Exit
    path: Path


class NaturalRoutes(msgspec.Struct, frozen=True, gc=False):
    """Natural routing of all prefixes with the same `path_set`: the paths of all kinds that it was computed from."""

    path_set: PathSet
    paths: tuple[RouterPath, ...]
    exits: dict[str, Exit]  # by ingress router; a router whose best path leaves by an unknown link is missing
    links: frozenset[str]  # links with a live path
    overridden: bool  # some router holds an override
    blackholed: bool  # some router's best path is a blackhole
    tied: dict[str, frozenset[str]] = {}  # cache by ingress router: the links of equally good paths
    alternates: dict[int, tuple[Alternate, ...]] = {}  # cache by the Rib's `sessions`


class NaturalRouting:
    """Natural routing of a PoP, always as of the current Rib. Prefixes with the same paths are computed only once."""

    def __init__(self, pop: Pop, rib: Rib) -> None:
        self._pop = pop
        self.rib = rib
        self._marker = pop.marker_community
        self._places = {name: place for place, name in enumerate(pop.routers)}
        self._internal = {peer for router in pop.router for peer in (router.ibgp_address, router.injector.address)}
        self._version = -1
        self._known: dict[str, NaturalRoutes] = {}  # by prefix, for this version
        # By the id of the path set: the Rib has one object for equal path sets, and NaturalRoutes keeps it alive.
        self._fresh: dict[int, NaturalRoutes] = {}
        self._stale: dict[int, NaturalRoutes] = {}  # of the version before: most path sets are still in use
        self._exits: dict[tuple[str, str, str, int], Exit | None] = {}
        self._tables = TableCache()

    def with_pop(self, pop: Pop) -> "NaturalRouting":
        """Natural routing of the same Rib with another inventory; the prefix table, which knows none, is shared."""
        other = NaturalRouting(pop, self.rib)
        other._tables = self._tables
        return other

    def routes(self, prefix: str) -> NaturalRoutes:
        """Natural routing of one prefix; empty if no router holds a path for it."""
        if self._version != self.rib.version:
            self._version = self.rib.version
            self._known, self._stale, self._fresh = {}, self._fresh, {}
        if (routes := self._known.get(prefix)) is None:
            routes = self._known[prefix] = self._of(self.rib.path_set(prefix))
        return routes

    def natural_exit(self, ingress: str, prefix: str) -> Exit | None:
        """The exit by plain BGP of traffic that enters at `ingress`; None without a path or if the link is unknown."""
        return self.routes(prefix).exits.get(ingress)

    def may_leave(self, ingress: str, prefix: str, link: str) -> bool:
        """Whether plain BGP could use this link: it has the best path, or one that is equal but for the tie-breaker.

        Vendors break ties differently.
        """
        routes = self.routes(prefix)
        if ingress not in routes.tied:
            tied = equals(routes.paths, self._pop.routers[ingress])
            routes.tied[ingress] = frozenset(candidate.exit.link for candidate in tied if candidate.exit is not None)
        return link in routes.tied[ingress]

    def origin_as(self, prefix: str) -> int | None:
        """The AS that originates the prefix; None if no router holds a path, or if all paths are our own."""
        return next((known.path.as_path[-1] for known in self.routes(prefix).paths if known.path.as_path), None)

    def exits(self, prefix: str, hidden: Collection[str] = ()) -> dict[str, Exit]:
        """The exit of each router, while the `hidden` routers follow an override and announce no path to the mesh."""
        if not hidden:
            return self.routes(prefix).exits
        shown = [candidate for candidate in self.routes(prefix).paths if candidate.router not in hidden]
        return _exits(choose(shown, [router for router in self._pop.router if router.name not in hidden]))

    def alternates(self, prefix: str) -> tuple[Alternate, ...]:
        """All live eBGP paths that an override may copy, ordered by (next hop, router, peer, path id)."""
        routes = self.routes(prefix)
        if (known := routes.alternates.get(self.rib.sessions)) is None:
            routes.alternates.clear()
            known = routes.alternates[self.rib.sessions] = self._alternates(routes)
        return known

    def _alternates(self, routes: NaturalRoutes) -> tuple[Alternate, ...]:
        alternates = [
            Alternate(candidate.exit, candidate.path)
            for candidate in routes.paths
            if candidate.exit is not None and self.barred(candidate.exit, candidate.path) is None
        ]
        return tuple(sorted(alternates, key=lambda a: (a.exit.next_hop, a.exit.router, a.exit.peer, a.exit.path_id)))

    def barred(self, egress: Exit, path: Path) -> str | None:
        """The reason code why an override may not copy this path; None if it may."""
        router = egress.router
        if (router, egress.next_hop) not in self._pop.link_by_next_hop:
            return "unknown-next-hop"
        if (router, egress.peer) not in self._pop.link_by_session:
            return "unknown-session"
        if not self._pop.leads_out(router, egress.peer, egress.next_hop):
            return "next-hop-not-of-session"
        if (asn := self.rib.peer_asn(router, egress.peer)) is None:
            return "session-down"
        if is_wrong_as(asn, self._pop.asn_by_session[router, egress.peer]):
            return "wrong-as"
        if self._pop.links[egress.link].drain:
            return "drained"
        if self._pop.routers[router].exports_learned_routes:
            return "exports-learned-routes"
        return unfit(path) or as_path_refusal(path.as_path, self._pop.asn)

    def holders(self, prefix: str) -> frozenset[str]:
        """The routers that hold the prefix: they report a path for it, or the mesh would give them one."""
        seen = (router for router, _ in self.rib.path_set(prefix))
        return frozenset(seen).union(self.routes(prefix).exits)

    def followers(self, prefix: str) -> frozenset[str]:
        """The routers that report one of our overrides for this prefix."""
        return frozenset(router for router, path in self.rib.path_set(prefix) if self._marker in path.communities)

    def table(self) -> Table:
        """The current prefix table. One serves all routers: in a full mesh each holds what any of them holds."""
        return self._tables.table(self.rib)

    def _of(self, path_set: PathSet) -> NaturalRoutes:
        if (routes := self._fresh.get(id(path_set))) is None:
            routes = self._fresh[id(path_set)] = self._stale.get(id(path_set)) or self._compute(path_set)
        return routes

    def _compute(self, path_set: PathSet) -> NaturalRoutes:
        known = sorted(path_set, key=self._place)
        overrides = [path for _, path in known if self._marker in path.communities]
        paths = tuple(
            [
                RouterPath(router, path, self._exit(router, path), self._local_pref(router, path))
                for router, path in known
                if path.ebgp and path.peer not in self._internal and not (overrides and path in overrides)
            ]
        )
        links = frozenset([candidate.exit.link for candidate in paths if candidate.exit is not None])
        best = choose(paths, self._pop.router)
        blackholed = any(BLACKHOLE in candidate.path.communities for candidate in best.values())
        return NaturalRoutes(path_set, paths, _exits(best), links, bool(overrides), blackholed)

    def _place(self, entry: tuple[str, Path]) -> int:
        return self._places[entry[0]]

    def _local_pref(self, router: str, path: Path) -> int:
        """The local-pref of a path; what the import policy sets by the inventory, if BMP has none; else BGP's 100."""
        if path.local_pref is not None:
            return path.local_pref
        link = self._pop.link_by_session.get((router, path.peer))
        return self._pop.links[link].local_pref if link else DEFAULT_LOCAL_PREF

    def _exit(self, router: str, path: Path) -> Exit | None:
        """The exit of a path. Its next hop identifies the link, even behind a route server; else its session does."""
        key = router, path.peer, path.next_hop, path.path_id
        if key not in self._exits:
            by_next_hop = self._pop.link_by_next_hop.get((router, path.next_hop))
            link = by_next_hop or self._pop.link_by_session.get((router, path.peer))
            self._exits[key] = Exit(router, link, path.peer, path.next_hop, path.path_id) if link else None
        return self._exits[key]


def is_wrong_as(asn: int, expected: int) -> bool:
    """Whether a neighbour's AS number in BMP contradicts the inventory: somebody else is there than it says."""
    return asn != expected and not (asn == AS_TRANS and expected > UINT16_MAX)


def _exits(best: Mapping[str, RouterPath]) -> dict[str, Exit]:
    return {ingress: candidate.exit for ingress, candidate in best.items() if candidate.exit is not None}
