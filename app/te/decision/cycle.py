"""One decision cycle of a PoP: from closed windows and routes to the whole set of overrides. A pure function.

Each cycle starts from scratch. Only `CycleState` carries memory over: hysteresis, overrides in force, quarantine.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec

from app.config.inventory import Pop
from app.config.thresholds import Policy, Thresholds
from app.contract.schemas import Congestion, Override, Refused, Released
from app.te.cycle_state import CycleState, LinkState, StandingOverride
from app.te.decision.carry_over import carry_over, in_inventory
from app.te.decision.detector import Transition, step
from app.te.decision.guards import Guards
from app.te.decision.plan import Context, Plan
from app.te.decision.release import release_calm
from app.te.decision.relief import make_room, relieve
from app.te.evidence.effect import INEFFECTIVE, SETTLING_WINDOWS, confirmed, ineffective
from app.te.evidence.mismatch import MISMATCH, MISMATCHED_WINDOWS, judged_overrides, mismatch_share
from app.te.evidence.trust import Trust, judge, trusting
from app.te.routing.forwarding import Igp
from app.te.routing.natural import NaturalRouting
from app.te.traffic.link import LinkLoad, LinkWindow
from app.te.traffic.loads import Traffic, measure
from app.te.traffic.observed import ObservedWindow
from app.te.traffic.placement import Placement

__all__ = ["CycleResult", "CycleState", "run_cycle"]


class CycleResult(msgspec.Struct, frozen=True):
    """The decision: `overrides` is the whole set that should be in force. No prefix is both in it and in `released`."""

    loads: tuple[LinkLoad, ...]
    congestion: tuple[Congestion, ...]
    overrides: tuple[Override, ...]
    released: tuple[Released, ...]
    refused: tuple[Refused, ...]
    state: CycleState
    egress_mismatch_share: float | None = None
    barred: str | None = None


def run_cycle(
    pop: Pop,
    policy: Policy,
    observed: ObservedWindow,
    state: CycleState,
    window_end_s: int,
    on_plan: Callable[[Plan], None] | None = None,
) -> CycleResult:
    """Decide for the newest observed window, which ended at `window_end_s` (unix seconds).

    `on_plan` is called at the end with the working paper, which `app.te.explain.stories` explains.
    A newest window without any link means that the feed is lost: all overrides stay as they are.
    """
    if not observed.newest:
        return CycleResult((), (), _overrides(state.held), (), (), state)
    thresholds, pacing, natural, newest = policy.thresholds, policy.pacing, observed.natural, observed.newest
    guards, state = Guards(pop), in_inventory(pop, state)
    kept, invalidated = carry_over(pop, guards, natural, Placement(natural, state.held, state.settling), state.held)
    kept = confirmed(kept, natural, window_end_s)
    invalidated |= dict.fromkeys(ineffective(kept, observed, thresholds), INEFFECTIVE)
    kept = {prefix: standing for prefix, standing in kept.items() if prefix not in invalidated}
    trust = judge(observed, thresholds, pacing.share_decay_s, state.untrusted)
    judged = judged_overrides(kept, newest)
    steered = {prefix: kept[prefix] for prefix in judged}
    mismatch = mismatch_share(observed, (state.held.keys() | state.settling.keys()) - judged, steered)
    state = _remembering(state, trust, mismatch, invalidated, policy, window_end_s)
    context = Context(
        pop=pop,
        thresholds=thresholds,
        pacing=pacing,
        natural=natural,
        guards=guards,
        igp=Igp(pop),
        now_s=window_end_s,
        window_s=max(window.window_s for window in newest.values()),
        mismatch_share=mismatch,
        barred=MISMATCH if state.mismatched >= MISMATCHED_WINDOWS else None,
        quarantine=state.quarantine,
        doubtful=observed.doubtful,
    )
    settling = {prefix: past for prefix, past in state.settling.items() if not _is_settled(past, newest)} | _as_of(
        {prefix: state.held[prefix] for prefix in invalidated}, window_end_s
    )
    traffic = trusting(measure(observed, Placement(natural, kept, settling), thresholds, pacing), trust)
    unseen = _unseen(natural, traffic, kept)
    links, congestion = _detect(state.links, traffic, thresholds, unseen, newest)
    open_links = frozenset(link for link, link_state in links.items() if link_state.open)
    plan = Plan(context, traffic, kept, invalidated, open_links, unseen)
    make_room(plan)
    relieve(plan)
    release_calm(plan, links)
    if on_plan is not None:
        on_plan(plan)
    return _result(plan, state, links, congestion, settling)


def _remembering(
    before: CycleState,
    trust: Mapping[str, Trust],
    mismatch: float | None,
    invalidated: Mapping[str, str],
    policy: Policy,
    now_s: int,
) -> CycleState:
    """The state with this window's evidence on links, routing and moves; without evidence it stays as it was."""
    mismatched = (
        before.mismatched
        if mismatch is None
        else before.mismatched + 1
        if mismatch > policy.thresholds.mismatch_max
        else 0
    )
    kept_out = {prefix: until_s for prefix, until_s in before.quarantine.items() if until_s > now_s}
    useless = sorted(prefix for prefix, reason in invalidated.items() if reason == INEFFECTIVE)
    return msgspec.structs.replace(
        before,
        untrusted=tuple(sorted(link for link, verdict in trust.items() if verdict.untrusted)),
        mismatched=mismatched,
        quarantine=kept_out | dict.fromkeys(useless, int(now_s + policy.pacing.quarantine_s)),
    )


