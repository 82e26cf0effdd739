"""Labels and units for the figures of a run, grouped into tables by subject. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from app.lab.demo.bounds import FigureValue

# Title of a table -> figure -> (label, unit). Every figure of the score has its place here.
GROUPS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "sampled traffic": {
        "samples_sent": ("flow samples sent by the routers", ""),
        "sampled_bytes_sent": ("traffic that these samples represent", "B"),
        "records": ("flow records written by the collector (it merges equal samples)", ""),
        "bytes_counted": ("traffic counted for a link and a prefix", "B"),
        "bytes_late": ("traffic that came too late for its window", "B"),
        "bytes_unattributed": ("traffic that belongs to no link or no prefix", "B"),
        "unattributed_by_reason": ("by reason", "B"),
        "dead_letters": ("unreadable records (dead letters)", ""),
        "datagrams_lost_udp": ("sFlow datagrams lost in the kernel", ""),
        "bytes_lost_udp": ("traffic lost with them", "B"),
        "void": ("the run is void because datagrams were lost", ""),
        "drained": ("in the end all windows were closed and no needless move was left", ""),
    },
    "load": {
        "surged_link": ("link under test", ""),
        "peak_natural": ("highest load that plain BGP would have put on it", "%"),
        "peak_natural_estimated": ("the same, as estimated by Autopilot", "%"),
        "peak_carried": ("highest load that any link carried", "%"),
        "congestion_opened": ("times a link became congested", ""),
        "congestion_closed": ("times a congested link was relieved", ""),
        "windows_compared": ("windows in which estimate and truth were compared", ""),
        "carried_error": ("carried load, largest error of the estimate", "%"),
        "carried_error_median": ("carried load, median error", "%"),
        "natural_error": ("load under plain BGP, largest error of the estimate", "%"),
        "natural_error_median": ("load under plain BGP, median error", "%"),
        "natural_hidden": ("most of its demand that senders held back (not measurable)", "%"),
    },
    "moves": {
        "overrides_announced": ("overrides announced; one placed again after a loss counts again", ""),
        "overrides_max": ("most overrides at the same time", ""),
        "overrides_released": ("overrides taken back because they were no longer needed", ""),
        "overrides_lost_with_path": ("overrides withdrawn because their path was gone", ""),
        "overrides_placed_again": ("of these, placed again elsewhere because they were still needed", ""),
        "overrides_left": ("overrides left in the routers at the end", ""),
        "refused_by_reason": ("moves refused, by reason", ""),
        "links_congested_by_moves": ("links that only our moves congested", ""),
        "edges_marked_during_surge": ("our routes in the routers' own output, asked once during the run", ""),
        "edges_marked_with_copied_as_path": ("of these, with the AS path of a live announcement", ""),
        "edges_marked_after": ("our routes in the routers' own output at the end", ""),
    },
    "losses": {
        "dropped_bytes_loop_on": ("dropped by full links", "B"),
        "dropped_bytes_loop_off": ("would have been dropped without Autopilot", "B"),
        "dropped_bytes_before_first_override": ("dropped before the first move", "B"),
        "blackholed_bytes": ("sent to a dead neighbour", "B"),
        "blackholed_seconds": ("the same in seconds, at its highest rate", "s"),
        "looped_bytes": ("lost in forwarding loops", "B"),
        "loops": ("forwarding loops seen", ""),
        "dead_ends": ("dead ends seen", ""),
        "leaks": ("foreign routes leaked to neighbours", ""),
        "leaked_overrides": ("overrides among them", ""),
        "announcements_received_by_neighbours": ("announcements received by neighbours", ""),
    },
    "times": {
        "seconds_to_ready": ("from the start until everything was up", "s"),
        "onset_to_override_s": ("from the overload to the first move", "s"),
        "window_close_to_decision_s": ("from closing a window to its decision, longest", "s"),
        "window_close_to_decision_median_s": ("from closing a window to its decision, median", "s"),
        "killed_neighbour": ("neighbour that was killed", ""),
        "overrides_on_killed_neighbour": ("overrides that it carried", ""),
        "peer_down_to_withdrawn_s": ("from the BMP report of its death until they were gone", "s"),
        "drops_after_kill_s": ("from its death until no link dropped anything", "s"),
        "simulator_late_s": ("time that the simulator lost to other work of this machine", "s"),
        "counters_late_s": ("at most so late counters were dated", "s"),
        "restarts": ("restarts of processes", ""),
        "crashes": ("of these, not caused by a freeze", ""),
    },
    "foreign routes, on purpose": {
        "stray_route_stood_s": ("a stray override was in an injector for", "s"),
        "stray_route_taken_out_by_us": ("the demo had to remove it", ""),
        "drifts_reported": ("foreign changes reported by Autopilot", ""),
        "loop_route_stood_s": ("a route that makes a loop was in a router for", "s"),
        "loop_after_removal_s": ("the loop lasted after its removal for", "s"),
    },
    "bad input, on purpose": {
        "injected_bytes": ("traffic that the bad input represents", "B"),
        "injected_bytes_late": ("of this, too late", "B"),
        "injected_bytes_unattributed": ("of this, of no link or no prefix", "B"),
        "injected_unattributed_by_reason": ("by reason", "B"),
        "injected_dead_letters": ("lines that are no flow records", ""),
        "noticed": ("what Autopilot said was wrong", ""),
    },
}
BYTES: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def groups(figures: Mapping[str, FigureValue]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """For every table with a figure that is not zero or empty: its title, and rows of (label, value)."""
    for title, labels in GROUPS.items():
        if any(figures[name] for name in labels):
            rows = [(label, shown(figures[name], unit)) for name, (label, unit) in labels.items()]
            yield title, [(label, value) for label, value in rows if value]


def verdict(figures: Mapping[str, FigureValue]) -> list[str]:
    """The last lines of the demo: all is well, or the names of the bounds that do not hold."""
    lines = _listed("not judged, because other work kept this machine from keeping time:", figures["not_judged"])
    if failed := _listed("not ok, because these checks failed:", figures["failed"]):
        return [*lines, *failed]
    return [*lines, "ok: everything that this scenario checks holds"]


def _listed(title: str, names: FigureValue) -> list[str]:
    return [title, *(f"  - {name}" for name in names)] if isinstance(names, list) and names else []


def shown(value: FigureValue, unit: str) -> str:
    """One figure with its unit as text; empty if there is no value."""
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
