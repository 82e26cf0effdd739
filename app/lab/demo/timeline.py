"""What a demo is going to do and how long it takes, told before it begins. Pure."""

from collections.abc import Iterator

from app.lab.pop.scenario import BUSIEST, TAKEN_BACK, Scenario, ScenarioEvent

START_ABOUT_S, END_ABOUT_S = 30, 20


def timeline(name: str, scenario: Scenario) -> Iterator[str]:
    """Some lines, in order of time."""
    minutes = (START_ABOUT_S + scenario.seconds + END_ABOUT_S) / 60
    yield f"{name}: {scenario.seconds} s of traffic, about {minutes:.1f} minutes in all"
    yield f"  first       the daemons start, about {START_ABOUT_S} s"
    if not scenario.export_policy:
        yield "  throughout  r1 has no export policy: what it tells its neighbours is counted"
    if scenario.peak_share:
        yield (
            f"  {_at(scenario.calm_s)}  {scenario.link} wants {scenario.peak_share:.0%} of its capacity,"
            f" until {min(scenario.surge_until_s, scenario.seconds):g} s"
        )
    for event in sorted(scenario.event, key=lambda event: event.at_s):
        yield f"  {_at(event.at_s)}  {_event(event)}"
    left = " and every move taken back" if scenario.verdict in TAKEN_BACK else ""
    yield f"  at the end  everything sent is counted{left}, about {END_ABOUT_S} s; then the verdict"


def _at(at_s: float) -> str:
    return f"at {at_s:g} s".ljust(10)


def _event(event: ScenarioEvent) -> str:
    if event.kill is not None:
        return f"{'the neighbour that carries most overrides' if event.kill == BUSIEST else event.kill} is killed"
    if event.plant == "stray":
        return "somebody else puts an override into r1's injector; Autopilot must take it out"
    if event.plant == "loop":
        return f"for {event.for_s:g} s r2 sends back to r1 what r1 sends it: a loop"
    return "bad input of known size is put in beside the traffic"
