"""Giving back: once a link is calm again its prefixes go home, a share of the peak per cycle."""

from collections.abc import Mapping

from app.te.decision.plan import Plan
from app.te.decision.relief import fits_at_home
from app.te.state import LinkState

FITS = "natural-load-fits"


def unwind(plan: Plan, links: Mapping[str, LinkState]) -> None:
    """Release what is old enough and fits at home, the largest first, within each home's pace.

    The pace is a share of the most that was moved off the link, but at least one prefix a cycle.
    """
    by_home: dict[str, list[str]] = {}
    for prefix, held in plan.kept.items():
        if plan.context.now_s - held.since_s >= plan.context.pacing.min_stay_s and (homes := plan.homes(prefix)):
            by_home.setdefault(max(homes, key=lambda link: (homes[link], link)), []).append(prefix)
    for home, prefixes in sorted(by_home.items()):
        _unwind_link(plan, sorted(prefixes, key=lambda prefix: (-plan.bps(prefix), prefix)), _quota(plan, home, links))


def _unwind_link(plan: Plan, prefixes: list[str], quota_bps: float) -> None:
    left_bps = quota_bps
    for prefix in prefixes:
        bps = plan.bps(prefix)
        if bps <= left_bps and fits_at_home(plan, prefix):
            plan.release(prefix, FITS)
            left_bps -= bps
    if left_bps == quota_bps and prefixes and prefixes[-1] in plan.kept and fits_at_home(plan, prefixes[-1]):
        plan.release(prefixes[-1], FITS)  # the smallest, though it is above the pace


def _quota(plan: Plan, home: str, links: Mapping[str, LinkState]) -> float:
    load = plan.traffic.loads.get(home)
    peak_bps = links[home].peak_bps if home in links else load.moved_out_bps if load else 0.0
    return plan.context.pacing.release_share * peak_bps
