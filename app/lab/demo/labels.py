"""The figures of a run in words and units for people, grouped by what they are about. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from app.lab.demo.bounds import FigureValue

# Group, then figure -> words and unit. Every figure of the score has its place here.
GROUPS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "sampled traffic": {
        "samples_sent": ("samples that the routers sent", ""),
        "sampled_bytes_sent": ("traffic that they stand for", "B"),
        "records": ("flow records that came out of the collector, which sums samples alike", ""),
        "bytes_counted": ("counted for a link and a prefix", "B"),
        "bytes_late": ("too late for its window", "B"),
        "bytes_unattributed": ("of no link or no prefix", "B"),
        "unattributed_by_reason": ("the reasons why", "B"),
        "dead_letters": ("records that could not be read", ""),
        "datagrams_lost_udp": ("datagrams lost in the kernel", ""),
        "bytes_lost_udp": ("traffic lost with them", "B"),
        "void": ("the run is void, as datagrams were lost", ""),
        "drained": ("all windows closed in the end, and nothing left to take back", ""),
    },
    "load": {
        "surged_link": ("the link in question", ""),
        "peak_natural": ("most that plain BGP would have put on it", "%"),
        "peak_natural_estimated": ("the same as Autopilot estimated it", "%"),
        "peak_carried": ("most that any link carried", "%"),
        "congestion_opened": ("times that a link became congested", ""),
        "congestion_closed": ("times that one was relieved and its congestion closed", ""),
        "windows_compared": ("windows in which estimate and truth were compared", ""),
        "carried_error": ("carried load was wrong by at most", "%"),
        "carried_error_median": ("and in the median by", "%"),
        "natural_error": ("natural load was wrong by at most", "%"),
        "natural_error_median": ("and in the median by", "%"),
        "natural_hidden": ("most of it that senders held back, which nobody can see", "%"),
    },
    "moves": {
        "overrides_announced": ("moves: a prefix placed again after a loss counts again", ""),
        "overrides_max": ("prefixes moved at the same time, at most", ""),
        "overrides_released": ("taken back, no longer needed", ""),
        "overrides_lost_with_path": ("withdrawn, as their path was gone", ""),
        "overrides_placed_again": ("of these placed again elsewhere, where they were still needed", ""),
        "overrides_left": ("left in the routers at the end", ""),
        "refused_by_reason": ("refused", ""),
        "links_congested_by_moves": ("links that only our moves congested", ""),
        "edges_marked_during_surge": ("routes of ours that the routers showed when looked at, once in the surge", ""),
        "edges_marked_with_copied_as_path": ("of these with the AS path of a live announcement", ""),
        "edges_marked_after": ("shown at the end", ""),
    },
    "losses": {
        "dropped_bytes_loop_on": ("dropped by full links", "B"),
        "dropped_bytes_loop_off": ("would have been without Autopilot", "B"),
        "dropped_bytes_before_first_override": ("dropped before the first move", "B"),
        "blackholed_bytes": ("sent to a dead neighbour", "B"),
        "blackholed_seconds": ("that is, at its highest rate", "s"),
        "looped_bytes": ("sent in circles", "B"),
        "loops": ("loops seen", ""),
        "dead_ends": ("dead ends seen", ""),
        "leaks": ("foreign routes that neighbours were told of", ""),
        "leaked_overrides": ("overrides among them", ""),
        "announcements_received_by_neighbours": ("announcements that neighbours received", ""),
    },
    "times": {
        "seconds_to_ready": ("until everything was up", "s"),
        "onset_to_override_s": ("from the overload to the first move", "s"),
        "window_close_to_decision_s": ("from a closed window to its decision, at most", "s"),
        "window_close_to_decision_median_s": ("and in the median", "s"),
        "killed_neighbour": ("neighbour that was killed", ""),
        "overrides_on_killed_neighbour": ("overrides that it carried", ""),
        "peer_down_to_withdrawn_s": ("from the news of its death to the last of them gone", "s"),
        "drops_after_kill_s": ("from its death until nothing was dropped by any link", "s"),
        "simulator_late_s": ("the simulator was late by at most", "s"),
        "restarts": ("processes that had to be started again", ""),
    },
    "routes of somebody else, on purpose": {
        "stray_route_stood_s": ("a stray override in an injector stood for", "s"),
        "stray_route_taken_out_by_us": ("and was taken out by hand", ""),
        "drifts_reported": ("foreign changes that Autopilot reported", ""),
        "loop_route_stood_s": ("a route that makes a loop stood for", "s"),
        "loop_after_removal_s": ("and the loop went on after it was gone for", "s"),
    },
    "bad input, on purpose": {
        "injected_bytes": ("traffic that it stands for", "B"),
        "injected_bytes_late": ("of this, late", "B"),
        "injected_bytes_unattributed": ("of this, of no link or prefix", "B"),
        "injected_unattributed_by_reason": ("the reasons why", "B"),
        "injected_dead_letters": ("lines that are no records", ""),
    },
}
BYTES: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def groups(figures: Mapping[str, FigureValue]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(title, rows of words and value) of what there is something to say of."""
    for title, words in GROUPS.items():
        if any(figures[name] for name in words):
            rows = [(text, told(figures[name], unit)) for name, (text, unit) in words.items()]
            yield title, [(text, value) for text, value in rows if value]


def verdict(figures: Mapping[str, FigureValue]) -> list[str]:
    """The last lines: that all is well, or what is not, each in its own words."""
    failed = figures["failed"]
    if not isinstance(failed, list) or not failed:
        return ["ok: everything was as it must be"]
    return ["not ok; these did not hold:", *(f"  - {name}" for name in failed)]


def told(value: FigureValue, unit: str) -> str:
    """One figure with its unit; nothing for what there was none of."""
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_number(amount, unit)}" for name, amount in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return value if isinstance(value, str) else _number(value, unit)


def _number(value: float, unit: str) -> str:
    units: dict[str, Callable[[float], str]] = {"B": _bytes, "%": "{:.2%}".format, "s": "{:,.2f} s".format}
    return units.get(unit, "{:,}".format)(value)


def _bytes(value: float) -> str:
    for scale, name in BYTES:
        if value >= scale:
            return f"{value / scale:,.1f} {name}"
    return f"{value:,.0f} B"
