"""Draws what the eBGP neighbours of the simulated PoP announce: cones, alternatives and AS paths."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from app.config.inventory import Link, Pop, Session
from app.lab.pop.model import Announcement
from app.lab.pop.prefixes import PrefixSet

ORIGIN_AS_FIRST, ORIGIN_COUNT = 65001, 160  # private AS numbers, like those in the middle of a path
MIDDLE_AS_FIRST, MIDDLE_COUNT = 64700, 60


class Home(msgspec.Struct, frozen=True):
    """A group of prefixes: the link (`router/name`) that plain BGP chooses, and where else they are announced.

    If `link` is None, only transit announces them. `also` maps another link to the share of the group announced there.
    """

    link: str | None
    prefixes4: int
    prefixes6: int
    also: Mapping[str, float] = {}


# The demo's PoP. r1's private peering has alternatives with room, but the 10G links must not inherit its traffic.
HOMES: Final = (
    Home("r1/et-0/0/1", 800, 200, {"r1/et-0/0/2": 0.65, "r2/xe-0/0/1": 0.10, "r2/xe-0/0/2": 0.15}),
    Home("r1/et-0/0/2", 440, 110),
    Home("r2/xe-0/0/1", 180, 45, {"r1/et-0/0/2": 0.50}),
    Home("r2/xe-0/0/2", 180, 45),
    Home(None, 400, 100),
)


def draw_homes(rng: np.random.Generator, homes: Sequence[Home]) -> list[Home]:
    """One home per prefix, in random order: first all of IPv4, then all of IPv6."""
    families = (
        [home for home in homes for _ in range(home.prefixes4)],
        [home for home in homes for _ in range(home.prefixes6)],
    )
    return [family[int(index)] for family in families for index in rng.permutation(len(family))]


def draw_announcements(
    rng: np.random.Generator, pop: Pop, prefixes: PrefixSet, homes: Sequence[Home]
) -> dict[str, tuple[Announcement, ...]]:
    """The announcements of every neighbour by peer address. Transits announce every prefix.

    `homes` has one home per prefix. A prefix has the same origin AS on every path.
    """
    routes: dict[str, list[Announcement]] = {session.peer: [] for link in pop.link for session in link.sessions}
    by_name = {f"{link.router}/{link.name}": link for link in pop.link}
    origins = _draw_origins(rng, prefixes)
    for prefix, origin, home in zip(prefixes.prefixes, origins, homes, strict=True):
        home_link = by_name[home.link] if home.link else None
        home_middles = int(rng.integers(2))
        for name, link in by_name.items():
            if not _is_announced(rng, home, name, link):
                continue
            middles = home_middles if link is home_link else _middles(rng, link, home_link, home_middles)
            for session in link.sessions:
                path = (session.asn, *_draw_middles(rng, middles), origin)
                routes[session.peer].append(Announcement(prefix, _next_hop(session, prefix), path))
    return {peer: tuple(announced) for peer, announced in routes.items()}


def _next_hop(session: Session, prefix: str) -> str:
    return next(hop for hop in session.next_hops if (":" in hop) == (":" in prefix))


def _is_announced(rng: np.random.Generator, home: Home, name: str, link: Link) -> bool:
    return link.kind == "transit" or name == home.link or bool(rng.random() < home.also.get(name, 0.0))


def _middles(rng: np.random.Generator, link: Link, home_link: Link | None, home_middles: int) -> int:
    """Number of ASes between neighbour and origin, high enough that plain BGP still prefers the home link."""
    drawn = 1 + int(rng.random() < 0.3)
    preferred = home_link is not None and link.local_pref >= home_link.local_pref
    return home_middles + drawn if preferred else drawn


def _draw_middles(rng: np.random.Generator, count: int) -> tuple[int, ...]:
    return tuple(MIDDLE_AS_FIRST + int(number) for number in rng.choice(MIDDLE_COUNT, size=count, replace=False))


def _draw_origins(rng: np.random.Generator, prefixes: PrefixSet) -> list[int]:
    drawn = ORIGIN_AS_FIRST + rng.integers(ORIGIN_COUNT, size=len(prefixes.prefixes))
    return [int(drawn[index] if outer is None else drawn[outer]) for index, outer in enumerate(prefixes.covering)]
