"""A scenario: the time line of demand and what breaks meanwhile. One TOML file each, unknown keys are errors."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from app.configfile import convert, read_toml
from app.errors import ConfigError
from app.inventory import Pop

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "local" / "scenarios"
BUSIEST: Final = "busiest"
SECONDS_MIN: Final = 220  # shorter runs do not see their moves taken back
Verdict = Literal["surge", "link-failure", "no-room"]


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At `at_s` the neighbour `kill` dies: a peer's address, or "busiest", who carries most overrides by then."""

    at_s: float
    kill: str


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A surge on one link, in seconds since the start. `peak_share` is its natural load at the top, of capacity.

    The defaults are those of `surge.toml`, but for its event. A `peak_share` of 0 is no surge.
    """

    link: str = "r1/et-0/0/1"  # router/name; the verdict compares estimate and truth on it
    calm_s: float = 30.0
    ramp_s: float = 10.0
    surge_until_s: float = 150.0
    peak_share: float = 1.25
    elastic_share: float = 0.0  # of each prefix's demand, what backs off when its link drops
    fill: Mapping[str, float] = {}  # calm share of capacity by link, where it is not the simulator's own
    look_s: float = 85.0  # when both edges are asked for our routes by their own commands
    seconds: int = 240  # of traffic, unless asked for otherwise
    verdict: Verdict = "surge"
    event: tuple[Event, ...] = ()

    @property
    def ends_s(self) -> float:
        """When demand is back to calm."""
        return self.surge_until_s + self.ramp_s

    def intensity(self, at_s: float) -> float:
        """0 in calm times, 1 at the top, linear on the ramps."""
        rise = (at_s - self.calm_s) / self.ramp_s
        fall = (self.ends_s - at_s) / self.ramp_s
        return min(max(min(rise, fall), 0.0), 1.0)

    def multiplier(self, at_s: float, base_share: float) -> float:
        """What the demand of the surged prefixes is multiplied by; `base_share` is the link's calm natural load."""
        if not self.peak_share:
            return 1.0
        return 1 + self.intensity(at_s) * (self.peak_share / base_share - 1)


def load_scenario(name: str, pop: Pop) -> Scenario:
    """The scenario of that name, or in the file of that path; ConfigError lists every mistake."""
    path = Path(name) if "/" in name or name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.toml")))
        raise ConfigError([f"scenario {name}: there is none; known: {known}, or the path of a file"])
    problems: list[str] = []
    scenario = convert(read_toml(path), Scenario, path.name, problems)
    if scenario is not None:
        problems.extend(f"{path.name}: {problem}" for problem in mistakes(scenario, pop))
    if problems or scenario is None:
        raise ConfigError(problems)
    return scenario


def mistakes(scenario: Scenario, pop: Pop) -> Iterator[str]:
    """What does not fit together, or not to this PoP."""
    links = [f"{link.router}/{link.name}" for link in pop.link]
    peers = [session.peer for link in pop.link for session in link.sessions]
    known_links, known_peers = f"known: {', '.join(links)}", f"known: {BUSIEST}, {', '.join(peers)}"
    rules = {
        f"link {scenario.link}: not in {pop.name}; {known_links}": scenario.link in links,
        "calm_s must not be negative": scenario.calm_s >= 0,
        "ramp_s must be above 0": scenario.ramp_s > 0,
        "surge_until_s must not be before calm_s + ramp_s": scenario.surge_until_s >= scenario.calm_s + scenario.ramp_s,
        "peak_share must not be negative; 0 is no surge": scenario.peak_share >= 0,
        "elastic_share must lie between 0 and 1": 0 <= scenario.elastic_share <= 1,
        f"seconds must be at least {SECONDS_MIN}": scenario.seconds >= SECONDS_MIN,
        "look_s must lie in the run": 0 <= scenario.look_s < scenario.seconds,
    }
    yield from (rule for rule, holds in rules.items() if not holds)
    for link, share in scenario.fill.items():
        if link not in links:
            yield f"fill.{link}: not in {pop.name}; {known_links}"
        if not 0 < share <= 1:
            yield f"fill.{link}: must lie between 0 and 1"
    for index, event in enumerate(scenario.event):
        if event.kill not in (BUSIEST, *peers):
            yield f"event[{index}].kill: no peer {event.kill}; {known_peers}"
        if not 0 <= event.at_s < scenario.seconds:
            yield f"event[{index}].at_s: must lie in the run"
