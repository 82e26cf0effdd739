"""What the neighbours announce, and so what may be moved where: an oracle that knows nothing of our guards."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from app.config.inventory import Pop
from app.contract.schemas import Exit
from app.lab.pop.model import Announcement
from app.te.routing.path import Path
from app.te.routing.rib import Rib

ORIGIN_ASN = 65010
# Each is announced by about two thirds of the neighbours.
MOVABLE = (*(f"20.0.{third}.0/24" for third in range(100)), *(f"2001:db8:20{third:02x}::/48" for third in range(12)))
NESTED = ("20.0.0.0/16", "20.4.0.0/22", "20.4.1.0/24")  # they cover others, or are covered
# Announced, and never to be moved: default routes, a part of our own prefix, a bogon, a prefix that others filter.
NEVER = ("0.0.0.0/0", "::/0", "198.18.7.0/24", "10.1.0.0/16", "20.9.0.0/25")
TOO_LONG = "20.8.0.0/24"  # announced with an AS path of 100 numbers


class Move(NamedTuple):
    """A path that an override may copy, and the exit over it."""

    exit: Exit
    route: Announcement


class Truth:
    """What each neighbour announces, by its address."""

    def __init__(self, pop: Pop) -> None:
        self.announced = {
            session.peer: list(_announced(session.peer, session.asn, session.next_hops))
            for link in pop.link
            for session in link.sessions
        }
        self._pop = pop
        self.moves = list(self._moves())
        self._paths: dict[tuple[str, str], set[tuple[str, tuple[int, ...]]]] = {}  # by (router, prefix)
        for move in self.moves:
            copied = move.route.next_hop, move.route.as_path
            self._paths.setdefault((move.exit.router, move.route.prefix), set()).add(copied)

    def may_hold(self, router: str, prefix: str, next_hop: str, as_path: tuple[int, ...] | None = None) -> bool:
        """Whether a router may have this route from its injector; without `as_path`, whatever that is.

        It copies what a neighbour of the router announces, or leads to another router that has such a neighbour.
        """
        exit_router = self._pop.router_by_loopback.get(next_hop)
        if exit_router == router:
            return False
        return any(
            as_path in (None, copied_path) and (exit_router is not None or next_hop == copied_hop)
            for copied_hop, copied_path in self._paths.get((exit_router or router, prefix), ())
        )

    def fill(self, rib: Rib) -> None:
        """Put all of it into the Rib, as BMP would, with every session up."""
        for router in self._pop.router:
            rib.peer_up(router.name, router.injector.address, self._pop.asn)
        for link in self._pop.link:
            for session in link.sessions:
                rib.peer_up(link.router, session.peer, session.asn)
                for route in self.announced[session.peer]:
                    path = Path(session.peer, route.next_hop, route.as_path, med=route.med, local_pref=link.local_pref)
                    rib.update(link.router, route.prefix, path)

    def fill_with_lies(self, rib: Rib) -> None:
        """Let every neighbour have the paths of all others, too: most of them are none."""
        for link in self._pop.link:
            for session in link.sessions:
                hops = {":" in hop: hop for hop in session.next_hops}
                for prefix in (*MOVABLE, *NESTED):
                    path = Path(
                        session.peer, hops[":" in prefix], (session.asn, ORIGIN_ASN), local_pref=link.local_pref
                    )
                    rib.update(link.router, prefix, path)

    def _moves(self) -> Iterator[Move]:
        for link in self._pop.link:
            for session in link.sessions:
                for route in self.announced[session.peer]:
                    if route.prefix not in (*NEVER, TOO_LONG):
                        yield Move(Exit(link.router, self._pop.link_id(link), session.peer, route.next_hop), route)


def _announced(peer: str, asn: int, next_hops: tuple[str, ...]) -> Iterator[Announcement]:
    hops = {4: next_hops[0], 6: next_hops[1]}
    rng = random.Random(peer)
    for prefix in (*MOVABLE, *NESTED):
        if rng.random() < 2 / 3:
            path = (asn, *rng.sample(range(64700, 64800), rng.randrange(4)), ORIGIN_ASN)
            yield Announcement(prefix, hops[6 if ":" in prefix else 4], path, rng.choice((None, 0, 10)))
    for prefix in NEVER:
        yield Announcement(prefix, hops[6 if ":" in prefix else 4], (asn, ORIGIN_ASN))
    yield Announcement(TOO_LONG, hops[4], (asn, *range(64700, 64799)))
