"""Rules between the keys of inventories, of one PoP and between PoPs. What could not be read is passed over.

Each rule yields the mistakes that it finds: the key's path, and what is wrong and what to write.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from app.config import endpoints
from app.config.forms import LINK_ID_MAX, UINT16_MAX
from app.config.toml import Items, Problem, TomlTable

ROUTER_ADDRESSES = ("agent_address", "loopback4", "loopback6", "ibgp_address")
ONE_POP = (*ROUTER_ADDRESSES, "bmp_sysname")  # keys whose value stands in one PoP of a network only
INJECTOR = "injector.address"
HELD_SHARE = 0.8  # of maximum_prefix: what we keep in a router at most


class Placed(NamedTuple):
    """A value that the inventory names, where it does, and for whom."""

    value: Any
    path: str
    owner: str


def rules(pop: TomlTable) -> Iterator[Problem]:
    """Every contradiction between the keys of one PoP."""
    for key in ("router", "link", "own_prefixes"):
        if pop.is_empty(key):
            yield Problem(key, "is empty; write at least one")
    yield from _names(pop)
    yield from _routers(pop)
    yield from _loopbacks(pop)
    yield from _interfaces(pop)
    yield from _addresses(pop)
    yield from _links(pop)
    yield from _sessions(pop)
    yield from _next_hops(pop)
    yield from _marking(pop)
    yield from _budgets(pop)


def between(pops: Mapping[str, TomlTable], cells: Mapping[str, str]) -> Iterator[tuple[str, Problem]]:
    """(file, mistake) of what several PoPs may not share: `pops` by file, `cells` by the names of PoPs in one."""
    for (first_file, first), (file, pop) in combinations(pops.items(), 2):
        name, first_name = pop.get("name"), first.get("name")
        if name is not None and first_name is not None and _metric_name(name) == _metric_name(first_name):
            text = "is that of another PoP" if name == first_name else f"is too like {first_name!r} for Kafka's topics"
            yield file, Problem("name", f"{name!r} {text} ({first_file}); write another")
        problems = _one_gobgpd(pop, first, first_file, name in cells and cells.get(name) == cells.get(first_name))
        yield from ((file, problem) for problem in problems)
        if pop.get("asn") == first.get("asn"):
            yield from ((file, problem) for problem in _shared(pop, first, first_file))


def _metric_name(name: str) -> str:
    """Kafka takes no two topics whose names differ by dots and underscores alone: its metrics know only one of them."""
    return name.replace(".", "_")


def _shared(pop: TomlTable, first: TomlTable, first_file: str) -> Iterator[Problem]:
    """Values that belong to a router of one PoP and stand in two. Only injectors of two sites may be numbered alike."""
    taken = {value: (key, where) for key, value, where in reversed(_of_routers(first)) if value is not None}
    for key, value, path in _of_routers(pop):
        other, where = taken.get(value, ("", ""))
        if other and not key == other == INJECTOR:
            yield Problem(path, f"{value!r} is also {where} of {first_file}; one of them is wrong")


def _of_routers(pop: TomlTable) -> list[tuple[str, Any, str]]:
    """(key, value, path) of what makes the routers of a PoP known, and of the addresses of their injectors."""
    known = [(key, router.get(key), router.at(key)) for router in pop.tables("router") for key in ONE_POP]
    injectors = [(router.table("injector").get("address"), router.at(INJECTOR)) for router in pop.tables("router")]
    return known + [(INJECTOR, address, path) for address, path in injectors]


def _one_gobgpd(pop: TomlTable, first: TomlTable, first_file: str, share_a_host: bool) -> Iterator[Problem]:
    """Routers of two PoPs with one gobgpd. Targets on this host are others elsewhere, but a cell runs on one host."""
    taken = {grpc: path for grpc, path in reversed(_grpcs(first))}
    for grpc, path in _grpcs(pop):
        if grpc in taken and (share_a_host or not endpoints.is_local(grpc)):
            yield Problem(path, f"{grpc!r} is also {taken[grpc]} of {first_file}; each router has a gobgpd of its own")


def _grpcs(pop: TomlTable) -> list[tuple[str, str]]:
    """(where a gobgpd listens, path) of each router whose injector could be read."""
    routers = [(router.table("injector").get("grpc"), router.at("injector.grpc")) for router in pop.tables("router")]
    return [(endpoints.same_place(grpc), path) for grpc, path in routers if grpc is not None]


def _names(pop: TomlTable) -> Iterator[Problem]:
    routers = pop.tables("router")
    yield from twice((router.get("name"), router.at("name")) for router in routers)
    yield from twice((router.get("bmp_sysname"), router.at("bmp_sysname")) for router in routers)
    yield from twice(_grpcs(pop))
    links = [link for link in pop.tables("link") if link.has("router", "name")]
    yield from twice((f"{link.get('router')}/{link.get('name')}", link.at("name")) for link in links)
    yield from _link_ids(pop, links)
    yield from twice((prefix, path) for path, prefix in pop.each("own_prefixes"))
    yield from twice((prefix, path) for path, prefix in pop.each("pinned_prefixes"))


def _link_ids(pop: TomlTable, links: Iterable[TomlTable]) -> Iterator[Problem]:
    for link in links:
        length = len(f"{pop.get('name') or ''}/{link.get('router')}/{link.get('name')}")
        if length > LINK_ID_MAX:
            text = f"makes POP/ROUTER/LINK {length} characters, which no record may have; write at most {LINK_ID_MAX}"
            yield Problem(link.at("name"), f"{text}, with shorter names of the PoP, the router or the link")


def twice(values: Iterable[tuple[Any, str]]) -> Iterator[Problem]:
    """A mistake for each value that was there before; `values` come with their paths."""
    first: dict[Any, str] = {}
    for value, path in values:
        if value is not None and first.setdefault(value, path) != path:
            yield Problem(path, f"{value!r} is given twice, first in {first[value]}")


def _routers(pop: TomlTable) -> Iterator[Problem]:
    """References between routers. Every router of a PoP must be known to every other."""
    names = _router_names(pop)
    for router in pop.tables("router"):
        others = [name for name in names or () if name != router.written("name")]
        if names is not None:
            yield from _wrong_neighbours(router, others)
        costs = router.given("igp_cost")
        if costs is not None and (missing := [name for name in others if name not in costs]):
            example = ", ".join(f"{name} = COST" for name in others)
            yield Problem(
                router.at("igp_cost"), f"has no cost of the path to {', '.join(missing)}; write {{ {example} }}"
            )
        if others and router.is_empty("core"):
            text = "is empty, but this PoP has other routers; write this router's ifIndex towards each neighbour"
            yield Problem(router.at("core"), f"{text}, {{ {others[0]} = IFINDEX }}")
        if router.is_empty("internal_ifindexes"):
            text = "is empty; write the ifIndexes towards the inside: only traffic that enters there may be moved"
            yield Problem(router.at("internal_ifindexes"), text)
    yield from _one_way_core(pop, names or ())


def _router_names(pop: TomlTable) -> list[str] | None:
    """The names of all routers, right or wrong, so that no reference to one is blamed; None if any has no name."""
    routers = pop.tables("router")
    names = [name for router in routers if isinstance(name := router.written("name"), str)]
    return names if len(names) == len(pop.given("router") or ()) else None


def _wrong_neighbours(router: TomlTable, others: Collection[str]) -> Iterator[Problem]:
    known = f"write one of {', '.join(others)}" if others else "leave it out: there is only one"
    for key in ("core", "igp_cost"):
        for name in router.given(key) or ():
            if name not in others:
                yield Problem(f"{router.at(key)}.{name}", f"{name!r} is not another router of this PoP; {known}")


def _one_way_core(pop: TomlTable, names: Collection[str]) -> Iterator[Problem]:
    """Two routers with a port towards each other both have one; who names a router that is none has named this one."""
    by_name = {router.written("name"): router for router in pop.tables("router")}
    for name, router in by_name.items():
        for neighbour in router.given("core") or ():
            back = by_name[neighbour].given("core") if neighbour in names else None
            if back and name not in back and set(back) <= set(names):
                text = f"has no {name}, although {router.at('core')} has {neighbour}; write {{ {name} = IFINDEX }}, too"
                yield Problem(by_name[neighbour].at("core"), text)


def _loopbacks(pop: TomlTable) -> Iterator[Problem]:
    """A router has a loopback of each family in which other routers are sent to it."""
    for router in pop.tables("router"):
        if not router.has("loopback4", "loopback6"):
            continue
        if router.get("loopback4") is None and router.get("loopback6") is None:
            yield Problem(router.at("loopback4"), "is missing, and so is loopback6; write at least one of them")
        elif len(pop.tables("router")) > 1:
            links = (link for link in pop.tables("link") if link.get("router") == router.get("name"))
            sessions = (session for link in links for session in link.tables("sessions"))
            hops = [(hop, path) for session in sessions for path, hop in session.each("next_hops")]
            yield from _missing_loopbacks(router, hops)


def _missing_loopbacks(router: TomlTable, hops: Collection[tuple[str, str]]) -> Iterator[Problem]:
    for key, family, sign in (("loopback4", "IPv4", "."), ("loopback6", "IPv6", ":")):
        path = next((path for hop, path in hops if sign in hop), None)
        if path is not None and router.get(key) is None:
            text = f"is missing, but {path} is of {family}; write the address at which other routers reach this one"
            yield Problem(router.at(key), text)


def _interfaces(pop: TomlTable) -> Iterator[Problem]:
    """An interface of a router is one thing: inside, core, or a part of one link."""
    placed: list[tuple[str | None, int, str]] = []
    for router in pop.tables("router"):
        yield from twice((index, path) for path, index in router.each("interfaces"))
        for key in ("internal_ifindexes", "core"):
            placed += [(router.get("name"), index, path) for path, index in _ports(router, key)]
    for link in pop.tables("link"):
        for key in ("ifindexes", "members"):
            placed += [(link.get("router"), index, path) for path, index in _ports(link, key)]
    first: dict[tuple[str, int], str] = {}
    for router_name, index, path in placed:
        if router_name is not None and first.setdefault((router_name, index), path) != path:
            where = f"{first[router_name, index]} of {router_name}"
            yield Problem(path, f"{index} is also {where}; an ifIndex is one port")


def _ports(table: TomlTable, key: str) -> Iterator[tuple[str, int]]:
    """(path, ifIndex) of a list of ports, or of a table that has one or several by key."""
    for path, value in table.each(key):
        if isinstance(value, Items):
            several = len(value.given) > 1
            yield from ((f"{path}[{number}]" if several else path, index) for number, index in value.items())
        else:
            yield path, value


def _addresses(pop: TomlTable) -> Iterator[Problem]:
    """Two routers have no address in common, and none with a gobgpd. Gobgpds in one pod have one between them."""
    placed = [
        Placed(router.get(key), router.at(key), router.path)
        for router in pop.tables("router")
        for key in ROUTER_ADDRESSES
    ]
    placed += [
        Placed(router.table("injector").get("address"), router.at(INJECTOR), INJECTOR)
        for router in pop.tables("router")
    ]
    first: dict[str, Placed] = {}
    for one in placed:
        if one.value is not None and (other := first.setdefault(one.value, one)).owner != one.owner:
            yield Problem(one.path, f"{one.value!r} is also {other.path}; each of the two needs its own address")
    speaking = {address: path for router in pop.tables("router") for path, address in _sources(router)}
    inside = speaking | {address: place.path for address, place in first.items()}
    for session in (session for link in pop.tables("link") for session in link.tables("sessions")):
        if (peer := session.get("peer")) in inside:
            text = f"{peer!r} is {inside[peer]}, which is inside this PoP; write the neighbour's address"
            yield Problem(session.at("peer"), text)
        for path, hop in session.each("next_hops"):
            if (taken := first.get(hop)) is not None:
                yield Problem(path, f"{hop!r} is {taken.path}, which does not lead out; write the neighbour's address")


def _sources(router: TomlTable) -> Iterator[tuple[str, str]]:
    """(path, address) of what a router's sFlow and BMP come from, besides its own addresses."""
    if router.get("bmp_address") is not None:
        yield router.at("bmp_address"), router.get("bmp_address")
    yield from router.each("agent_sources")


