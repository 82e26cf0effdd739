"""Releases: once a link is calm again, its prefixes return to it, a share of the peak per cycle."""

from collections.abc import Mapping

from app.te.cycle_state import LinkState
from app.te.decision.plan import Plan
from app.te.decision.relief import fits_at_home

FITS = "natural-load-fits"


def release_calm(plan: Plan, links: Mapping[str, LinkState]) -> None:
    """Release overrides that are old enough and fit on their natural links again, the largest first.

    Each natural link takes back at most `release_share` of the peak that was moved off it per cycle, but at least one
    prefix.
    """
    by_natural_link: dict[str, list[str]] = {}
    for prefix, standing in plan.kept.items():
        link = plan.main_link(prefix)
        if link is not None and plan.context.now_s - standing.since_s >= plan.context.pacing.min_stay_s:
            by_natural_link.setdefault(link, []).append(prefix)
    for link, prefixes in sorted(by_natural_link.items()):
        _release_from(plan, sorted(prefixes, key=lambda prefix: (-plan.bps(prefix), prefix)), _quota(plan, link, links))


def _release_from(plan: Plan, prefixes: list[str], quota_bps: float) -> None:
    left_bps = quota_bps
    for prefix in prefixes:
        bps = plan.bps(prefix)
        if bps <= left_bps and fits_at_home(plan, prefix):
            plan.release(prefix, FITS)
            left_bps -= bps
    if left_bps == quota_bps and prefixes and prefixes[-1] in plan.kept and fits_at_home(plan, prefixes[-1]):
        plan.release(prefixes[-1], FITS)  # the smallest one, although it exceeds the quota


def _quota(plan: Plan, link: str, links: Mapping[str, LinkState]) -> float:
    load = plan.traffic.loads.get(link)
    peak_bps = links[link].peak_bps if link in links else (load.moved_out_bps or 0.0) if load else 0.0
    return plan.context.pacing.release_share * peak_bps
