"""The demo's verdict: the figures of a run, and the names of the bounds that do not hold. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from statistics import median

from app.contract.schemas import Actuation, LinkUtilization
from app.lab.demo.bounds import FigureValue, bounds, kept_time, timed_bounds
from app.lab.demo.evidence import Evidence, LinkTruth

LOST = "source-path-lost"
RELEASED = "released"  # the actuator appends the reason; an expired lease is no release


def score(evidence: Evidence) -> dict[str, FigureValue]:
    """Every figure by name. `ok` is true if all bounds hold; `failed` lists the names of those that do not.

    `not_judged` names the bounds that depend on time, if the machine was too busy to keep it.
    """
    figures = {
        **_delivery(evidence),
        **_congestion(evidence),
        **_overrides(evidence),
        **_refusals(evidence),
        **_losses(evidence),
        **_times(evidence),
        **_provoked(evidence),
    }
    judged, timed = bounds(figures, evidence), timed_bounds(figures, evidence)
    if in_time := kept_time(figures):
        judged |= timed
    failed = [name for name, holds in judged.items() if not holds]
    return {"ok": not failed, "failed": failed, "not_judged": [] if in_time else list(timed), **figures}


def _delivery(evidence: Evidence) -> dict[str, FigureValue]:
    progress, sent = evidence.progress, evidence.summary.sampled_bytes
    unattributed = sum(progress.unattributed_bytes.values())
    missing = sent + evidence.injected.total_bytes - progress.counted_bytes - progress.late_bytes - unattributed
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


def _congestion(evidence: Evidence) -> dict[str, FigureValue]:
    events = [event for decision in evidence.decisions for event in decision.congestion]
    pairs = list(_paired(evidence))
    carried = [_error(estimate.carried_bps, true.carried_bps) for estimate, true in pairs]
    natural = [_error(estimate.natural_bps, true.natural_bps) for estimate, true in pairs]
    return {
        "congestion_opened": len({event.id for event in events if event.state != "closed"}),
        "congestion_closed": len({event.id for event in events if event.state == "closed"}),
        "surged_link": evidence.surged_link,
        "peak_natural": evidence.surge.peak_natural,
        "peak_natural_estimated": max(
            ((estimate.natural_bps or 0.0) / (estimate.capacity_bps or inf) for estimate, _ in pairs), default=0.0
        ),
        "peak_carried": evidence.summary.peak_carried,
        "windows_compared": len(pairs),
        "carried_error": max(carried, default=1.0),
        "carried_error_median": median(carried or [1.0]),
        "natural_error": max(natural, default=1.0),
        "natural_error_median": median(natural or [1.0]),
        "natural_hidden": max((1 - true.natural_bps / true.wanted_bps for _, true in pairs), default=0.0),
    }


def _error(estimate_bps: float | None, true_bps: float) -> float:
    """The error of an estimate as a share of the truth; 1 if there is no estimate."""
    return 1.0 if estimate_bps is None else abs(estimate_bps - true_bps) / true_bps


def _paired(evidence: Evidence) -> Iterable[tuple[LinkUtilization, LinkTruth]]:
    """The windows of the surged link: (estimate, truth) for each window that has both."""
    truth = {true.window_start_s: true for true in evidence.truth}
    for estimate in evidence.utilization:
        true = truth.get(int(estimate.window_start.timestamp()))
        if estimate.link == evidence.surged_link and true is not None:
            yield estimate, true


def _overrides(evidence: Evidence) -> dict[str, FigureValue]:
    counts = episodes(evidence.actuations)
    return {
        "overrides_announced": counts.announced,
        "overrides_lost_with_path": counts.lost,
        "overrides_placed_again": counts.placed_again,
        "overrides_released": counts.released,
        "overrides_left": max(evidence.summary.overrides_left, *evidence.marked_after.values()),
        "overrides_max": evidence.summary.overrides_max,
        "edges_marked_during_surge": evidence.marked_during,
        "edges_marked_with_copied_as_path": evidence.marked_copies,
        "edges_marked_after": evidence.marked_after,
        "leaks": len(evidence.announcements_leaked),
        "leaked_overrides": evidence.overrides_leaked,
        "announcements_received_by_neighbours": evidence.announcements_received,
        "restarts": evidence.restarts,
        "crashes": evidence.crashes,
    }


def _refusals(evidence: Evidence) -> dict[str, FigureValue]:
    refusals = {
        (refused.prefix, refused.link, refused.reason)
        for decision in evidence.decisions
        for refused in decision.refused
    }
    return {
        "refused_by_reason": dict(Counter(reason for _, _, reason in refusals)),
        "links_congested_by_moves": list(evidence.congested_by_us),
    }


@dataclass
class Episodes:
    """How many overrides there were. One override of a prefix lasts from its first route in any router to its last."""

    announced: int = 0
    lost: int = 0
    placed_again: int = 0
    released: int = 0


def episodes(actuations: Iterable[Actuation]) -> Episodes:
    """Count overrides: one has a route in each of several routers, and a change of next hop does not end it."""
    live: dict[str, set[str]] = {}
    lost: set[str] = set()
    counts = Episodes()
    for act in actuations:
        routers = live.setdefault(act.prefix, set())
        if act.action == "announced":
            counts.announced += not routers
            counts.placed_again += not routers and act.prefix in lost
            routers.add(act.router)
        elif act.action == "withdrawn" and act.router in routers:
            routers.discard(act.router)
            if not routers:
                counts.lost += act.reason == LOST
                counts.released += act.reason.startswith(RELEASED)
                if act.reason == LOST:
                    lost.add(act.prefix)
                else:
                    lost.discard(act.prefix)
    return counts


def _losses(evidence: Evidence) -> dict[str, FigureValue]:
    summary = evidence.summary
    return {
        "dropped_bytes_loop_on": summary.dropped_bytes,
        "dropped_bytes_loop_off": summary.dropped_bytes_without_overrides,
        "dropped_bytes_before_first_override": summary.dropped_bytes_before_first_override,
        "blackholed_bytes": summary.blackholed_bytes,
        "blackholed_seconds": 8 * summary.blackholed_bytes / (summary.blackholed_bps_max or 1),
        "loops": summary.loops,
        "looped_bytes": summary.looped_bytes,
        "dead_ends": summary.dead_ends,
    }


def _times(evidence: Evidence) -> dict[str, FigureValue]:
    surge, kill = evidence.surge, evidence.kill
    first, over = surge.first_override_s, surge.over_mark_s
    return {
        "seconds_to_ready": evidence.seconds_to_ready,
        "onset_to_override_s": None if first is None or over is None else first - over,
        "window_close_to_decision_s": max(evidence.close_to_decision_s, default=None),
        "window_close_to_decision_median_s": median(evidence.close_to_decision_s or [0.0]),
        "killed_neighbour": kill.peer if kill else None,
        "overrides_on_killed_neighbour": kill.overrides if kill else None,
        "peer_down_to_withdrawn_s": kill.gone_s - kill.peer_down_s if kill and kill.overrides else None,
        "drops_after_kill_s": surge.drops_after_kill_s,
        "simulator_late_s": evidence.summary.late_s,
        "counters_late_s": evidence.counters_late_s,
    }


def _provoked(evidence: Evidence) -> dict[str, FigureValue]:
    """Figures about the foreign routes and the bad input of the scenario, and what became of them."""
    injected = evidence.injected
    stood_s = {planted.kind: planted.gone_s - planted.from_s for planted in evidence.planted}
    return {
        "stray_route_stood_s": stood_s.get("stray"),
        "stray_route_taken_out_by_us": any(
            planted.taken_out for planted in evidence.planted if planted.kind == "stray"
        ),
        "drifts_reported": sum(act.action == "drift" for act in evidence.actuations),
        "loop_route_stood_s": stood_s.get("loop"),
        "loop_after_removal_s": evidence.loop_after_removal_s,
        "injected_bytes": injected.total_bytes,
        "injected_bytes_late": injected.late_bytes,
        "injected_bytes_unattributed": sum(injected.unattributed_bytes.values()),
        "injected_unattributed_by_reason": injected.unattributed_bytes,
        "injected_dead_letters": injected.dead_letters,
        "noticed": sorted(evidence.noticed),
    }