def _links(pop: TomlTable) -> Iterator[Problem]:
    names = _router_names(pop)
    for link in pop.tables("link"):
        if link.has("router") and names and link.get("router") not in names:
            text = f"{link.get('router')!r} is no router of this PoP; write one of {', '.join(names)}"
            yield Problem(link.at("router"), text)
        if link.is_empty("sessions"):
            yield Problem(link.at("sessions"), "is empty; write at least one session, or leave the link out")
        if link.is_empty("ifindexes"):
            yield Problem(link.at("ifindexes"), "is empty; write every ifIndex under which the link is reported")
        yield from _limits(link)


def _limits(link: TomlTable) -> Iterator[Problem]:
    """What a link and its sessions can take, and where they lead."""
    sessions, capacity_bps = link.tables("sessions"), link.get("capacity_bps")
    led_out = len(sessions) != len(link.given("sessions") or ()) or any(
        session.given("next_hops") or not session.has("next_hops") for session in sessions
    )
    for session in sessions:
        if session.is_empty("next_hops") and not led_out:
            text = f"is empty; write the next hops that the neighbour announces, at least {session.get('peer')!r}"
            yield Problem(session.at("next_hops"), text)
        cap_bps = session.get("cap_bps")
        if cap_bps is not None and isinstance(capacity_bps, (int, float)) and cap_bps > capacity_bps:
            text = f"{cap_bps:g} is above {link.at('capacity_bps')} ({capacity_bps:g}); lower it, or leave it out"
            yield Problem(session.at("cap_bps"), text)


