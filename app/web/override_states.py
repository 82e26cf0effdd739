"""How far each override has come, from what the actuator did last on each router."""

from typing import Literal

import msgspec

from app.contract.schemas import Actuation, Decision, Override

PREFIXES_MAX = 20_000
ACTUATIONS_READ = 80_000  # of the last ones, by whoever wants to know how far overrides have come
GONE = ("withdrawn", "would-withdraw")

Progress = Literal["decided", "would-announce", "announced", "confirmed", "refused", "withdrawn"]


class OverrideState(msgspec.Struct, frozen=True):
    """How far an override has come, on all its routers together, and the last action on each.

    `decided`: the actuator has not acted on it. `announced`: not every router has shown it over BMP; `confirmed`: each
    has. `refused` and `withdrawn` come with the actuator's `reason`; `would-announce` is all that a dry run does.
    """

    state: Progress
    reason: str | None
    routers: dict[str, str]

    def __str__(self) -> str:
        """The state as text, with how many routers have confirmed it or why it was refused."""
        if self.state == "announced":
            confirmed = sum(action == "confirmed" for action in self.routers.values())
            return f"announced, confirmed by {confirmed} of {len(self.routers)}"
        return f"{self.state}: {self.reason}" if self.reason else self.state


class Acts(msgspec.Struct):
    """What was done for a prefix: the last action on the route of each router, and the refusals that still stand.

    A refusal is of one exit (router and next hop), and leaves the routes that are there as they were.
    """

    routes: dict[str, Actuation] = {}
    refused: dict[tuple[str, str | None], Actuation] = {}

    def take(self, actuation: Actuation) -> None:
        exit_ = actuation.router, actuation.next_hop
        if actuation.action == "refused":
            self.refused[exit_] = actuation
        else:
            self.refused.pop(exit_, None)
            self.routes[actuation.router] = actuation


class OverrideStates:
    """What was done, for the PREFIXES_MAX prefixes that were acted on last."""

    def __init__(self) -> None:
        self._acts: dict[tuple[str, str], Acts] = {}

    def take(self, actuation: Actuation) -> None:
        """Take an actuation; actuations come in their order, and repeats change nothing."""
        key = actuation.pop, actuation.prefix
        self._acts[key] = self._acts.pop(key, Acts())
        self._acts[key].take(actuation)
        if len(self._acts) > PREFIXES_MAX:
            del self._acts[next(iter(self._acts))]

    def of(self, pop: str, override: Override) -> OverrideState:
        """How far this override has come. What was done for another exit of the prefix does not count."""
        acts, egress = self._acts.get((pop, override.prefix), Acts()), override.exit
        if (refused := acts.refused.get((egress.router, egress.next_hop))) is not None:
            routers = dict.fromkeys(override.inject_on, "not yet") | {egress.router: "refused"}
            return OverrideState("refused", refused.reason, routers)
        at_exit = acts.routes.get(egress.router)
        if at_exit is None or at_exit.next_hop != egress.next_hop:
            return OverrideState("decided", None, {})
        ours = {router: acts.routes[router] for router in override.inject_on if router in acts.routes}
        shown = {router: ours[router].action if router in ours else "not yet" for router in override.inject_on}
        if (gone := next((one for one in ours.values() if one.action in GONE), None)) is not None:
            # A decision that still wants it was made after its release.
            is_new = gone.reason.startswith("released")
            return OverrideState("decided", None, {}) if is_new else OverrideState("withdrawn", gone.reason, shown)
        if all(action == "confirmed" for action in shown.values()):
            return OverrideState("confirmed", None, shown)
        if "would-announce" in shown.values():
            return OverrideState("would-announce", None, shown)
        return OverrideState("announced", None, shown)

    def of_decision(self, decision: Decision) -> dict[str, OverrideState]:
        """How far every override of a decision has come, by prefix."""
        return {override.prefix: self.of(decision.pop, override) for override in decision.overrides}
