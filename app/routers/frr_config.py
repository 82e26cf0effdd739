"""Reads FRR's configuration (`show running-config`, or a saved file) as sessions and statements.

Only the default VRF counts. A match that is not read here makes a statement `partly`.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from app.routers.judge import Advice
from app.routers.statements import NO_POLICY, FamilyPolicy, Matches, Network, RouterPolicy, RouterSession, Statement

ADVICE = Advice(
    session="`neighbor {injector} remote-as {asn}`",
    family="`neighbor {injector} activate` in `address-family ipv{family} unicast`",
    import_policy="`neighbor {injector} route-map AUTOPILOT-FROM-INJECTOR in`",
    accept_ours="`route-map AUTOPILOT-FROM-INJECTOR permit 10`, which matches our marker and local-pref",
    match_marker="`match community AUTOPILOT-MARKER` to {where}",
    match_local_pref="`match local-preference {local_pref}` to {where}",
    limit="`neighbor {injector} maximum-prefix {limit} restart 1`",
    restart="`restart 1` to its `maximum-prefix {limit}`",
    all_paths="`neighbor {injector} addpath-tx-all-paths`",
    export_policy="`neighbor {neighbour} route-map AUTOPILOT-TO-EBGP out`",
    deny_marker="a `deny` entry with `match community AUTOPILOT-MARKER` in front of all others",
    allow_own="`match ip address prefix-list AUTOPILOT-OWN4` (or ipv6, AUTOPILOT-OWN6) to its `permit` entries",
)
EVERYTHING: dict[str, Network] = {"ip": ipaddress.ip_network("0.0.0.0/0"), "ipv6": ipaddress.ip_network("::/0")}
OPEN = Statement(NO_POLICY, accepts=True)
Line = list[str]  # the words of a line of configuration


class _Entry(NamedTuple):
    """One entry of a route map, and the lines below it."""

    where: str
    permits: bool
    lines: list[Line]


class _Config:
    """The parts of a configuration that say what passes."""

    def __init__(self) -> None:
        self.asn: int | None = None
        self.activates_ipv4 = True  # FRR's default
        self.route_maps: dict[str, list[_Entry]] = {}
        self.communities: dict[str, list[Line]] = {}  # by list: type, action, values
        self.prefixes: dict[tuple[str, str], list[Line]] = {}  # by command and list: action, prefix and lengths
        self.neighbours: dict[str, list[Line]] = {}  # of each neighbour and peer group, what follows its name
        self.in_family: dict[tuple[str, int], list[Line]] = {}
        self.groups: set[str] = set()
        self.listening: set[str] = set()  # groups of neighbours that may come from a whole range of addresses


def read_frr(text: str, marker: str) -> RouterPolicy:
    """The sessions of a configuration; `marker` is the community of our routes. ValueError if there is no BGP in it."""
    config = _parse(text)
    if config.asn is None:
        raise ValueError("has no `router bgp` (in the default VRF); is it what FRR's `show running-config` prints?")
    policies = _Policies(config, marker)
    names = [name for name in config.neighbours if name not in config.groups or name in config.listening]
    return RouterPolicy({name: policies.session(name) for name in names}, tuple(policies.missing_route_maps()))


def _parse(text: str) -> _Config:
    config = _Config()
    for head, lines in _blocks(text):
        match head:
            case ["router", "bgp", asn]:
                config.asn = int(asn)
                _read_bgp(config, lines)
            case ["route-map", name, action, number, *_]:
                entry = _Entry(f"route-map {name} {action} {number}", action == "permit", lines)
                config.route_maps.setdefault(name, []).append(entry)
            case ["bgp" | "ip", "community-list", *rest]:
                kind, name, *rest = rest if rest[0] in ("standard", "expanded") else ["standard", *rest]
                config.communities.setdefault(name, []).append([kind, *_without_seq(rest)])
            case ["ip" | "ipv6" as command, "prefix-list", name, *rest]:
                known = config.prefixes.setdefault((command, name), [])
                if (rest := _without_seq(rest))[0] in ("permit", "deny"):  # a description is no entry
                    known.append(rest)
            case _:
                pass
    return config


def _blocks(text: str) -> Iterator[tuple[Line, list[Line]]]:
    """Each line that is not indented, with the indented ones below it."""
    head: Line = []
    below: list[Line] = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "!#":
            continue
        if line[0] in " \t":
            below.append(words)
            continue
        if head:
            yield head, below
        head, below = words, []
    if head:
        yield head, below


def _without_seq(words: Line) -> Line:
    return words[2:] if words[0] == "seq" else words


def _read_bgp(config: _Config, lines: list[Line]) -> None:
    family: int | None = 4  # of the lines outside any address-family; None for a family that is not read
    for line in lines:
        match line:
            case ["address-family", ("ipv4" | "ipv6") as name, "unicast"]:
                family = int(name[-1])
            case ["address-family", *_]:
                family = None
            case ["exit-address-family"]:
                family = 4
            case ["no", "bgp", "default", "ipv4-unicast"]:
                config.activates_ipv4 = False
            case ["bgp", "listen", "range", _, "peer-group", group]:
                config.listening.add(group)
            case ["no", "neighbor", name, "activate"] if family:
                config.in_family.setdefault((name, family), []).append(["no", "activate"])
            case ["neighbor", name, "peer-group"]:
                config.groups.add(name)
                config.neighbours.setdefault(name, [])
            case ["neighbor", name, *rest]:
                of_neighbour = config.neighbours.setdefault(name, [])
                if rest[0] in ("remote-as", "peer-group", "interface"):
                    of_neighbour.append([word for word in rest if word not in ("interface", "v6only")])
                elif family:
                    config.in_family.setdefault((name, family), []).append(rest)
            case _:
                pass


class _Policies:
    """Makes sessions of a configuration."""

    def __init__(self, config: _Config, marker: str) -> None:
        self._config = config
        self._marker = marker

    def missing_route_maps(self) -> Iterator[str]:
        """What is said of each route map that a session uses and that is not there."""
        used = {line[1] for lines in self._config.in_family.values() for line in lines if line[0] == "route-map"}
        for name in sorted(used - self._config.route_maps.keys()):
            yield f"uses route-map {name}, which is not there, so nothing passes: write it"

    def session(self, name: str) -> RouterSession:
        config = self._config
        lines = self._with_group(name, config.neighbours)
        remote = next((line[1] for line in lines if line[0] == "remote-as" and len(line) > 1), "external")
        families = {}
        for family in (4, 6):
            in_family = self._with_group(
                name, {key: value for (key, of), value in config.in_family.items() if of == family}
            )
            active = family == 4 and config.activates_ipv4
            for line in reversed(in_family):  # what stands first is the neighbour's own
                active = line[-1] != "no" if line == ["activate"] else False if line == ["no", "activate"] else active
            if active:
                families[family] = self._family(in_family, family)
        return RouterSession(remote not in ("internal", str(config.asn)), families)

    def _with_group(self, name: str, by_name: Mapping[str, list[Line]]) -> list[Line]:
        """The lines of a neighbour, and behind them those of its peer group, which count where it has none itself."""
        own = by_name.get(name, [])
        group = next((line[1] for line in self._config.neighbours[name] if line[0] == "peer-group"), None)
        return [*own, *by_name.get(group, [])] if group else own

    def _family(self, lines: Sequence[Line], family: int) -> FamilyPolicy:
        limit = next((line for line in lines if line[0] == "maximum-prefix" and len(line) > 1), None)
        hard = limit is not None and "warning-only" not in limit
        return FamilyPolicy(
            imports=self._policy(lines, "in", family),
            exports=self._policy(lines, "out", family),
            limit=int(limit[1]) if limit and hard else None,
            restarts=limit is not None and "restart" in limit,
            sends_all_paths=["addpath-tx-all-paths"] in lines,
            receives_all_paths=["disable-addpath-rx"] not in lines,
        )

    def _policy(self, lines: Sequence[Line], direction: str, family: int) -> tuple[Statement, ...]:
        applied = {line[0]: line[1] for line in reversed(lines) if len(line) == 3 and line[2] == direction}
        statements: tuple[Statement, ...] = (OPEN,)
        if (name := applied.get("route-map")) is not None:
            statements = tuple(self._entry(entry) for entry in self._config.route_maps.get(name, ()))
            statements += (Statement(f"the end of route-map {name}", accepts=False),)
        if (name := applied.get("prefix-list")) is not None:
            allowed = self._prefixes("ip" if family == 4 else "ipv6", name)
            statements = tuple(
                each._replace(prefixes=allowed, where=f"prefix-list {name}" if each is OPEN else each.where)
                if each.accepts and each.prefixes is None
                else each
                for each in statements
            )
        return statements

    def _entry(self, entry: _Entry) -> Statement:
        statement = Statement(entry.where, entry.permits)
        for line in entry.lines:
            match line:
                case ["match", "community", name, *rest]:
                    marked, unmarked = self._community(name)
                    statement = statement._replace(
                        marked=marked, unmarked=unmarked, partly=statement.partly or bool(rest)
                    )
                case ["match", "local-preference", value]:
                    statement = statement._replace(local_pref=int(value))
                case ["match", "ip" | "ipv6" as command, "address", "prefix-list", name]:
                    family = 4 if command == "ip" else 6
                    statement = statement._replace(prefixes=self._prefixes(command, name), family=family)
                case ["set", "local-preference", value] if value.isdigit():
                    statement = statement._replace(sets_local_pref=int(value))
                case ["match" | "call" | "on-match" | "continue", *_]:
                    statement = statement._replace(partly=True)
                case _:
                    pass
        return statement

    def _community(self, name: str) -> tuple[Matches, Matches]:
        """Whether a community list matches routes with our marker, and routes without it."""
        marked: Matches = "no"
        unmarked: Matches = "no"
        for kind, action, *values in self._config.communities.get(name, ()):
            certain = self._always_matches(kind, values)
            if action == "permit":
                unmarked = "no" if unmarked == "no" and kind == "standard" and self._marker in values else "maybe"
                marked = "yes" if certain and marked == "no" else "maybe" if marked == "no" else marked
            elif certain:
                return marked, unmarked
        return marked, unmarked

    def _always_matches(self, kind: str, values: Line) -> bool:
        if kind == "standard":
            return values == [self._marker]
        # FRR compares with all communities of a route, and ours has NO_EXPORT as well; _ is any border of a word.
        pattern = " ".join(values).replace("_", r"(?:^|$|[ ,{}()])")
        try:
            return re.search(pattern, f"{self._marker} no-export") is not None
        except re.error:
            return False

    def _prefixes(self, command: str, name: str) -> tuple[Network, ...]:
        """What a prefix list lets pass. FRR takes an empty one for everything, one that is not there for nothing."""
        entries = self._config.prefixes.get((command, name))
        if entries is None:
            return ()
        if not entries:
            return (EVERYTHING[command],)
        permitted = (words[1] for words in entries if words[0] == "permit")
        return tuple(
            EVERYTHING[command] if prefix == "any" else ipaddress.ip_network(prefix, strict=False)
            for prefix in permitted
        )
