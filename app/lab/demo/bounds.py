"""The bounds that a run of the demo must keep, depending on the verdict its scenario asks for. Pure.

The name of a bound states what is true when it holds. Times are judged over several runs, so most are no bounds; those
that are here (`timed_bounds`) say something about Autopilot only if the machine kept time.
"""

from collections.abc import Mapping
from math import isfinite

from app.lab.demo.evidence import Evidence
from app.lab.demo.forger import NAMED

FigureValue = bool | int | float | str | None | list[str] | dict[str, int]
NO_ROOM = "no-room"
RELIEVED_WITHIN_S = 60.0
STRAY_WITHIN_S = 5.0  # the actuator lists the routes in its speakers every 2 s
LOOP_SLACK_S = 1.0  # the two tables are read twice a second, at slightly different moments
KEPT_TIME_S = 1.0  # a simulator that lost more was kept waiting by other work of the machine
WINDOW_S = 10.0  # length of a window in every demo


class FiguresByName:
    """Looks up figures as numbers. A figure that is not a number becomes NaN, so every comparison with it is false."""

    def __init__(self, figures: Mapping[str, FigureValue]) -> None:
        self._figures = figures

    def __call__(self, name: str) -> float:
        value = self._figures[name]
        return float(value) if isinstance(value, int | float) else float("nan")


def bounds(figures: Mapping[str, FigureValue], evidence: Evidence) -> dict[str, bool]:
    """By name, whether each bound of the evidence's verdict holds."""
    number = FiguresByName(figures)
    holds = _always(number, evidence)
    match evidence.verdict:
        case "surge":
            return holds | _clean(number) | _moved(number, evidence) | _taken_back(number) | _surge(number, evidence)
        case "link-failure":
            return holds | _clean(number) | _moved(number, evidence) | _failure(number, evidence)
        case "no-room":
            return holds | _clean(number) | _moved(number, evidence) | _taken_back(number) | _no_room(number, evidence)
        case "leak":
            return holds | _no_junk(number) | _moved(number, evidence) | _leak(number)
        case "loop":
            return holds | _no_junk(number) | _no_leaks(number) | _unmoved(number) | _loop(number)
        case "bad-input":
            return holds | _no_leaks(number) | _unmoved(number) | _bad_input(number, evidence)


def timed_bounds(figures: Mapping[str, FigureValue], evidence: Evidence) -> dict[str, bool]:
    """Like `bounds`, those that a machine which is busy with other work would break."""
    number = FiguresByName(figures)
    holds = _no_restarts(number)
    match evidence.verdict:
        case "surge":
            return holds | _no_loops(number) | _half_the_drops(number) | _short_black_hole(number)
        case "link-failure":
            relieved = number("drops_after_kill_s") <= RELIEVED_WITHIN_S
            return (
                holds
                | _no_loops(number)
                | _half_the_drops(number)
                | _short_black_hole(number)
                | {"no drops later than 60 s after the failure": relieved}
            )
        case "loop":
            return holds | _stray_withdrawn(number)
        case _:
            return holds | _no_loops(number)


def kept_time(figures: Mapping[str, FigureValue]) -> bool:
    """Whether the machine had enough time for the simulator, and so for what it measures."""
    return FiguresByName(figures)("simulator_late_s") <= KEPT_TIME_S


def _slack(number: FiguresByName) -> float:
    """Share of a window that may count for the next one, because reports were late, or dated late."""
    return (number("simulator_late_s") + max(0.0, number("counters_late_s"))) / WINDOW_S


def _no_restarts(number: FiguresByName) -> dict[str, bool]:
    """A worker that was frozen for half its session ends itself, because another may own its state by then."""
    return {"no restarts": number("restarts") == 0}


def _half_the_drops(number: FiguresByName) -> dict[str, bool]:
    halved = number("dropped_bytes_loop_on") <= 0.5 * number("dropped_bytes_loop_off")
    return {"at most half the drops of a run without Autopilot": halved}


def _short_black_hole(number: FiguresByName) -> dict[str, bool]:
    return {"black hole of at most 3 s": number("blackholed_seconds") <= 3.0}


def _stray_withdrawn(number: FiguresByName) -> dict[str, bool]:
    in_time = 0 <= number("stray_route_stood_s") <= STRAY_WITHIN_S
    return {
        "no loop after its cause was gone": number("loop_after_removal_s") <= LOOP_SLACK_S,
        "Autopilot withdrew the stray route within 5 s": in_time and not number("stray_route_taken_out_by_us"),
    }


def _always(number: FiguresByName, evidence: Evidence) -> dict[str, bool]:
    accounted = number("bytes_counted") + number("bytes_late") + number("bytes_unattributed")
    own_unattributed = number("bytes_unattributed") - number("injected_bytes_unattributed")
    sent = number("sampled_bytes_sent")
    return {
        "no datagram was lost in the kernel: the run is not void": not number("void"),
        "settled in the end": evidence.drained,
        "every sampled byte is accounted for": accounted == sent + number("injected_bytes") and sent > 0,
        "unattributed traffic below 0.1 %": own_unattributed < 0.001 * sent,
        "carried load within capacity": number("peak_carried") <= 1.0,
        "carried load estimated within 2 %": number("carried_error") <= 0.02 + _slack(number),
        "nothing crashed": number("crashes") == 0,
    }


