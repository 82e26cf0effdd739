"""The records published for a closed window: link loads, largest prefixes, and the decision. Pure functions."""

from collections.abc import Callable

from app.clock import utc
from app.config.thresholds import Pacing
from app.contract.schemas import Decision, LinkUtilization, Mode, PrefixShare, PrefixTraffic
from app.te.decision.carry_over import LEFT_INVENTORY
from app.te.decision.cycle import CycleResult
from app.te.traffic.link import LinkLoad, LinkWindow
from app.te.traffic.windows import ClosedWindow, Sums

TOP_PREFIXES = 50
DecisionNumber = tuple[int, int]  # epoch and seq of a decision


def link_utilization(window: ClosedWindow, load: LinkLoad, measured: LinkWindow) -> LinkUtilization:
    """The `link-utilization` record of one link in this window."""
    silent, dropped_bps = measured.is_silent, measured.dropped_bps
    return LinkUtilization(
        id=_id(load.link, window),
        pop=window.pop,
        link=load.link,
        window_start=utc(window.start_s),
        window_s=window.length_s,
        capacity_bps=load.capacity_bps or None,
        carried_bps=load.carried_bps,
        dropped_bps=None if dropped_bps is None else dropped_bps + measured.unconfirmed_bps,
        offered_bps=load.offered_bps,
        natural_bps=None if silent else load.natural_bps,
        moved_in_bps=load.moved_in_bps,
        moved_out_bps=load.moved_out_bps,
        received_bps=measured.received_bps,
        samples=load.samples,
        sampled_bytes=measured.sampled_bytes,
        error=load.error_share,
        up=measured.up,
        counters=measured.carried_bps is not None,
        feed=load.feed,
        flow_ratio=load.flow_ratio,
        configured_bps=measured.configured_bps,
        reported_bps=measured.reported_bps,
    )


def of_left_link(window: ClosedWindow, measured: LinkWindow) -> LinkUtilization:
    """The last `link-utilization` record of a link that has left the inventory: what its flows showed until then."""
    silent, flow_bps = measured.is_silent, measured.flow_bps
    return LinkUtilization(
        id=_id(measured.link, window),
        pop=window.pop,
        link=measured.link,
        window_start=utc(window.start_s),
        window_s=window.length_s,
        capacity_bps=None,
        carried_bps=None if silent else flow_bps,
        dropped_bps=None,
        offered_bps=None if silent else flow_bps,
        natural_bps=None,
        moved_in_bps=None,
        moved_out_bps=None,
        received_bps=None,
        samples=measured.samples,
        sampled_bytes=measured.sampled_bytes,
        error=measured.flows.error_share,
        up=measured.up,
        counters=False,
        feed="silent" if silent else "gap",
        reason=LEFT_INVENTORY,
    )


def prefix_traffic(
    window: ClosedWindow, link: str, seen: Sums, origin_as: Callable[[str], int | None]
) -> PrefixTraffic:
    """The `prefix-traffic` record: the TOP_PREFIXES largest prefixes of a link, summed over all ingress routers."""
    shares = (
        PrefixShare(prefix, origin_as(prefix), 8 * size_bytes / window.length_s, samples)
        for prefix, size_bytes, samples in seen.demand.largest(TOP_PREFIXES)
    )
    return PrefixTraffic(
        id=_id(link, window),
        pop=window.pop,
        link=link,
        window_start=utc(window.start_s),
        window_s=window.length_s,
        prefixes=tuple(shares),
    )


def decision(
    window: ClosedWindow, number: DecisionNumber, result: CycleResult, mode: Mode, pacing: Pacing, made_s: float
) -> Decision:
    """The `decision` record: the whole desired override set of the PoP, with its deadlines to add and to hold routes.

    `made_s` is the time of the decision, unix seconds.
    """
    epoch, seq = number
    return Decision(
        pop=window.pop,
        epoch=epoch,
        seq=seq,
        mode=mode,
        window_start=utc(window.start_s),
        made_at=utc(made_s),
        add_until=utc(window.end_s + pacing.add_within_s),
        hold_until=utc(window.end_s + pacing.lease_s),
        congestion=result.congestion,
        overrides=result.overrides,
        released=result.released,
        refused=result.refused,
        egress_mismatch_share=result.egress_mismatch_share,
        barred=result.barred,
        closed_at=utc(window.closed_s),
        window_s=window.length_s,
    )


def _id(link: str, window: ClosedWindow) -> str:
    return f"{link}@{window.start_s}"
