"""Scenarios: the timeline of demand and what breaks meanwhile. Each is one TOML file; unknown keys are errors."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from app.config.inventory import Pop
from app.config.toml import convert, read_toml
from app.errors import ConfigError

FOLDER: Final = Path(__file__).parents[3] / "deploy" / "local" / "scenarios"
BUSIEST: Final = "busiest"
Verdict = Literal["surge", "link-failure", "no-room", "leak", "loop", "bad-input"]
TAKEN_BACK: Final = ("surge", "no-room")  # verdicts that require every move to be taken back
STILL_NEEDED: Final = ("link-failure", "leak")  # the overload lasts until the end, and so do the moves
SECONDS_MIN: Final = 30  # three windows
SECONDS_MIN_TAKEN_BACK: Final = 220  # in a shorter run the moves are not all taken back
ACTIONS: Final = ("kill", "plant", "inject")


class ScenarioEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event at `at_s`, which is exactly one of `kill`, `plant` and `inject`.

    `kill`: the neighbour with this address dies, or for "busiest" the one that carries most overrides by then. `plant`:
    a foreign route is put in for `for_s` seconds, "stray" with our marker in r1's injector, "loop" in r2 alone.
    `inject`: "bad-records" are records that no collector should ever write, put in beside the real ones; "forgeries"
    come for `for_s` seconds in a router's name, from an address that the collectors believe.
    """

    at_s: float
    kill: str | None = None
    plant: Literal["stray", "loop"] | None = None
    inject: Literal["bad-records", "forgeries"] | None = None
    for_s: float | None = None

    @property
    def actions(self) -> tuple[str, ...]:
        """The names of the actions that this event asks for; a valid event has exactly one."""
        return tuple(action for action in ACTIONS if getattr(self, action) is not None)


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A surge on one link and the events of a run; times are seconds since traffic began.

    `peak_share` is the link's natural load at the top of the surge, as a share of capacity. The defaults are those of
    `surge.toml`, but without its event and with demand that neither reacts to drops nor swings with the time of day.
    """

    link: str = "r1/et-0/0/1"  # router/name; the verdict compares estimate and truth here
    calm_s: float = 30.0
    ramp_s: float = 10.0
    surge_until_s: float = 150.0
    peak_share: float = 1.25
    elastic_share: float = 0.0  # share of each prefix's demand that backs off when its link drops
    daily_share: float = 0.0  # how far all demand swings up and down within a day, as a share of calm demand
    day_s: float = 86400.0
    fill: Mapping[str, float] = {}  # calm load by link as a share of capacity; other links keep the simulator's default
    export_policy: bool = True  # False removes r1's export guard, so its neighbours receive every route
    sampling_rate: int = 32768  # one in this many frames is sampled; halving it doubles the records
    look_s: float = 85.0  # when both edges are asked for our routes with their own commands
    seconds: int = 240  # length of traffic, unless the command line gives another
    verdict: Verdict = "surge"
    event: tuple[ScenarioEvent, ...] = ()

    @property
    def ends_s(self) -> float:
        """When demand is calm again, in seconds since traffic began."""
        return self.surge_until_s + self.ramp_s

    def intensity(self, at_s: float) -> float:
        """Intensity of the surge at this time: 0 when calm, 1 at the top, linear on the ramps."""
        rise = (at_s - self.calm_s) / self.ramp_s
        fall = (self.ends_s - at_s) / self.ramp_s
        return min(max(min(rise, fall), 0.0), 1.0)

    def daily(self, at_s: float) -> float:
        """The factor on all demand at this time of day: 1 at the start, highest after a quarter of a day."""
        return 1 + self.daily_share * math.sin(2 * math.pi * at_s / self.day_s)

    def multiplier(self, at_s: float, base_share: float) -> float:
        """The factor on the demand of the surged prefixes, on top of `daily`.

        `base_share` is the link's natural load in calm times at the start of the day. The surge rises from what the
        time of day asks for to `peak_share`, so its top is `peak_share` at any time of day.
        """
        if not self.peak_share:
            return 1.0
        return 1 + self.intensity(at_s) * (self.peak_share / (base_share * self.daily(at_s)) - 1)


def is_path(name: str) -> bool:
    """Whether this names a file, not one of our scenarios."""
    return "/" in name or name.endswith(".toml")


def load_scenario(name: str, pop: Pop, seconds: int | None = None) -> Scenario:
    """Load a scenario by name or path; `seconds` replaces its length if given. ConfigError lists all mistakes."""
    path = Path(name) if is_path(name) else FOLDER / f"{name}.toml"
    if not os.access(path, os.R_OK):
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.toml")))
        missing = f"scenario {name}: not found, or not readable for us"
        raise ConfigError([f"{missing}; known: {known}, or give the path of a file"])
    problems: list[str] = []
    scenario = convert(read_toml(path), Scenario, path.name, problems)
    if scenario is not None:
        scenario = scenario if seconds is None else msgspec.structs.replace(scenario, seconds=seconds)
        problems.extend(f"{path.name}: {problem}" for problem in mistakes(scenario, pop))
    if problems or scenario is None:
        raise ConfigError(problems)
    return scenario


def mistakes(scenario: Scenario, pop: Pop) -> Iterator[str]:
    """Every mistake in a scenario: values that contradict each other or do not fit this PoP."""
    links = [f"{link.router}/{link.name}" for link in pop.link]
    peers = [session.peer for link in pop.link for session in link.sessions]
    known_links, shortest = f"known: {', '.join(links)}", seconds_min(scenario.verdict)
    injects = [event.inject for event in scenario.event if event.inject is not None]
    rules = {
        f"link {scenario.link}: not in {pop.name}; {known_links}": scenario.link in links,
        "calm_s must not be negative": scenario.calm_s >= 0,
        "ramp_s must be above 0": scenario.ramp_s > 0,
        "surge_until_s must not be before calm_s + ramp_s": scenario.surge_until_s >= scenario.calm_s + scenario.ramp_s,
        "peak_share must not be negative; 0 means no surge": scenario.peak_share >= 0,
        "elastic_share must lie between 0 and 1": 0 <= scenario.elastic_share <= 1,
        "daily_share must be at least 0 and below 1": 0 <= scenario.daily_share < 1,
        "day_s must be above 0": scenario.day_s > 0,
        "sampling_rate must be above 0": scenario.sampling_rate > 0,
        f"seconds must be at least {shortest} for the verdict {scenario.verdict}": scenario.seconds >= shortest,
        "look_s must lie within the run": 0 <= scenario.look_s < scenario.seconds,
        "event: each inject is possible only once": len(injects) == len(set(injects)),
    }
    yield from (rule for rule, holds in rules.items() if not holds)
    for link, share in scenario.fill.items():
        if link not in links:
            yield f"fill.{link}: not in {pop.name}; {known_links}"
        if not 0 < share <= 1:
            yield f"fill.{link}: must lie between 0 and 1"
    for index, event in enumerate(scenario.event):
        yield from (f"event[{index}]{problem}" for problem in _event_mistakes(event, scenario, peers))


def seconds_min(verdict: Verdict) -> int:
    """The shortest run, in seconds, for which this verdict is possible."""
    return SECONDS_MIN_TAKEN_BACK if verdict in TAKEN_BACK else SECONDS_MIN


def _event_mistakes(event: ScenarioEvent, scenario: Scenario, peers: Sequence[str]) -> Iterator[str]:
    if len(event.actions) != 1:
        yield f": needs exactly one of {', '.join(ACTIONS)}, not {' and '.join(event.actions) or 'none'}"
    if event.kill not in (None, BUSIEST, *peers):
        yield f".kill: no peer {event.kill}; known: {BUSIEST}, {', '.join(peers)}"
    if not 0 <= event.at_s < scenario.seconds:
        yield ".at_s: must lie within the run"
    if (event.plant is None and event.inject != "forgeries") != (event.for_s is None):
        yield ".for_s: plant and forgeries need for_s, and nothing else takes it"
    if event.for_s is not None and not 0 < event.for_s < scenario.seconds - event.at_s:
        yield ".for_s: must be above 0 and end within the run"