def _clean(number: FiguresByName) -> dict[str, bool]:
    return _no_junk(number) | _no_leaks(number)


def _no_junk(number: FiguresByName) -> dict[str, bool]:
    return {"no dead letters": number("dead_letters") == 0}


def _no_leaks(number: FiguresByName) -> dict[str, bool]:
    return {"no leaks": number("leaks") == 0 < number("announcements_received_by_neighbours")}


def _no_loops(number: FiguresByName) -> dict[str, bool]:
    """On a busy machine two tables are read seconds apart, and a move between them looks like a loop."""
    return {"no loops": number("loops") == 0}


def _moved(number: FiguresByName, evidence: Evidence) -> dict[str, bool]:
    """If a link is overloaded, prefixes are moved on both edges, by routes that copy live paths."""
    return {
        "natural load above capacity": number("peak_natural") > 1.0,
        "prefixes were moved": number("overrides_announced") > 0,
        "both edges showed our routes": min(evidence.marked_during.values(), default=0) > 0,
        "every override copies a live AS path": evidence.marked_copies == evidence.marked_during,
    }


def _unmoved(number: FiguresByName) -> dict[str, bool]:
    """In calm traffic nothing is moved, whatever else the scenario does."""
    return {
        "no congestion": number("congestion_opened") == 0,
        "no prefix moved": number("overrides_announced") == 0,
        "no override left": number("overrides_left") == 0,
    }


def _taken_back(number: FiguresByName) -> dict[str, bool]:
    """If the overload ends within the run, every move is taken back."""
    ended = number("overrides_announced") - number("overrides_lost_with_path")
    return {
        "congestion opened and closed": number("congestion_opened") == number("congestion_closed") > 0,
        "every override released or lost": number("overrides_released") == ended,
        "no override left": number("overrides_left") == 0,
    }


def _surge(number: FiguresByName, evidence: Evidence) -> dict[str, bool]:
    return {
        "natural load estimated within 10 %": number("natural_error") <= 0.10 + _slack(number),
        "a neighbour with overrides died": evidence.kill is not None and evidence.kill.overrides > 0,
        "the killed neighbour's traffic was placed again": number("overrides_placed_again") > 0,
    }


def _failure(number: FiguresByName, evidence: Evidence) -> dict[str, bool]:
    """The neighbour stays dead and the overload under plain BGP lasts, so overrides are still needed at the end.

    The window of the death mixes the natural loads before and after it, so natural load is judged by its median error.
    """
    return {
        "a neighbour died": evidence.kill is not None,
        "congestion opened": number("congestion_opened") > 0,
        "natural load estimated within 10 % at the median": number("natural_error_median") <= 0.10 + _slack(number),
        "no link congested by our moves": not evidence.congested_by_us,
    }


def _no_room(number: FiguresByName, evidence: Evidence) -> dict[str, bool]:
    reasons = [refused.reason for decision in evidence.decisions for refused in decision.refused]
    return {
        "natural load estimated within 10 %": number("natural_error") <= 0.10 + _slack(number),
        "fewer drops than without Autopilot": number("dropped_bytes_loop_on") < number("dropped_bytes_loop_off"),
        "no link congested by our moves": not evidence.congested_by_us,
        "some moves were refused for lack of room": NO_ROOM in reasons,
    }


def _leak(number: FiguresByName) -> dict[str, bool]:
    """Without the export policy neighbours receive what they never should: this proves that `leaks` can exceed 0."""
    return {
        "leaks were seen": number("leaks") > 0,
        "overrides were among the leaks": number("leaked_overrides") > 0,
    }


def _loop(number: FiguresByName) -> dict[str, bool]:
    """A foreign route makes a loop and the simulator counts it: this proves that `loops` can exceed 0."""
    return {
        "a loop was seen": number("loops") > 0 and number("looped_bytes") > 0,
        "the loop's cause was taken away": isfinite(number("loop_route_stood_s")),
        "the stray route was reported": number("drifts_reported") > 0,
    }


def _bad_input(number: FiguresByName, evidence: Evidence) -> dict[str, bool]:
    """All injected bad input is found where it belongs, to the byte, and what was forged is named."""
    injected = evidence.injected
    return {
        "bad input was injected": injected.total_bytes > 0 and injected.dead_letters > 0,
        "every injected byte has its reason": evidence.progress.unattributed_bytes == injected.unattributed_bytes,
        "late bytes are the injected ones": number("bytes_late") == injected.late_bytes,
        "dead letters are the injected lines": number("dead_letters") == injected.dead_letters,
        "what was forged is named": evidence.noticed >= NAMED,
    }