def _sessions(pop: TomlTable) -> Iterator[Problem]:
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for link in pop.tables("link"):
        for session in link.tables("sessions"):
            if session.get("asn") is not None and session.get("asn") == pop.get("asn"):
                text = f"{session.get('asn')} is our own AS, so this session is iBGP; write the neighbour's AS"
                yield Problem(session.at("asn"), text)
            router, peer = link.get("router"), session.get("peer")
            if router is None or peer is None:
                continue
            at_link, at_session = first.setdefault((router, peer), (link.path, session.at("peer")))
            if at_link != link.path:
                text = (
                    f"{peer!r} of {router} is also on {at_link}. A neighbour that is reached over several ports is one"
                    " link: write one [[link]] with the ifindexes of all ports, their summed capacity_bps, and this"
                    " session once"
                )
                yield Problem(session.at("peer"), text)
            elif at_session != session.at("peer"):
                yield Problem(session.at("peer"), f"{peer!r} is given twice, first in {at_session}")


def _next_hops(pop: TomlTable) -> Iterator[Problem]:
    """A next hop of a router leads to one link; sessions of the same link may share it."""
    first: dict[tuple[str, str], str] = {}
    for link in pop.tables("link"):
        for session in link.tables("sessions"):
            hops = list(session.each("next_hops"))
            yield from twice((hop, path) for path, hop in hops)
            for path, hop in hops:
                if link.has("router") and first.setdefault((link.get("router"), hop), link.path) != link.path:
                    text = (
                        f"{hop!r} is also a next hop of {first[link.get('router'), hop]}; a next hop leads to one link"
                    )
                    yield Problem(path, f"{text} of a router: leave it out of the other")


