"""Writes the answers of `autopilot explain` as text for people."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType

from app.cli.explain import Answer, DecisionAnswer, number
from app.cli.show import overrides_table
from app.cli.tables import Listing
from app.clock import utc
from app.contract.schemas import Decision
from app.te.explain.stories import Estimate, LinkStory, PrefixStory, Share
from app.te.traffic.units import bits, of_capacity, percent

NONE = "-"


def text(answer: Answer | DecisionAnswer) -> Group:
    """Return the whole answer as text, its point first."""
    if isinstance(answer, DecisionAnswer):
        return Group(*_decision(answer))
    as_of = f"as of decision {answer.as_of}, for the window that ended at {answer.window_end:%Y-%m-%d %H:%M:%S} UTC"
    if answer.prefix is not None:
        return Group(*_prefix(answer.prefix, answer, as_of))
    assert answer.link is not None, "an answer is about a prefix or a link"
    return Group(*_link(answer.link, as_of))


def _prefix(story: PrefixStory, answer: Answer, as_of: str) -> Iterator[RenderableType]:
    yield f"{story.prefix} of {answer.pop} is {story.status}: {story.why}"
    yield as_of
    yield f"demand: {_estimate(story.demand)}; ± is the sampling error at 95 % confidence"
    if story.override is not None and story.since is not None:
        egress, source = story.override.exit, story.override.source_path
        yield (
            f"moved since {story.since:%H:%M:%S} by decision {answer.decided_by or 'unknown'} to {egress.link}, "
            f"next hop {egress.next_hop}, on {', '.join(story.override.inject_on)}"
        )
        confirmed = f"since {story.confirmed:%H:%M:%S}" if story.confirmed else "not yet"
        yield f"confirmed by all these routers: {confirmed}"
        if story.stays is not None:
            yield f"not released yet: {story.stays}"
        if withdrawn := _withdrawn(answer, story.override.inject_on):
            yield f"the actuator has withdrawn its routes since, and not announced them again: {withdrawn}"
        as_path = " ".join(map(str, source.as_path))
        med = NONE if source.med is None else source.med
        yield f"copied path: AS path {as_path}, origin {source.origin}, MED {med}"
    yield _ingress_table(story)
    yield _alternates_table(story)
    if answer.actuations:
        yield _actuations_table(answer)


def _withdrawn(answer: Answer, routers: Sequence[str]) -> str | None:
    """Return why the actuator withdrew the routes, if it did so on every router since the decision."""
    last = {actuation.router: actuation for actuation in answer.actuations}
    withdrawn = [last[router] for router in routers if router in last and last[router].action == "withdrawn"]
    return withdrawn[0].reason if withdrawn and len(withdrawn) == len(routers) else None


def _ingress_table(story: PrefixStory) -> Listing:
    table = Listing("ingress router", "natural link", "next hop", "link now", "demand")
    for ingress in story.ingress:
        links = ingress.natural or NONE, ingress.next_hop or NONE, ingress.now or NONE
        table.add_row(ingress.router, *links, _estimate(ingress.demand))
    return table


def _alternates_table(story: PrefixStory) -> Listing:
    title = "The cheapest path with enough room is chosen; room is what the plan leaves below thresholds.fill_to."
    table = Listing("router", "link", "next hop", "AS path", "cost", "room", "verdict", title=title)
    for path in story.alternates:
        cost = NONE if path.cost is None else f"{path.cost:g}"
        room = NONE if path.headroom_bps is None else bits(path.headroom_bps)
        as_path = " ".join(map(str, path.as_path))
        table.add_row(path.router, path.link or NONE, path.next_hop, as_path, cost, room, path.rule)
    return table


def _actuations_table(answer: Answer) -> Listing:
    table = Listing("time", "router", "action", "next hop", "decision", "reason")
    for actuation in answer.actuations:
        at, decision = f"{actuation.at:%H:%M:%S.%f}"[:-3], f"{actuation.epoch}.{actuation.seq}"
        next_hop = actuation.next_hop or NONE
        table.add_row(at, actuation.router, actuation.action, next_hop, decision, actuation.reason)
    return table


def _link(story: LinkStory, as_of: str) -> Iterator[RenderableType]:
    yield f"{story.link} is {_condition(story)}"
    yield as_of
    if story.sessions_down:
        yield f"sessions down: {', '.join(story.sessions_down)}; nothing can be sent to these peers"
    seen = f"± {story.load.error_share:.1%} at 95 % confidence, from {story.load.samples} samples"
    error = f"flow estimate {seen if story.load.samples else 'unknown'}"
    yield f"capacity {bits(story.load.capacity_bps or None)}; {_room(story.headroom_bps)}; {error}"
    yield f"feed {story.load.feed}; flows over counters {_ratio(story.load.flow_ratio)}"
    yield _loads_table(story)
    for title, shares in (
        ("moved off it", story.moved_off),
        ("moved onto it", story.moved_onto),
        ("largest prefixes left on it, and where they could go", story.largest),
        ("should move off it, but refused", story.refused),
    ):
        if shares:
            yield _shares_table(title, shares)


def _condition(story: LinkStory) -> str:
    if story.load.renumbered:
        return "not usable: its interfaces seem to have other ifIndexes now; compare the inventory with the router"
    if story.load.feed == "untrusted":
        return "not usable: its flows and its counters contradict each other"
    if story.load.feed == "silent":
        return "not usable: neither flows nor counters arrived in this window"
    if not story.usable:
        return "not usable: it is down, or its load is unknown"
    if story.congestion is None or not story.congestion.open:
        return "not congested"
    since = utc(story.congestion.since_s)
    moved = bits(story.load.moved_out_bps)
    return f"congested since {since:%H:%M:%S}; {moved} were moved off it before this decision"


def _room(headroom_bps: float | None) -> str:
    if headroom_bps is None:
        return "no traffic may be moved to it"
    return (
        f"{bits(headroom_bps)} more may be moved to it" if headroom_bps > 0 else "it is full up to thresholds.fill_to"
    )


def _loads_table(story: LinkStory) -> Listing:
    thresholds, load = story.thresholds, story.load
    table = Listing("load", "rate", "of capacity", "thresholds", right=("rate", "of capacity"))
    rows = {
        "carried": (load.carried_bps, f"saturated at {thresholds.saturated:.0%}: act at once"),
        "dropped": (load.dropped_bps, "any drop: act at once"),
        "offered": (load.offered_bps, f"moves fill it up to {thresholds.fill_to:.0%}"),
        "natural": (load.natural_bps, f"congestion opens at {thresholds.enter:.0%}, closes at {thresholds.leave:.0%}"),
        "planned": (
            story.planned_bps if load.natural_bps is not None else None,
            f"goal {thresholds.shed_to:.0%}, or {thresholds.shed_to_saturated:.0%} when saturated",
        ),
    }
    for name, (bps, mark) in rows.items():
        table.add_row(name, bits(bps), of_capacity(bps, load.capacity_bps), mark)
    return table


def _shares_table(title: str, shares: tuple[Share, ...]) -> Listing:
    has_rules = any(share.rule for share in shares)
    table = Listing("prefix", "load", "±", "link", *(["rule"] if has_rules else []), title=title)
    for share in shares:
        rule = [share.rule or NONE] if has_rules else []
        table.add_row(share.prefix, bits(share.bps), bits(share.error_bps), share.other or NONE, *rule)
    return table


def _decision(answer: DecisionAnswer) -> Iterator[RenderableType]:
    decision = answer.decision
    counts = {"overrides": decision.overrides, "released": decision.released, "refused": decision.refused}
    window = f"for the window from {decision.window_start:%Y-%m-%d %H:%M:%S} UTC"
    yield f"decision {number(decision)} of {answer.pop}, mode {decision.mode}, {window}"
    yield ", ".join(f"{name}: {len(prefixes)}" for name, prefixes in counts.items())
    yield (
        f"made at {decision.made_at:%H:%M:%S}, may be carried out until {decision.add_until:%H:%M:%S}; "
        f"without another decision it expires at {decision.hold_until:%H:%M:%S}"
    )
    if decision.egress_mismatch_share:
        mismatch = f"{percent(decision.egress_mismatch_share)} of the traffic without an override"
        yield f"egress mismatch: {mismatch} left where routing does not predict it"
    if decision.barred:
        yield f"no new moves are made: {decision.barred}"
    if decision.congestion:
        yield _events_table(decision)
    if decision.overrides:
        yield overrides_table([decision])
    if decision.released:
        table = Listing("released", "load", "reason")
        for released in decision.released:
            bps = answer.released_bps.get(released.prefix)
            table.add_row(released.prefix, NONE if bps is None else bits(bps), released.reason)
        yield table
    if decision.refused:
        table = Listing("refused", "load", "link", "reason")
        for refused in decision.refused:
            table.add_row(refused.prefix, bits(refused.bps), refused.link, refused.reason)
        yield table


def _events_table(decision: Decision) -> Listing:
    table = Listing("congestion", "state", "since", "carried", "dropped", "natural", "error")
    for event in decision.congestion:
        shares = (event.carried, event.dropped, event.natural, event.error)
        table.add_row(event.link, event.state, f"{event.since:%H:%M:%S}", *map(percent, shares))
    return table


def _estimate(demand: Estimate) -> str:
    if not demand.samples:
        return "none seen"
    return f"{bits(demand.bps)} ± {bits(demand.error_bps)} ({demand.samples:.0f} samples)"


def _ratio(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{ratio:.0%}"
