"""The answers of `autopilot explain` for people."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from app.cli.explain import Answer, DecisionAnswer, number
from app.cli.show import GIGA, columns, overrides_table
from app.clock import utc
from app.contract.schemas import Decision
from app.te.explain.stories import Estimate, LinkStory, PrefixStory, Share

NONE = "-"


def text(answer: Answer | DecisionAnswer) -> Group:
    """The whole answer, its point first."""
    if isinstance(answer, DecisionAnswer):
        return Group(*_decision(answer))
    as_of = f"as of decision {answer.as_of}, on the window to {answer.window_end:%Y-%m-%d %H:%M:%S} UTC"
    if answer.prefix is not None:
        return Group(*_prefix(answer.prefix, answer, as_of))
    assert answer.link is not None, "a prefix or a link"
    return Group(*_link(answer.link, as_of))


def _prefix(story: PrefixStory, answer: Answer, as_of: str) -> Iterator[RenderableType]:
    yield f"{story.prefix} of {answer.pop} is {story.status}: {story.why}"
    yield as_of
    yield f"demand: {_estimate(story.demand)}, with the sampling error at 95 %"
    if story.override is not None and story.since is not None:
        egress, source = story.override.exit, story.override.source_path
        yield (
            f"moved since {story.since:%H:%M:%S} by decision {answer.decided_by or 'unknown'} to {egress.link}, "
            f"next hop {egress.next_hop}, on {', '.join(story.override.inject_on)}"
        )
        shown = f"since {story.confirmed:%H:%M:%S}" if story.confirmed else "not yet"
        yield f"shown by all these routers {shown}"
        if story.stays is not None:
            yield f"not given back: {story.stays}"
        if withdrawn := _withdrawn(answer, story.override.inject_on):
            yield f"withdrawn since by the actuator, and not announced again yet: {withdrawn}"
        as_path = " ".join(map(str, source.as_path))
        med = NONE if source.med is None else source.med
        yield f"copied path: AS path {as_path}, origin {source.origin}, MED {med}"
    yield _ingress_table(story)
    yield _alternates_table(story)
    if answer.actuations:
        yield _actuations_table(answer)


def _withdrawn(answer: Answer, routers: Sequence[str]) -> str | None:
    """Why the actuator took the routes off, where it did so on every router since the decision."""
    last = {one.router: one for one in answer.actuations}
    gone = [last[router] for router in routers if router in last and last[router].action == "withdrawn"]
    return gone[0].reason if gone and len(gone) == len(routers) else None


def _ingress_table(story: PrefixStory) -> Table:
    table = columns("enters at", "natural link", "next hop", "leaves now by", "demand")
    for one in story.ingress:
        table.add_row(one.router, one.natural or NONE, one.next_hop or NONE, one.now or NONE, _estimate(one.demand))
    return table


def _alternates_table(story: PrefixStory) -> Table:
    title = "the cheapest path with room up to the fill mark is chosen; room is what the plan leaves"
    table = columns("path by", "link", "next hop", "AS path", "cost", "room Gb/s", "verdict", title=title)
    for one in story.alternates:
        cost = NONE if one.cost is None else f"{one.cost:g}"
        room = NONE if one.headroom_bps is None else _gbps(one.headroom_bps)
        as_path = " ".join(map(str, one.as_path))
        table.add_row(one.router, one.link or NONE, one.next_hop, as_path, cost, room, one.rule)
    return table


def _actuations_table(answer: Answer) -> Table:
    table = columns("at", "router", "actuator", "next hop", "decision", "reason")
    for one in answer.actuations:
        decision = f"{one.epoch}.{one.seq}"
        table.add_row(f"{one.at:%H:%M:%S.%f}"[:-3], one.router, one.action, one.next_hop or NONE, decision, one.reason)
    return table


def _link(story: LinkStory, as_of: str) -> Iterator[RenderableType]:
    yield f"{story.link} is {_condition(story)}"
    yield as_of
    if story.sessions_down:
        yield f"session down: {', '.join(story.sessions_down)}; nothing can leave towards it"
    error = f"flow estimate ± {story.load.error_share:.1%} at 95 % from {story.load.samples} samples"
    yield f"capacity {_gbps(story.load.capacity_bps)} Gb/s; it {_room(story.headroom_bps)}; {error}"
    yield f"feed {story.load.feed}; flows over counters {_ratio(story.load.flow_ratio)}"
    yield _loads_table(story)
    for title, shares in (
        ("moved off it", story.moved_off),
        ("moved onto it", story.moved_onto),
        ("largest left, and where they could go if more had to", story.largest),
        ("wanted off it and refused", story.refused),
    ):
        if shares:
            yield _shares_table(title, shares)


def _condition(story: LinkStory) -> str:
    if story.load.feed == "untrusted":
        return "not usable: its flows and its counters contradict each other"
    if story.load.feed == "silent":
        return "not usable: neither flows nor counters in this window"
    if not story.usable:
        return "not usable: down, or its load is unknown"
    if story.congestion is None or not story.congestion.open:
        return "not congested"
    since = utc(story.congestion.since_s)
    return f"congested since {since:%H:%M:%S}, {_gbps(story.load.moved_out_bps)} Gb/s moved off it before this decision"


def _room(headroom_bps: float | None) -> str:
    if headroom_bps is None:
        return "may receive nothing"
    return f"may receive {_gbps(headroom_bps)} Gb/s more" if headroom_bps > 0 else "is full to its fill mark"


def _loads_table(story: LinkStory) -> Table:
    thresholds, load = story.thresholds, story.load
    table = columns("load", "Gb/s", "of capacity", "marks")
    rows = {
        "carried": (load.carried_bps, f"act at once at {thresholds.saturated:.0%}"),
        "dropped": (load.dropped_bps, "act at once on any"),
        "offered": (load.offered_bps, f"others fill it up to {thresholds.fill_to:.0%}"),
        "natural": (load.natural_bps, f"enter {thresholds.enter:.0%}, leave {thresholds.leave:.0%}"),
        "planned": (
            story.planned_bps,
            f"goal {thresholds.shed_to:.0%}, {thresholds.shed_to_saturated:.0%} when saturated",
        ),
    }
    for name, (bps, mark) in rows.items():
        table.add_row(name, _gbps(bps), f"{bps / load.capacity_bps:.1%}", mark)
    return table


def _shares_table(title: str, shares: tuple[Share, ...]) -> Table:
    ruled = any(one.rule for one in shares)
    table = columns("prefix", "Gb/s", "±", "link", *(["rule"] if ruled else []), title=title)
    for one in shares:
        rule = [one.rule or NONE] if ruled else []
        table.add_row(one.prefix, _gbps(one.bps), _gbps(one.error_bps), one.other or NONE, *rule)
    return table


def _decision(answer: DecisionAnswer) -> Iterator[RenderableType]:
    one = answer.decision
    counts = f"{len(one.overrides)} overrides, {len(one.released)} released, {len(one.refused)} refused"
    window = f"on the window from {one.window_start:%Y-%m-%d %H:%M:%S} UTC"
    yield f"decision {number(one)} of {answer.pop}, {one.mode}, {window}: {counts}"
    yield f"made {one.made_at:%H:%M:%S}, may add until {one.add_until:%H:%M:%S}, held until {one.hold_until:%H:%M:%S}"
    if one.egress_mismatch_share:
        yield f"{one.egress_mismatch_share:.1%} of what it does not steer left where routing does not predict it"
    if one.barred:
        yield f"nothing new is moved: {one.barred}"
    if one.congestion:
        yield _events_table(one)
    if one.overrides:
        yield overrides_table([one])
    if one.released:
        table = columns("released", "Gb/s", "reason")
        for gone in one.released:
            bps = answer.released_bps.get(gone.prefix)
            table.add_row(gone.prefix, NONE if bps is None else _gbps(bps), gone.reason)
        yield table
    if one.refused:
        table = columns("refused", "Gb/s", "link", "reason")
        for stays in one.refused:
            table.add_row(stays.prefix, _gbps(stays.bps), stays.link, stays.reason)
        yield table


def _events_table(decision: Decision) -> Table:
    table = columns("congestion", "state", "since", "carried", "dropped", "natural", "error")
    for event in decision.congestion:
        shares = (event.carried, event.dropped, event.natural, event.error)
        table.add_row(event.link, event.state, f"{event.since:%H:%M:%S}", *(f"{share:.1%}" for share in shares))
    return table


def _estimate(demand: Estimate) -> str:
    if not demand.samples:
        return "none seen"
    return f"{_gbps(demand.bps)} Gb/s ± {_gbps(demand.error_bps)} ({demand.samples:.0f} samples)"


def _ratio(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{ratio:.0%}"


def _gbps(bps: float) -> str:
    return f"{bps / GIGA:.2f}"
