"""What a demo is going to do and how long it takes, for the user to read before it begins. Pure."""

from collections.abc import Iterator

from app.lab.pop.scenario import BUSIEST, TAKEN_BACK, Scenario, ScenarioEvent

START_ABOUT_S, END_ABOUT_S = 30, 20


def timeline(name: str, scenario: Scenario) -> Iterator[str]:
    """The lines that announce the scenario: a title, then what happens, in order of time."""
    minutes = (START_ABOUT_S + scenario.seconds + END_ABOUT_S) / 60
    yield f"{name}: {scenario.seconds} s of traffic, about {minutes:.1f} minutes in total"
    yield f"  first       Kafka, the collectors and the routers start (about {START_ABOUT_S} s)"
    if not scenario.export_policy:
        yield "  throughout  r1 has no export policy; the demo counts every route that leaks to a neighbour"
    if scenario.peak_share:
        yield (
            f"  {_at(scenario.calm_s)}  demand on {scenario.link} rises to {scenario.peak_share:.0%} of its capacity,"
            f" until {min(scenario.surge_until_s, scenario.seconds):g} s"
        )
    for event in sorted(scenario.event, key=lambda event: event.at_s):
        yield f"  {_at(event.at_s)}  {_event(event)}"
    moves = " and every move is taken back" if scenario.verdict in TAKEN_BACK else ""
    yield f"  at the end  the demo waits until all traffic is counted{moves} (about {END_ABOUT_S} s); then the verdict"


def _at(at_s: float) -> str:
    return f"at {at_s:g} s".ljust(10)


def _event(event: ScenarioEvent) -> str:
    if event.kill is not None:
        return (
            f"{'the neighbour with most overrides' if event.kill == BUSIEST else f'neighbour {event.kill}'} is killed"
        )
    if event.plant == "stray":
        return "a foreign override is put into r1's injector; Autopilot must withdraw it"
    if event.plant == "loop":
        return f"for {event.for_s:g} s a foreign route makes r2 send traffic back to r1: a loop"
    if event.inject == "forgeries":
        return f"for {event.for_s:g} s counters, flows and a BMP session are forged; nothing may move"
    return "bad input of known size is sent beside the traffic"
