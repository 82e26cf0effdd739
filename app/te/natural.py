"""Natural routing: where plain BGP would send each prefix, and where else it could go.

Only eBGP-learned, post-policy paths count, then our own iBGP step. What routers learn by iBGP is distorted by our
overrides: an edge whose best path is one of them withdraws its own from the mesh.
"""

from collections.abc import Collection, Mapping

import msgspec

from app.inventory import Pop
from app.schemas import Exit
from app.te.bestpath import RouterPath, choose
from app.te.model import Path
from app.te.prefixes import PrefixTable, TableCache
from app.te.rib import Rib

BLACKHOLE = "65535:666"
BARRED_COMMUNITIES = frozenset({"65535:0", "65535:6", BLACKHOLE})  # GRACEFUL_SHUTDOWN, LLGR_STALE


class Alternate(msgspec.Struct, frozen=True):
    """A live eBGP path that an override may copy."""

    exit: Exit
    path: Path


class Routes(msgspec.Struct, frozen=True):
    """What natural routing says of one prefix."""

    paths: tuple[RouterPath, ...]
    exits: dict[str, Exit]  # by ingress router, those whose best path leaves by a known link
    links: frozenset[str]  # links with a live path
    overridden: bool  # a router holds a route of ours
    blackholed: bool  # some router's best path is one


class NaturalRouting:
    """Answers from the Rib, computed once per prefix and version of it."""

    def __init__(self, pop: Pop, rib: Rib) -> None:
        self._pop = pop
        self.rib = rib
        self._marker = pop.marker_community
        self._ours = {peer for router in pop.router for peer in (router.ibgp_address, router.injector.address)}
        self._version = -1
        self._routes: dict[str, Routes] = {}
        self._tables = TableCache()

    def routes(self, prefix: str) -> Routes:
        """Everything about one prefix; empty where nobody holds a path for it."""
        if self._version != self.rib.version:
            self._version = self.rib.version
            self._routes.clear()
        if (known := self._routes.get(prefix)) is None:
            known = self._routes[prefix] = self._compute(prefix)
        return known

    def natural_exit(self, ingress: str, prefix: str) -> Exit | None:
        """Where traffic that enters at `ingress` leaves by plain BGP; None without a path or by an unknown link."""
        return self.routes(prefix).exits.get(ingress)

    def exits(self, prefix: str, hidden: Collection[str] = ()) -> dict[str, Exit]:
        """Exits by router when the `hidden` ones follow an override and so show the mesh no path of theirs."""
        if not hidden:
            return self.routes(prefix).exits
        shown = [one for one in self.routes(prefix).paths if one.router not in hidden]
        return _exits(choose(shown, [router for router in self._pop.router if router.name not in hidden]))

    def alternates(self, prefix: str) -> tuple[Alternate, ...]:
        """Every live eBGP path of all routers that may be a target, ordered by (next hop, router, peer, path id)."""
        found = [
            Alternate(_exit(one, one.link), one.path)
            for one in self.routes(prefix).paths
            if one.link is not None and self._eligible(one, one.link)
        ]
        return tuple(sorted(found, key=lambda a: (a.exit.next_hop, a.exit.router, a.exit.peer, a.exit.path_id)))

    def holders(self, prefix: str) -> frozenset[str]:
        """Routers that hold the prefix: by any path seen, or because the mesh would give it to them."""
        seen = (name for name in self._pop.routers if self.rib.paths(name, prefix))
        return frozenset(seen).union(self.routes(prefix).exits)

    def table(self, ingress: str) -> PrefixTable:
        """The natural table of a router. In a full mesh every router holds what one of them learned."""
        assert ingress in self._pop.routers, f"no router {ingress}"
        if self._tables.is_current(self.rib.version):
            return self._tables.table(self.rib.version, ())
        names = {prefix for router in self._pop.routers for prefix in self.rib.prefixes(router)}
        return self._tables.table(self.rib.version, (name for name in names if self.routes(name).paths))

    def _compute(self, prefix: str) -> Routes:
        paths: list[RouterPath] = []
        overridden = False
        for router in self._pop.routers:
            for path in self.rib.paths(router, prefix).values():
                if self._marker in path.communities:
                    overridden = True
                elif path.ebgp and path.peer not in self._ours:
                    paths.append(RouterPath(router, path, self._link(router, path)))
        links = frozenset([one.link for one in paths if one.link is not None])
        best = choose(paths, self._pop.router)
        blackholed = any(BLACKHOLE in one.path.communities for one in best.values())
        return Routes(tuple(paths), _exits(best), links, overridden, blackholed)

    def _link(self, router: str, path: Path) -> str | None:
        """By next hop, which tells the link even behind a route server; else by session."""
        by_next_hop = self._pop.link_by_next_hop.get((router, path.next_hop))
        return by_next_hop or self._pop.link_by_session.get((router, path.peer))

    def _eligible(self, candidate: RouterPath, link: str) -> bool:
        router, path, _ = candidate
        return (
            (router, path.next_hop) in self._pop.link_by_next_hop
            and (router, path.peer) in self._pop.link_by_session
            and self.rib.peer_asn(router, path.peer) is not None
            and not self._pop.links[link].drain
            and not self._pop.routers[router].exports_learned_routes
            and BARRED_COMMUNITIES.isdisjoint(path.communities)
        )


def _exits(best: Mapping[str, RouterPath]) -> dict[str, Exit]:
    return {ingress: _exit(one, one.link) for ingress, one in best.items() if one.link is not None}


def _exit(candidate: RouterPath, link: str) -> Exit:
    return Exit(candidate.router, link, candidate.path.peer, candidate.path.next_hop, candidate.path.path_id)