def _marking(pop: TomlTable) -> Iterator[Problem]:
    """What makes our routes recognisable (the marker) and preferred (the local-pref)."""
    if pop.has("asn", "marker_asn") and pop.get("marker_asn") is None and not 0 < pop.get("asn") < UINT16_MAX:
        text = f"must be set, because half a community cannot hold AS {pop.get('asn')}; write a number of 16 bits"
        yield Problem("marker_asn", f"{text} that is yours, such as a private AS")
    ours = pop.get("override_local_pref")
    for link in pop.tables("link"):
        if ours is not None and link.get("local_pref") is not None and link.get("local_pref") >= ours:
            text = f"{link.get('local_pref')} must be below override_local_pref ({ours}); raise that, or lower this"
            yield Problem(link.at("local_pref"), text)


def _budgets(pop: TomlTable) -> Iterator[Problem]:
    budgets = pop.table("budgets")
    for family in ("4", "6"):
        low, high = f"min_prefix_length{family}", f"max_prefix_length{family}"
        if budgets.has(low, high) and budgets.get(low) > budgets.get(high):
            yield Problem(budgets.at(low), f"{budgets.get(low)} must not be above {high} ({budgets.get(high)})")
    for router in pop.tables("router"):
        limit, ours = router.get("maximum_prefix"), budgets.get("max_overrides")
        if limit is not None and ours is not None and ours > (held := int(HELD_SHARE * limit)):
            text = f"{limit} lets the actuator keep {held} routes there, fewer than budgets.max_overrides ({ours})"
            yield Problem(router.at("maximum_prefix"), f"{text}; raise it here and on the router, or lower the budget")
