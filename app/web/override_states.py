"""How far each override has come, from what the actuator did last on each router."""

from typing import Literal

import msgspec

from app.contract.schemas import Actuation, Decision, Override

PREFIXES_MAX = 10_000
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


class OverrideStates:
    """The last action on each router, for the PREFIXES_MAX prefixes that were acted on last."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], dict[str, Actuation]] = {}

    def take(self, actuation: Actuation) -> None:
        """Take an actuation; actuations come in their order, and repeats change nothing."""
        key = actuation.pop, actuation.prefix
        routers = self._last.pop(key, {})
        self._last[key] = {**routers, actuation.router: actuation}
        if len(self._last) > PREFIXES_MAX:
            del self._last[next(iter(self._last))]

    def routers(self, pop: str, prefix: str) -> dict[str, str]:
        """The last action on each router that has, or should have, a route for this prefix."""
        last = self._last.get((pop, prefix), {})
        return {router: one.action for router, one in last.items() if one.action not in GONE}

    def of(self, pop: str, override: Override) -> OverrideState:
        """How far this override has come. What was done for another exit of the prefix does not count."""
        last = self._last.get((pop, override.prefix), {})
        at_exit = last.get(override.exit.router)
        if at_exit is None or at_exit.next_hop != override.exit.next_hop:
            return OverrideState("decided", None, {})
        actions = {router: last[router].action for router in override.inject_on if router in last}
        shown = {router: actions.get(router, "not yet") for router in override.inject_on}
        if (refused := next((one for one in last.values() if one.action == "refused"), None)) is not None:
            return OverrideState("refused", refused.reason, shown)
        if (gone := next((one for one in last.values() if one.action in GONE), None)) is not None:
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
