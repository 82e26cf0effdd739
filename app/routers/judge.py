"""What a router's policy lacks that must hold a fault of ours, and which line to add."""

import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

from app.config.inventory import Pop, Router
from app.routers.router_files import families_of, neighbours, own_prefixes
from app.routers.statements import NO_POLICY, FamilyPolicy, Network, Route, RouterPolicy, Statement, accepting, within


class Advice(NamedTuple):
    """What to write on one platform. A line may name `{injector}`, `{neighbour}`, `{family}`, `{where}` and so on."""

    session: str
    family: str
    import_policy: str
    accept_ours: str
    match_marker: str
    match_local_pref: str
    limit: str
    restart: str
    all_paths: str
    export_policy: str
    deny_marker: str
    allow_own: str


class Subject(NamedTuple):
    """One family of one session of a router, which is being judged."""

    pop: Pop
    router: Router
    advice: Advice
    neighbour: str
    family: int

    def line(self, template: str, where: str = "") -> str:
        """The line to add."""
        return template.format(
            asn=self.pop.asn,
            injector=self.router.injector.address,
            limit=self.router.maximum_prefix,
            local_pref=self.pop.override_local_pref,
            neighbour=self.neighbour,
            family=self.family,
            where=where,
        )

    def route(self, marked: bool, local_pref: int | None = None) -> Route:
        """A route that came from an injector, or may come from anywhere, in front of this session's policy."""
        return Route(self.family, marked, local_pref, "internal" if marked else None, self.neighbour)


def router_problems(pop: Pop, router: Router, policy: RouterPolicy, advice: Advice) -> Iterator[str]:
    """Everything that is missing on an edge router, each with the line to add."""
    yield from policy.unreadable
    address = router.injector.address
    injector = policy.sessions.get(address)
    for family in families_of(pop, router):
        subject = Subject(pop, router, advice, address, family)
        if injector is None:
            yield f"has no BGP session with its injector {address}: add {subject.line(advice.session)}"
            break
        if (of_family := injector.families.get(family)) is None:
            yield f"its session with the injector {address} carries no IPv{family}: add {subject.line(advice.family)}"
        else:
            yield from _import_problems(of_family, subject)
            yield from _limit_problems(of_family, subject)
    for neighbour in neighbours(pop, router):
        if neighbour.peer not in policy.sessions:
            where = f"which the inventory has on {neighbour.link}"
            yield f"has no BGP session with {neighbour.peer}, {where}: is this the configuration of this router?"
    for name, session in policy.sessions.items():
        for family, of_family in session.families.items() if session.external else ():
            yield from _export_problems(of_family, Subject(pop, router, advice, name, family))


def _import_problems(policy: FamilyPolicy, subject: Subject) -> Iterator[str]:
    ours, advice = subject.pop.override_local_pref, subject.advice
    whom = f"from its injector {subject.neighbour} (IPv{subject.family})"
    if policy.imports[0].where == NO_POLICY:
        yield f"has no import policy for what comes {whom}: add {subject.line(advice.import_policy)}"
        return
    if not any(accepting(policy.imports, subject.route(marked=True, local_pref=ours))):
        yield f"takes none of our routes {whom}: add {subject.line(advice.accept_ours)}"
    for statement in accepting(policy.imports, subject.route(marked=False)):
        line = subject.line(advice.match_marker, statement.where)
        yield f"{statement.where} takes routes without our marker {whom}: add {line}"
    for statement in accepting(policy.imports, subject.route(marked=True)):
        if ours not in (statement.local_pref, statement.sets_local_pref):
            line = subject.line(advice.match_local_pref, statement.where)
            yield f"{statement.where} takes other local-prefs than {ours} {whom}: add {line}"


def _limit_problems(policy: FamilyPolicy, subject: Subject) -> Iterator[str]:
    advice, wanted = subject.advice, subject.router.maximum_prefix
    whom = f"from its injector {subject.neighbour} (IPv{subject.family})"
    if policy.limit is None:
        yield f"has no limit on the prefixes {whom}: add {subject.line(advice.limit)}"
    elif policy.limit != wanted:
        differs = f"takes {policy.limit} prefixes {whom}, the inventory says {wanted} (maximum_prefix)"
        yield f"{differs}: write {subject.line(advice.limit)}, or change the inventory"
    elif policy.restarts is False:
        yield f"stays down for good after too many prefixes {whom}: add {subject.line(advice.restart)}"
    if not policy.sends_all_paths:
        why = "so the injector cannot see that one is lost"
        line = subject.line(advice.all_paths)
        yield f"sends only best paths to its injector {subject.neighbour} (IPv{subject.family}), {why}: add {line}"


