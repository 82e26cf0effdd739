"""Turns what a gobgpd says of its policies into sessions and statements."""

import ipaddress
import re
from collections.abc import Iterator, Sequence

from app.bgp.policy_client import GobgpPolicies
from app.bgp.proto import policy_pb2 as pb
from app.routers.judge import Advice
from app.routers.statements import FamilyPolicy, Matches, Network, RouterPolicy, RouterSession, Source, Statement

ADVICE = Advice(
    session="a [[neighbors]] with config.neighbor-address = {injector}",
    family='[[neighbors.afi-safis]] with config.afi-safi-name = "ipv{family}-unicast"',
    import_policy="the policy autopilot-import to import-policy-list",
    accept_ours="the statement autopilot-ours to its import policy",
    match_marker='match-community-set.community-set = "autopilot-marker" to {where}',
    match_local_pref="set-local-pref = {local_pref} to {where} (gobgpd cannot match a local-pref)",
    limit="prefix-limit.config.max-prefixes = {limit} to its [[neighbors.afi-safis]]",
    restart="",  # gobgpd has no such timer
    all_paths="add-paths.config.send-max = 16 to its [[neighbors.afi-safis]]",
    export_policy="the policy autopilot-export to export-policy-list",
    deny_marker="the statement autopilot-no-marker in front of all others of the export policy",
    allow_own='match-prefix-set.prefix-set = "autopilot-own{family}" to the statements that accept, and '
    'default-export-policy = "reject-route"',
)
SOURCES: dict[int, Source] = {1: "internal", 2: "external", 3: "local"}
ACCEPTS = {pb.ACCEPT: True, pb.REJECT: False}
GLOBAL = "global"


def read_gobgp(policies: GobgpPolicies, marker: str) -> RouterPolicy:
    """The sessions of a gobgpd, each under the global policies; `marker` is the community of our routes."""
    reader = _Reader(policies, marker)
    imports, exports = reader.statements(pb.IMPORT), reader.statements(pb.EXPORT)
    sessions = {}
    for peer in policies.peers:
        families = {
            family: FamilyPolicy(
                imports,
                exports,
                limit=afi_safi.prefix_limits.max_prefixes or None,
                restarts=None,
                sends_all_paths=afi_safi.add_paths.config.send_max > 1,
                receives_all_paths=afi_safi.add_paths.config.receive,
            )
            for afi_safi in peer.afi_safis
            if (family := _version(afi_safi.config.family)) is not None
        }
        external = peer.conf.peer_asn != policies.asn
        sessions[peer.conf.neighbor_address or peer.conf.neighbor_interface] = RouterSession(external, families)
    return RouterPolicy(sessions, tuple(reader.problems()))


def _version(family: pb.Family) -> int | None:
    return {(1, 1): 4, (2, 1): 6}.get((family.afi, family.safi))


def _found(pattern: str, community: str) -> bool:
    """Whether a pattern of Go's, which Python reads as well but for rare ones, is in this community."""
    try:
        return re.search(pattern, community) is not None
    except re.error:
        return False