def _overrides(held: Mapping[str, StandingOverride]) -> tuple[Override, ...]:
    return tuple(held[prefix].override for prefix in sorted(held))


def _is_settled(released: StandingOverride, newest: Mapping[str, LinkWindow]) -> bool:
    """Whether the newest window began so long after the release that it cannot show the override any more."""
    start_s = max(window.window_start_s for window in newest.values())
    length_s = max(window.window_s for window in newest.values())
    return start_s >= released.since_s + SETTLING_WINDOWS * length_s


def _as_of(released: Mapping[str, StandingOverride], now_s: int) -> dict[str, StandingOverride]:
    return {prefix: msgspec.structs.replace(past, since_s=now_s) for prefix, past in released.items()}


def _unseen(natural: NaturalRouting, traffic: Traffic, kept: Mapping[str, StandingOverride]) -> frozenset[str]:
    """The natural links of overrides whose target is not usable: part of their natural load is not in the sums."""
    hidden = {prefix for prefix, standing in kept.items() if standing.override.exit.link not in traffic.usable}
    natural_links = {pair.natural for prefix in hidden for pair in traffic.pairs.of(prefix)}
    return frozenset(natural_links | {egress.link for prefix in hidden for egress in natural.exits(prefix).values()})


def _detect(
    before: Mapping[str, LinkState],
    traffic: Traffic,
    thresholds: Thresholds,
    unseen: frozenset[str],
    newest: Mapping[str, LinkWindow],
) -> tuple[dict[str, LinkState], tuple[Congestion, ...]]:
    """The hysteresis of every link after this window, and the events. Links that are not usable stay as they were."""
    links, events = dict(before), []
    for link in sorted(traffic.usable):
        load = traffic.loads[link]
        after, event = step(before.get(link), load, thresholds, newest[link].window_start_s, link not in unseen)
        links.pop(link, None)
        if after is not None:
            links[link] = after
        if after is not None and event is not None:
            events.append(_event(after, event, load))
    return links, tuple(events)


def _event(state: LinkState, event: Transition, load: LinkLoad) -> Congestion:
    return Congestion(
        id=state.id,
        link=load.link,
        state=event,
        since=datetime.fromtimestamp(state.since_s, UTC),
        carried=(load.carried_bps or 0.0) / load.capacity_bps,
        dropped=None if load.dropped_bps is None else load.dropped_bps / load.capacity_bps,
        natural=(load.natural_bps or 0.0) / load.capacity_bps,
        error=load.error_share,
    )


def _result(
    plan: Plan,
    before: CycleState,
    links: dict[str, LinkState],
    congestion: tuple[Congestion, ...],
    settling: Mapping[str, StandingOverride],
) -> CycleResult:
    held = {prefix: _renewed(plan, prefix, standing) for prefix, standing in plan.kept.items()} | plan.made
    released = {prefix: reason for prefix, reason in (plan.released | plan.invalidated).items() if prefix not in held}
    leaving = _as_of({prefix: before.held[prefix] for prefix in plan.released}, plan.context.now_s)
    still_settling = {prefix: past for prefix, past in (dict(settling) | leaving).items() if prefix not in held}
    return CycleResult(
        loads=tuple(plan.traffic.loads[link] for link in sorted(plan.traffic.loads)),
        congestion=congestion,
        overrides=_overrides(held),
        released=tuple(Released(prefix, released[prefix]) for prefix in sorted(released)),
        refused=tuple(plan.refused),
        state=msgspec.structs.replace(before, links=links, held=held, settling=still_settling),
        egress_mismatch_share=plan.context.mismatch_share,
        barred=plan.context.barred,
    )


def _renewed(plan: Plan, prefix: str, held: StandingOverride) -> StandingOverride:
    """A kept override with the load and the natural exits of this window."""
    override = msgspec.structs.replace(held.override, bps=plan.bps(prefix), natural=plan.natural_exits(prefix))
    return msgspec.structs.replace(held, override=override)
