"""Where the traffic of one (ingress router, prefix) leaves: by plain BGP, and with the overrides in force."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from app.te.cycle_state import StandingOverride
from app.te.routing.natural import NaturalRouting
from app.te.traffic.demand import Numbers
from app.te.traffic.egress_index import NO_EXIT, EgressIndex

Rule = Callable[[str, str, str], str]  # (ingress, prefix, link id) -> link id


class Placement:
    """The natural and the planned link of each pair, given the overrides `held` and those released and `settling`.

    Vendors break ties differently, so for prefixes that we do not steer, the link on which a flow was *seen* is its
    natural link, as long as it has a live path. For prefixes that we steer (held or settling), only the BGP model can
    say, corrected by what it got wrong when the override was made.
    """

    def __init__(
        self, natural: NaturalRouting, held: Mapping[str, StandingOverride], settling: Mapping[str, StandingOverride]
    ) -> None:
        self._routing = natural
        self._held = held
        self._touched = {**settling, **held}
        self._links_by_prefix: dict[str, frozenset[str]] = {}

    def natural(self, ingress: str, prefix: str, seen_on: str) -> str:
        """The id of the link by plain BGP; `seen_on` if BGP has no exit."""
        if (links := self._links_by_prefix.get(prefix)) is None:
            links = self._links_by_prefix[prefix] = self._links(prefix)
        return seen_on if seen_on in links else self._predicted(ingress, prefix, seen_on)

    def naturals(self, egress: EgressIndex, numbers: Numbers, seen_on: Numbers) -> Numbers:
        """The natural links of many pairs, as `natural` returns them one by one; `egress` numbers pairs and links."""
        bgp = egress.predict(numbers)
        predicted = np.where(bgp.exits == NO_EXIT, seen_on, bgp.exits)
        natural = np.where(bgp.lives(seen_on) & ~bgp.overridden, seen_on, predicted)
        return _one_by_one(egress, (self.natural, self._touched), numbers, seen_on, natural)

    def planneds(self, egress: EgressIndex, numbers: Numbers, natural: Numbers) -> Numbers:
        """The planned links of many pairs, as `planned` returns them one by one; `egress` numbers pairs and links."""
        return _one_by_one(egress, (self.planned, self._held), numbers, natural, natural.copy())

    def exits(self, egress: EgressIndex, numbers: Numbers, natural: Numbers) -> Numbers:
        """The exits of the overrides, held or settling, of many pairs; their `natural` links where there is none."""
        return _one_by_one(egress, (self._exit, self._touched), numbers, natural, natural.copy())

    def _exit(self, ingress: str, prefix: str, natural: str) -> str:
        return self._touched[prefix].override.exit.link

    def _links(self, prefix: str) -> frozenset[str]:
        """The links that count as natural when the prefix is seen on them."""
        routes = self._routing.routes(prefix)
        return frozenset() if prefix in self._touched or routes.overridden else routes.links

    def _predicted(self, ingress: str, prefix: str, seen_on: str) -> str:
        touched = self._touched.get(prefix)
        egress = self._routing.routes(prefix).exits.get(ingress)
        predicted = seen_on if egress is None else egress.link
        mispredicted, actual = touched.observed.get(ingress, ("", "")) if touched is not None else ("", "")
        return actual if mispredicted == predicted else predicted

    def planned(self, ingress: str, prefix: str, natural: str) -> str:
        """The id of the link with the held overrides in force, given the `natural` link."""
        held = self._held.get(prefix)
        return held.override.exit.link if held is not None and ingress in held.override.inject_on else natural


def _one_by_one(
    egress: EgressIndex, rule: tuple[Rule, Iterable[str]], numbers: Numbers, given: Numbers, defaults: Numbers
) -> Numbers:
    """`defaults`, with the pairs of some prefixes replaced in place by what a rule says, given a link.

    `rule` is the function and the prefixes that it applies to.
    """
    ask, prefixes = rule
    links = list(egress.links)
    for place in np.flatnonzero(egress.pairs.among(numbers, prefixes)).tolist():
        ingress, prefix = egress.pairs.keys[numbers[place]]
        defaults[place] = egress.number(ask(ingress, prefix, links[given[place]]))
    return defaults
