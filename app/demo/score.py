"""The demo's verdict: one document of figures, and the names of the bounds that do not hold. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from app.demo.evidence import Evidence, LinkTruth
from app.schemas import Actuation, LinkUtilization

Figure = bool | int | float | str | None | list[str] | dict[str, int]
LOST = "source-path-lost"
NO_ROOM = "no-room"
RELIEVED_WITHIN_S = 60.0
RELEASED = "released"  # the actuator adds why; the end of a hold is no release


def score(evidence: Evidence) -> dict[str, Figure]:
    """Every figure by name; `ok` when all bounds hold, `failed` names those that do not."""
    figures = {
        **_delivery(evidence),
        **_congestion(evidence),
        **_overrides(evidence),
        **_refusals(evidence),
        **_losses(evidence),
        **_times(evidence),
    }
    failed = [name for name, holds in _bounds(figures, evidence).items() if not holds]
    return {"ok": not failed, "failed": failed, **figures}


def _delivery(evidence: Evidence) -> dict[str, Figure]:
    progress, sent = evidence.progress, evidence.summary.sampled_bytes
    unattributed = sum(progress.unattributed_bytes.values())
    missing = sent - progress.counted_bytes - progress.late_bytes - unattributed
    return {
        "records": progress.records,
        "samples_sent": evidence.summary.sampled_records,
        "sampled_bytes_sent": sent,
        "datagrams_lost_udp": evidence.udp_drops,
        "bytes_lost_udp": missing if evidence.udp_drops else 0,
        "bytes_counted": progress.counted_bytes,
        "bytes_late": progress.late_bytes,
        "bytes_unattributed": unattributed,
        "unattributed_by_reason": progress.unattributed_bytes,
        "dead_letters": evidence.dead_letters,
        "drained": evidence.drained,
        "void": evidence.udp_drops > 0,
    }


def _congestion(evidence: Evidence) -> dict[str, Figure]:
    events = [event for decision in evidence.decisions for event in decision.congestion]
    pairs = list(_paired(evidence))
    carried = [abs(seen.carried_bps - true.carried_bps) / true.carried_bps for seen, true in pairs]
    natural = [abs(seen.natural_bps - true.natural_bps) / true.natural_bps for seen, true in pairs]
    return {
        "congestion_opened": len({event.id for event in events if event.state != "closed"}),
        "congestion_closed": len({event.id for event in events if event.state == "closed"}),
        "surged_link": evidence.surged_link,
        "peak_natural": evidence.surge.peak_natural,
        "peak_natural_estimated": max((seen.natural_bps / seen.capacity_bps for seen, _ in pairs), default=0.0),
        "peak_carried": evidence.summary.peak_carried,
        "windows_compared": len(pairs),
        "carried_error": max(carried, default=1.0),
        "carried_error_median": median(carried or [1.0]),
        "natural_error": max(natural, default=1.0),
        "natural_error_median": median(natural or [1.0]),
    }


def _paired(evidence: Evidence) -> Iterable[tuple[LinkUtilization, LinkTruth]]:
    """The surged link's windows, estimate beside truth."""
    truth = {true.window_start_s: true for true in evidence.truth}
    for seen in evidence.utilization:
        true = truth.get(int(seen.window_start.timestamp()))
        if seen.link == evidence.surged_link and true is not None:
            yield seen, true


def _overrides(evidence: Evidence) -> dict[str, Figure]:
    told = episodes(evidence.actuations)
    return {
        "overrides_announced": told.announced,
        "overrides_lost_with_path": told.lost,
        "overrides_placed_again": told.placed_again,
        "overrides_released": told.released,
        "overrides_left": evidence.summary.overrides_left + sum(evidence.marked_after.values()),
        "overrides_max": evidence.summary.overrides_max,
        "edges_marked_during_surge": evidence.marked_during,
        "edges_marked_with_copied_as_path": evidence.marked_copies,
        "edges_marked_after": evidence.marked_after,
        "leaks": len(evidence.announcements_leaked),
        "announcements_received_by_neighbours": evidence.announcements_received,
        "restarts": evidence.restarts,
    }


def _refusals(evidence: Evidence) -> dict[str, Figure]:
    told = {
        (refused.prefix, refused.link, refused.reason)
        for decision in evidence.decisions
        for refused in decision.refused
    }
    return {
        "refused_by_reason": dict(Counter(reason for _, _, reason in told)),
        "links_pushed_over_fill_mark": list(evidence.pushed_over),
    }


@dataclass
class Episodes:
    """Overrides counted once per prefix, from its first route to its last."""

    announced: int = 0
    lost: int = 0
    placed_again: int = 0
    released: int = 0


def episodes(actuations: Iterable[Actuation]) -> Episodes:
    """An override is several routes, one a router; a change of next hop in between is the same override."""
    live: dict[str, set[str]] = {}
    lost: set[str] = set()
    told = Episodes()
    for act in actuations:
        routers = live.setdefault(act.prefix, set())
        if act.action == "announced":
            told.announced += not routers
            told.placed_again += not routers and act.prefix in lost
            routers.add(act.router)
        elif act.action == "withdrawn" and act.router in routers:
            routers.discard(act.router)
            if not routers:
                told.lost += act.reason == LOST
                told.released += act.reason.startswith(RELEASED)
                (lost.add if act.reason == LOST else lost.discard)(act.prefix)
    return told