class _Reader:
    def __init__(self, policies: GobgpPolicies, marker: str) -> None:
        self._policies = policies
        self._marker = marker
        self._sets = {(each.defined_type, each.name): each for each in policies.sets}

    def statements(self, direction: int) -> tuple[Statement, ...]:
        """The statements of the global policies of a direction, and its default."""
        word = "import" if direction == pb.IMPORT else "export"
        found: list[Statement] = []
        for assignment in self._assignments(direction):
            found += [self._statement(policy, each) for policy in assignment.policies for each in policy.statements]
            # Without a configured default gobgpd accepts.
            found.append(Statement(f"default-{word}-policy", accepts=assignment.default_action != pb.REJECT))
        return tuple(found)

    def problems(self) -> Iterator[str]:
        """What is wrong with it in itself: sets that match everybody, sessions that anybody may open."""
        for name in sorted(self._used_neighbour_sets()):
            if not self._list(pb.NEIGHBOR, name):
                yield f"its neighbor-set {name} is empty, so it matches every neighbour: name one, or remove the set"
        for dynamic in self._policies.dynamic:
            yield f"it takes BGP sessions from anybody in {dynamic.prefix}: remove that dynamic neighbour"
        for assignment in self._policies.assignments:
            if assignment.name != GLOBAL:
                yield f"its neighbour {assignment.name} has policies of its own (route server client), not read here"

    def _assignments(self, direction: int) -> list[pb.PolicyAssignment]:
        return [each for each in self._policies.assignments if (each.name, each.direction) == (GLOBAL, direction)]

    def _used_neighbour_sets(self) -> set[str]:
        statements = [
            each
            for direction in (pb.IMPORT, pb.EXPORT)
            for assignment in self._assignments(direction)
            for policy in assignment.policies
            for each in policy.statements
        ]
        return {each.conditions.neighbor_set.name for each in statements if each.conditions.HasField("neighbor_set")}

    def _list(self, kind: pb.DefinedType, name: str) -> Sequence[str]:
        found = self._sets.get((kind, name))
        return found.list if found is not None else ()

    def _statement(self, policy: pb.Policy, statement: pb.Statement) -> Statement:
        conditions, actions = statement.conditions, statement.actions
        read = Statement(f"statement {statement.name} of policy {policy.name}", ACCEPTS.get(actions.route_action))
        if conditions.HasField("community_set"):
            marked, unmarked = self._community(conditions.community_set)
            read = read._replace(marked=marked, unmarked=unmarked)
        if conditions.HasField("neighbor_set") and (networks := self._neighbours(conditions.neighbor_set.name)):
            inverted = conditions.neighbor_set.type == pb.MatchSet.INVERT
            read = read._replace(partly=True) if inverted else read._replace(neighbours=networks)
        if conditions.HasField("prefix_set"):
            inverted = conditions.prefix_set.type == pb.MatchSet.INVERT
            prefixes = None if inverted else self._prefixes(conditions.prefix_set.name)
            read = read._replace(prefixes=prefixes, partly=read.partly or inverted)
        families = [version for family in conditions.afi_safi_in if (version := _version(family)) is not None]
        others = (
            *(conditions.HasField(field) for field in ("as_path_set", "as_path_length", "ext_community_set")),
            *(conditions.HasField(field) for field in ("large_community_set", "community_count")),
            *(conditions.HasField(field) for field in ("local_pref_eq", "med_eq")),
            *(conditions.next_hop_in_list, len(families) > 1, conditions.origin, conditions.rpki_result > 0),
        )
        return read._replace(
            source=SOURCES.get(conditions.route_type),
            family=families[0] if len(families) == 1 else None,
            sets_local_pref=actions.local_pref.value or None,
            partly=read.partly or any(map(bool, others)),
        )

    def _community(self, match: pb.MatchSet) -> tuple[Matches, Matches]:
        """Whether a community condition matches routes with our marker, and routes without it."""
        patterns = self._list(pb.COMMUNITY, match.name)
        ours = [_found(pattern, self._marker) for pattern in patterns]
        only_ours = bool(patterns) and all(pattern in (f"^{self._marker}$", self._marker) for pattern in patterns)
        marked: Matches = "yes" if any(ours) else "maybe"
        unmarked: Matches = "no" if only_ours else "maybe"
        if match.type == pb.MatchSet.ALL and not all(ours):
            marked = "maybe"
        if match.type == pb.MatchSet.INVERT:
            marked, unmarked = ("no" if any(ours) else "maybe"), ("yes" if only_ours else "maybe")
        return marked, unmarked

    def _neighbours(self, name: str) -> tuple[Network, ...]:
        return tuple(ipaddress.ip_network(each, strict=False) for each in self._list(pb.NEIGHBOR, name))

    def _prefixes(self, name: str) -> tuple[Network, ...]:
        found = self._sets.get((pb.PREFIX, name))
        return tuple(ipaddress.ip_network(each.ip_prefix, strict=False) for each in found.prefixes) if found else ()
