"""Where the traffic of one (ingress router, prefix) leaves: by plain BGP, and with the overrides that are held."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from app.te.routing.natural import NaturalRouting
from app.te.state import Held
from app.te.traffic.demand import Numbers, Pairs
from app.te.traffic.egress_index import NO_EXIT, Forecast


class Placement:
    """Answers by link id.

    Vendors break ties differently, so where we do not interfere the link on which a flow was *seen* is its natural
    one, as long as it has a live path. Where we do (held, or released a moment ago) only the BGP model can tell,
    corrected by what it got wrong when the override was made.
    """

    def __init__(self, natural: NaturalRouting, held: Mapping[str, Held], settling: Mapping[str, Held]) -> None:
        self._routing = natural
        self._held = held
        self._touched = {**settling, **held}
        self._where_seen: dict[str, frozenset[str]] = {}

    def natural(self, ingress: str, prefix: str, seen_on: str) -> str:
        """The link by plain BGP; the one it was seen on where BGP knows none."""
        if (links := self._where_seen.get(prefix)) is None:
            links = self._where_seen[prefix] = self._links(prefix)
        return seen_on if seen_on in links else self._predicted(ingress, prefix, seen_on)

    def forecast(self, pairs: Pairs) -> Forecast:
        """What numbers the links of `naturals` and `planneds`."""
        return Forecast.of(self._routing, pairs)

    def naturals(self, pairs: Pairs, numbers: Numbers, seen_on: Numbers) -> Numbers:
        """`natural` of many pairs."""
        said = self.forecast(pairs).say(pairs, numbers)
        predicted = np.where(said.exits == NO_EXIT, seen_on, said.exits)
        natural = np.where(said.lives(seen_on) & ~said.overridden, seen_on, predicted)
        return self._one_by_one(self.natural, self._touched, pairs, numbers, seen_on, natural)

    def planneds(self, pairs: Pairs, numbers: Numbers, natural: Numbers) -> Numbers:
        """`planned` of many pairs."""
        return self._one_by_one(self.planned, self._held, pairs, numbers, natural, natural.copy())

    def _one_by_one(
        self,
        rule: Callable[[str, str, str], str],
        prefixes: Iterable[str],
        pairs: Pairs,
        numbers: Numbers,
        given: Numbers,
        others: Numbers,
    ) -> Numbers:
        """What the rule says of pairs of these prefixes, given a link; of the rest, `others`, which it changes."""
        forecast = self.forecast(pairs)
        links = list(forecast.links)
        for place in np.flatnonzero(pairs.among(numbers, prefixes)).tolist():
            ingress, prefix = pairs.keys[numbers[place]]
            others[place] = forecast.number(rule(ingress, prefix, links[given[place]]))
        return others

    def _links(self, prefix: str) -> frozenset[str]:
        """Those that are natural where the prefix is seen on them."""
        routes = self._routing.routes(prefix)
        return frozenset() if prefix in self._touched or routes.overridden else routes.links

    def _predicted(self, ingress: str, prefix: str, seen_on: str) -> str:
        touched = self._touched.get(prefix)
        leave = self._routing.routes(prefix).exits.get(ingress)
        predicted = seen_on if leave is None else leave.link
        known, really = touched.observed.get(ingress, ("", "")) if touched is not None else ("", "")
        return really if known == predicted else predicted

    def planned(self, ingress: str, prefix: str, natural: str) -> str:
        """The link with the held overrides in force, given the `natural` one."""
        held = self._held.get(prefix)
        return held.override.exit.link if held is not None and ingress in held.override.inject_on else natural