def _export_problems(policy: FamilyPolicy, subject: Subject) -> Iterator[str]:
    advice, family = subject.advice, subject.family
    whom = f"to its eBGP neighbour {subject.neighbour} (IPv{family})"
    if policy.exports[0].where == NO_POLICY:
        yield f"has no export policy {whom}: add {subject.line(advice.export_policy)}"
        return
    for statement in accepting(policy.exports, subject.route(marked=True, local_pref=None)):
        line = subject.line(advice.deny_marker, statement.where)
        yield f"{statement.where} passes our overrides on {whom}: add {line}"
        break
    own = [ipaddress.ip_network(prefix) for prefix in own_prefixes(subject.pop, family)]
    passed = [*accepting(policy.exports, subject.route(marked=False))]
    if own and not passed:
        yield f"announces none of your own prefixes {whom}: add {subject.line(advice.allow_own)}"
    if subject.router.exports_learned_routes:
        return  # as the inventory says, and no move leads through this router
    for statement in passed:
        if others := _others(statement, own, family):
            line = subject.line(advice.allow_own, statement.where)
            yield f"{statement.where} passes {others} on {whom}, not only own_prefixes: add {line}"


def _others(statement: Statement, own: list[Network], family: int) -> str:
    """What it lets out beside own prefixes and what the router itself originates; empty if nothing."""
    if statement.prefixes is None:
        return "" if statement.source == "local" else "every route"
    mine = [prefix for prefix in statement.prefixes if prefix.version == family]
    return ", ".join(str(prefix) for prefix in mine if not within(prefix, own))


def injector_problems(pop: Pop, router: Router, policy: RouterPolicy) -> Iterator[str]:
    """Everything that is wrong with the gobgpd beside a router, which must speak to that router alone."""
    yield from policy.unreadable
    if others := [name for name in policy.sessions if name != router.ibgp_address]:
        yield f"it also speaks to {', '.join(others)}: leave only the session with {router.ibgp_address}"
    session = policy.sessions.get(router.ibgp_address)
    for family in families_of(pop, router) if session is not None else ():
        assert session is not None
        of_family = session.families.get(family)
        for text in _injector_family(of_family, pop, router, family):
            yield f"{text} (IPv{family})"


def _injector_family(policy: FamilyPolicy | None, pop: Pop, router: Router, family: int) -> Iterator[str]:
    if policy is None:
        line = f'[[neighbors.afi-safis]] with config.afi-safi-name = "ipv{family}-unicast"'
        yield f"its session with {router.ibgp_address} does not carry this family: add {line}"
        return
    ours = Route(family, True, pop.override_local_pref, "local")
    theirs = Route(family, True, None, "internal", router.ibgp_address)
    if not any(accepting(policy.imports, ours)):
        yield 'it refuses the routes that the actuator adds: accept route-type = "local" in its import policy'
    unmarked = theirs._replace(marked=False)
    for statement in [*accepting(policy.imports, theirs), *accepting(policy.imports, unmarked)][:1]:
        line = 'set default-import-policy = "reject-route", and accept only route-type = "local"'
        yield f"{statement.where} takes what its router sends: {line}"
    to_router = ours._replace(neighbour=router.ibgp_address)
    marker = f"the community {pop.marker_community}"
    if not any(accepting(policy.exports, to_router)):
        yield f"it does not send our routes to its router: accept {marker} in its export policy"
    for statement in [*accepting(policy.exports, to_router._replace(marked=False))][:1]:
        line = f'match {marker} there, and set default-export-policy = "reject-route"'
        yield f"{statement.where} sends routes without our marker to its router: {line}"
    if not policy.receives_all_paths:
        line = "add-paths.config.receive = true in its [[neighbors.afi-safis]]"
        yield f"it does not ask its router for every path, so it cannot see that one is lost: add {line}"
