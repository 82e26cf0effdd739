"""Where the traffic of one (ingress router, prefix) leaves: by plain BGP, and with the overrides that are held."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from app.te.cycle_state import StandingOverride
from app.te.routing.natural import NaturalRouting
from app.te.traffic.demand import Numbers
from app.te.traffic.egress_index import NO_EXIT, EgressIndex

Rule = Callable[[str, str, str], str]  # (ingress, prefix, a link) -> another


class Placement:
    """Answers by link id.

    Vendors break ties differently, so where we do not interfere the link on which a flow was *seen* is its natural
    one, as long as it has a live path. Where we do (held, or released a moment ago) only the BGP model can tell,
    corrected by what it got wrong when the override was made.
    """

    def __init__(
        self, natural: NaturalRouting, held: Mapping[str, StandingOverride], settling: Mapping[str, StandingOverride]
    ) -> None:
        self._routing = natural
        self._held = held
        self._touched = {**settling, **held}
        self._where_seen: dict[str, frozenset[str]] = {}

    def natural(self, ingress: str, prefix: str, seen_on: str) -> str:
        """The link by plain BGP; the one it was seen on where BGP knows none."""
        if (links := self._where_seen.get(prefix)) is None:
            links = self._where_seen[prefix] = self._links(prefix)
        return seen_on if seen_on in links else self._predicted(ingress, prefix, seen_on)

    def naturals(self, egress: EgressIndex, numbers: Numbers, seen_on: Numbers) -> Numbers:
        """`natural` of many pairs of an index, which numbers the links."""
        bgp = egress.predict(numbers)
        predicted = np.where(bgp.exits == NO_EXIT, seen_on, bgp.exits)
        natural = np.where(bgp.lives(seen_on) & ~bgp.overridden, seen_on, predicted)
        return _one_by_one(egress, (self.natural, self._touched), numbers, seen_on, natural)

    def planneds(self, egress: EgressIndex, numbers: Numbers, natural: Numbers) -> Numbers:
        """`planned` of many pairs of an index, which numbers the links."""
        return _one_by_one(egress, (self.planned, self._held), numbers, natural, natural.copy())

    def _links(self, prefix: str) -> frozenset[str]:
        """Those that are natural where the prefix is seen on them."""
        routes = self._routing.routes(prefix)
        return frozenset() if prefix in self._touched or routes.overridden else routes.links

    def _predicted(self, ingress: str, prefix: str, seen_on: str) -> str:
        touched = self._touched.get(prefix)
        egress = self._routing.routes(prefix).exits.get(ingress)
        predicted = seen_on if egress is None else egress.link
        known, really = touched.observed.get(ingress, ("", "")) if touched is not None else ("", "")
        return really if known == predicted else predicted

    def planned(self, ingress: str, prefix: str, natural: str) -> str:
        """The link with the held overrides in force, given the `natural` one."""
        held = self._held.get(prefix)
        return held.override.exit.link if held is not None and ingress in held.override.inject_on else natural


def _one_by_one(
    egress: EgressIndex, rule: tuple[Rule, Iterable[str]], numbers: Numbers, given: Numbers, others: Numbers
) -> Numbers:
    """What the rule says of pairs of its prefixes, given a link; of the rest, `others`, which it changes."""
    ask, prefixes = rule
    links = list(egress.links)
    for place in np.flatnonzero(egress.pairs.among(numbers, prefixes)).tolist():
        ingress, prefix = egress.pairs.keys[numbers[place]]
        others[place] = egress.number(ask(ingress, prefix, links[given[place]]))
    return others
