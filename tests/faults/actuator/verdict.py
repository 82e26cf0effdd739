"""What a row of the actuator's faults counts: routes that stood too long, routes that leaked, and how long it took."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from math import ceil
from pathlib import Path

import msgspec

from app.clock import SystemClock

POLL_S = 0.05
GIVE_UP_S = 150.0  # what has not come, or gone, after so long never will

Count = Callable[[], Awaitable[int]]


class RouteOutcome(msgspec.Struct):
    """One line of the table. `figures` are the row's own, with their units in their names.

    `routes_stale` stood when their time was over, `routes_leaked` reached a neighbour or an edge that must not have
    them. `seconds_to_correct` is the worst of the row, None where something never became right.
    """

    fault: str
    times: int
    routes_stale: int
    routes_leaked: int
    seconds_to_correct: float | None
    figures: dict[str, float]
    problems: list[str]

    @property
    def ok(self) -> bool:
        wrong = self.routes_stale or self.routes_leaked or self.problems
        return not wrong and self.seconds_to_correct is not None


class Trial:
    """Collects what the tries of one row showed. Its daemons run in `run_dir`; `say` shows people how far it is."""

    def __init__(self, fault: str, times: int, seed: int, run_dir: Path, say: Callable[[str], None]) -> None:
        self.fault = fault
        self.run_dir = run_dir
        self.times = times
        self.random = random.Random(f"{seed} {fault}")
        self.clock = SystemClock()
        self.say = say
        self.seconds: list[float | None] = []
        self.stale = 0
        self.leaked = 0
        self.figures: dict[str, float] = {}
        self.problems: list[str] = []

    async def gone(self, count: Count, began_s: float, limit_s: float) -> float | None:
        """Wait until no route is left; note how many there were `limit_s` after `began_s`, and the time it took.

        Times are monotonic seconds. None, and a problem, if routes are still there after GIVE_UP_S.
        """
        late = False
        while (left := await count()) and self.clock.monotonic_s() < began_s + GIVE_UP_S:
            if not late and self.clock.monotonic_s() > began_s + limit_s:
                late = True
                self.stale += left
            await asyncio.sleep(POLL_S)
        took_s = self.clock.monotonic_s() - began_s
        if left:
            self.problems.append(f"{left} routes still stood after {took_s:.0f} s")
            self.seconds.append(None)
            return None
        if not late and took_s > limit_s:
            self.problems.append(f"gone after {took_s:.2f} s, {limit_s:g} s are allowed")
        self.seconds.append(took_s)
        return took_s

    def worst(self, figure: str, value: float | None) -> None:
        """Note a figure of one try; the largest of the row counts, and None is no figure."""
        if value is not None:
            self.figures[figure] = max(value, self.figures.get(figure, value))

    def outcome(self) -> RouteOutcome:
        """The line of the table; with more than one try, also the median and the 99th percentile of their times."""
        known = sorted(one for one in self.seconds if one is not None)
        if len(known) > 1:
            self.figures |= {"seconds_p50": quantile(known, 0.5), "seconds_p99": quantile(known, 0.99)}
        return RouteOutcome(
            fault=self.fault,
            times=len(self.seconds),
            routes_stale=self.stale,
            routes_leaked=self.leaked,
            seconds_to_correct=round(known[-1], 2) if known and len(known) == len(self.seconds) else None,
            figures={name: round(figure, 3) for name, figure in self.figures.items()},
            problems=self.problems,
        )


def quantile(values: list[float], share: float) -> float:
    """The smallest of these sorted values that at least this share of them does not exceed."""
    return values[ceil(share * len(values)) - 1]
