"""What a router lets pass, in terms that FRR and GoBGP share: sessions, and the statements that judge each route.

Statements say `maybe` where they have conditions that are not read here. A question is answered so that nothing can
pass unseen: what accepts maybe, may accept, and what refuses maybe, protects from nothing.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Matches = Literal["yes", "maybe", "no"]
Source = Literal["local", "internal", "external"]

NO_POLICY = "no policy"  # where a session has none, and so takes or sends every route


class Statement(NamedTuple):
    """One step of a policy: which routes it matches, and whether it accepts (None: it goes on) what it matches.

    `marked` and `unmarked` say whether it matches routes with and without our marker, as far as communities go. Other
    conditions are None if the statement has none of that kind; `prefixes` may be empty, which matches nothing. `partly`
    means that it has conditions that are not read here, so it may match fewer routes. `where` is how people find it.
    """

    where: str
    accepts: bool | None
    marked: Matches = "yes"
    unmarked: Matches = "yes"
    local_pref: int | None = None
    prefixes: tuple[Network, ...] | None = None
    family: int | None = None
    neighbours: tuple[Network, ...] | None = None
    source: Source | None = None
    partly: bool = False
    sets_local_pref: int | None = None


class Route(NamedTuple):
    """A kind of route that is put to a policy; a None is any. `neighbour` sent it, or would get it."""

    family: int
    marked: bool
    local_pref: int | None = None
    source: Source | None = None
    neighbour: str | None = None


class FamilyPolicy(NamedTuple):
    """One address family of a session. `limit` is its maximum-prefix; `restarts` is None if the daemon has no timer."""

    imports: tuple[Statement, ...]
    exports: tuple[Statement, ...]
    limit: int | None
    restarts: bool | None
    sends_all_paths: bool
    receives_all_paths: bool


class RouterSession(NamedTuple):
    """A BGP session of a router: is it external, and its policies by IP version."""

    external: bool
    families: dict[int, FamilyPolicy]


class RouterPolicy(NamedTuple):
    """All sessions by the neighbour's address or name; `unreadable` lists what cannot be judged, and why."""

    sessions: dict[str, RouterSession]
    unreadable: tuple[str, ...] = ()


def accepting(statements: Iterable[Statement], route: Route) -> Iterator[Statement]:
    """Every statement that may accept such a route, in order. What is refused by then for sure is not asked on."""
    for statement in statements:
        matches = _matches(statement, route)
        if matches != "no" and statement.accepts is not None:
            if statement.accepts:
                yield statement
            if matches == "yes":
                return


def within(prefix: Network, own: Sequence[Network]) -> bool:
    """Whether the prefix lies in one of `own`."""
    return any(prefix.version == each.version and prefix.subnet_of(each) for each in own)  # type: ignore[arg-type]


def _matches(statement: Statement, route: Route) -> Matches:
    answers = [
        statement.marked if route.marked else statement.unmarked,
        _equal(statement.family, route.family),
        _equal(statement.local_pref, route.local_pref),
        _equal(statement.source, route.source),
        _neighbour(statement.neighbours, route.neighbour),
    ]
    if statement.prefixes is not None:
        answers.append("maybe" if any(each.version == route.family for each in statement.prefixes) else "no")
    if "no" in answers:
        return "no"
    return "maybe" if statement.partly or "maybe" in answers else "yes"


def _equal(wanted: object, value: object) -> Matches:
    if wanted is None or wanted == value:
        return "yes"
    return "maybe" if value is None else "no"


def _neighbour(wanted: tuple[Network, ...] | None, address: str | None) -> Matches:
    if wanted is None:
        return "yes"
    if address is None:
        return "maybe"
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # a session by interface
        return "maybe"
    return "yes" if any(ip in network for network in wanted) else "no"
