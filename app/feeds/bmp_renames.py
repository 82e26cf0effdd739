"""A start with another inventory: whose the sessions and paths of before are, if routers have other names now.

A router is the same device if its session has the address, and its sysName, that the inventory gives to it. Then what
is known of it goes over to its new name, in the rows as well (tables/rib.py): a router says once what it has to say.
"""

from collections.abc import Mapping, Set
from typing import TypeVar

import msgspec

from app.config.inventory import Pop
from app.feeds.bmp_identity import Identifier
from app.feeds.bmp_memory import BmpSession, Sessions

T = TypeVar("T")


def take_over_names(pop: Pop, identifier: Identifier, memory: Sessions) -> None:
    """Rename what is remembered, and note in `renamed` what rows have to be read by."""
    names = _new_names(pop, identifier, memory)
    if not names:
        return
    for session in memory.sessions.values():
        session.router = names.get(session.router or "", session.router)
    for awaited in memory.awaited.values():
        awaited.router = names.get(awaited.router, awaited.router)
    memory.peers, memory.unused = _renamed(memory.peers, names), _renamed(memory.unused, names)
    memory.heard, memory.statistics = _renamed(memory.heard, names), _renamed(memory.statistics, names)
    before = {old: names.get(new, new) for old, new in memory.renamed.items()}
    memory.renamed = {old: new for old, new in (before | names).items() if old != new}


def _new_names(pop: Pop, identifier: Identifier, memory: Sessions) -> dict[str, str]:
    """The new names of routers by the old ones; not those that another router had: rows would not say whose it is."""
    found: dict[str, set[str]] = {}
    for key, session in memory.sessions.items():
        if session.router is not None and session.router not in pop.routers:
            name = identifier.named(address_of(key), session.sysname)
            found.setdefault(session.router, set()).update({name} if name is not None else ())
    names = {old: new.pop() for old, new in found.items() if len(new) == 1}
    new_names = list(names.values())
    return {old: new for old, new in names.items() if new_names.count(new) == 1 and new not in memory.heard}


def _renamed(by_router: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    return {names.get(router, router): value for router, value in by_router.items()}


def known_routers(pop: Pop, identifier: Identifier, memory: Sessions) -> set[str]:
    """The routers of the inventory, but for those whose name another one had: no session of before can be theirs."""
    theirs: dict[str, bool] = {}
    for key, session in memory.sessions.items():
        if session.router is not None:
            is_theirs = identifier.may_be(session.router, address_of(key), session.sysname)
            theirs[session.router] = theirs.get(session.router, False) or is_theirs
    return pop.routers.keys() - {router for router, is_theirs in theirs.items() if not is_theirs}


def kept(key: str, session: BmpSession, identifier: Identifier, known: Set[str]) -> BmpSession | None:
    """A session as it is, or what is left of it if its router has a name that another one had, or None."""
    if session.router is None or session.router in known:
        return session
    if (router := identifier.named(address_of(key), session.sysname)) is None:
        return None
    return msgspec.structs.replace(session, router=router, whole=False, peers=set(), unread="beginning")


def address_of(session: str) -> str:
    """The address from which a session came (RouteKey.session)."""
    return session.split("|")[-2]