def _losses(evidence: Evidence) -> dict[str, Figure]:
    summary = evidence.summary
    return {
        "dropped_bytes_loop_on": summary.dropped_bytes,
        "dropped_bytes_loop_off": summary.dropped_bytes_without_overrides,
        "dropped_bytes_before_first_override": summary.dropped_bytes_before_first_override,
        "blackholed_bytes": summary.blackholed_bytes,
        "blackholed_seconds": 8 * summary.blackholed_bytes / (summary.blackholed_bps_max or 1),
        "loops": summary.loops,
        "dead_ends": summary.dead_ends,
    }


def _times(evidence: Evidence) -> dict[str, Figure]:
    surge, kill = evidence.surge, evidence.kill
    first = surge.first_override_s
    return {
        "seconds_to_ready": evidence.seconds_to_ready,
        "onset_to_override_s": None if first is None else first - surge.over_mark_s,
        "window_close_to_decision_s": max(evidence.close_to_decision_s, default=None),
        "window_close_to_decision_median_s": median(evidence.close_to_decision_s or [0.0]),
        "killed_neighbour": kill.peer if kill else None,
        "overrides_on_killed_neighbour": kill.overrides if kill else None,
        "peer_down_to_withdrawn_s": kill.gone_s - kill.peer_down_s if kill and kill.overrides else None,
        "drops_after_kill_s": surge.drops_after_kill_s,
        "simulator_late_s": evidence.summary.late_s_max,
    }


def _bounds(figures: dict[str, Figure], evidence: Evidence) -> dict[str, bool]:
    """What must hold in every run of the scenario; times are judged over several runs and are not among them."""
    numbers = Numbers(figures)
    own = {"surge": _surge_bounds, "link-failure": _failure_bounds, "no-room": _no_room_bounds}[evidence.verdict]
    return _common_bounds(numbers, evidence) | own(numbers, evidence)


class Numbers:
    """The figures as numbers; what is none compares false."""

    def __init__(self, figures: dict[str, Figure]) -> None:
        self._figures = figures

    def __call__(self, name: str) -> float:
        value = self._figures[name]
        return float(value) if isinstance(value, int | float) else float("nan")


def _common_bounds(number: Numbers, evidence: Evidence) -> dict[str, bool]:
    accounted = number("bytes_counted") + number("bytes_late") + number("bytes_unattributed")
    return {
        "not void: no datagram was lost in the kernel": not number("void"),
        "drained": evidence.drained,
        "every sampled byte is accounted for": accounted == number("sampled_bytes_sent") > 0,
        "unattributed below 0.1 %": number("bytes_unattributed") < 0.001 * number("sampled_bytes_sent"),
        "no dead letters": number("dead_letters") == 0,
        "natural load above capacity": number("peak_natural") > 1.0,
        "carried load within capacity": number("peak_carried") <= 1.0,
        "carried within 2 %": number("carried_error") <= 0.02,
        "overrides announced": number("overrides_announced") > 0,
        "both edges showed our routes": min(evidence.marked_during.values(), default=0) > 0,
        "with copied AS paths": evidence.marked_copies == evidence.marked_during,
        "no leaks": number("leaks") == 0 < number("announcements_received_by_neighbours"),
        "no loops": number("loops") == 0,
        "no restarts": number("restarts") == 0,
    }


def _taken_back(number: Numbers) -> dict[str, bool]:
    """Where the overload ends within the run."""
    ended = number("overrides_announced") - number("overrides_lost_with_path")
    return {
        "congestion opened and closed": number("congestion_opened") == number("congestion_closed") > 0,
        "every override released or lost": number("overrides_released") == ended,
        "no override left": number("overrides_left") == 0,
    }


def _surge_bounds(number: Numbers, evidence: Evidence) -> dict[str, bool]:
    return _taken_back(number) | {
        "natural within 10 %": number("natural_error") <= 0.10,
        "drops at most half": number("dropped_bytes_loop_on") <= 0.5 * number("dropped_bytes_loop_off"),
        "black hole at most 3 s": number("blackholed_seconds") <= 3.0,
        "a neighbour with overrides died": evidence.kill is not None and evidence.kill.overrides > 0,
        "the traffic of the killed neighbour is placed again": number("overrides_placed_again") > 0,
    }


def _failure_bounds(number: Numbers, evidence: Evidence) -> dict[str, bool]:
    """The neighbour stays dead and so does the overload under plain BGP: the overrides are still needed at the end.

    In the window in which it dies natural load is two loads, so natural load is judged by its median.
    """
    return {
        "a neighbour died": evidence.kill is not None,
        "congestion opened": number("congestion_opened") > 0,
        "natural within 10 % at the median": number("natural_error_median") <= 0.10,
        "drops at most half": number("dropped_bytes_loop_on") <= 0.5 * number("dropped_bytes_loop_off"),
        "no drops later than 60 s after the failure": number("drops_after_kill_s") <= RELIEVED_WITHIN_S,
        "black hole at most 3 s": number("blackholed_seconds") <= 3.0,
        "no link over its fill mark by our moves": not evidence.pushed_over,
    }


def _no_room_bounds(number: Numbers, evidence: Evidence) -> dict[str, bool]:
    reasons = [refused.reason for decision in evidence.decisions for refused in decision.refused]
    return _taken_back(number) | {
        "natural within 10 %": number("natural_error") <= 0.10,
        "drops less than without us": number("dropped_bytes_loop_on") < number("dropped_bytes_loop_off"),
        "no link over its fill mark by our moves": not evidence.pushed_over,
        "refused for want of room": NO_ROOM in reasons,
    }
