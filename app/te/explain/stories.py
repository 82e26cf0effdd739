"""Why a prefix or a link is in its present state: read from the working paper of the last cycle, by the same rules.

Nothing here takes part in a decision. Stories are computed on request: loads and budgets are those of that cycle, while
routes are the current ones.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from app.config.thresholds import Thresholds
from app.contract.schemas import NaturalExit, Override
from app.te.cycle_state import LinkState, StandingOverride
from app.te.decision.allocator import BUDGET_BOUND
from app.te.decision.plan import Plan
from app.te.decision.relief import forbidden
from app.te.explain.sentences import refusal, stays, untouched
from app.te.routing.bestpath import RouterPath
from app.te.routing.natural import Alternate
from app.te.traffic.level import error_share
from app.te.traffic.link import LinkLoad

CHOSEN, NATURAL, POSSIBLE, DEARER = "chosen", "natural", "possible", "dearer"
CONGESTED, UNKNOWN_LINK = "congested", "unknown-link"
LARGEST = 10

Status = Literal["moved", "refused", "untouched"]


class Estimate(msgspec.Struct, frozen=True):
    """A flow estimate: bits per second, plus or minus `error_bps` at 95 %, from decayed samples."""

    bps: float
    error_bps: float
    samples: float


class Ingress(msgspec.Struct, frozen=True):
    """The traffic of a prefix that enters at one router: its link by plain BGP with the next hop, and its link now."""

    router: str
    natural: str | None
    next_hop: str | None
    now: str | None
    demand: Estimate


class AlternatePath(msgspec.Struct, frozen=True):
    """One eBGP path of a prefix. `link` and `cost` are None if the inventory lacks the link.

    `headroom_bps` is the room of the link up to `fill_to`, None if it may not receive traffic. `rule` is
    chosen, natural, possible, dearer (possible, but the chosen path costs less), or the code of the rule that forbids
    the path.
    """

    router: str
    peer: str
    next_hop: str
    as_path: tuple[int, ...]
    link: str | None
    cost: float | None
    headroom_bps: float | None
    rule: str


class PrefixStory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one prefix. `override`, `since`, `confirmed` and `stays` are None if it has no override.

    `since` is the end of the window that made the override, `confirmed` the end of the first window in which its
    routers showed it; `stays` says why it is not released yet.
    """

    prefix: str
    status: Status
    why: str
    demand: Estimate
    ingress: tuple[Ingress, ...]
    natural: tuple[NaturalExit, ...]
    alternates: tuple[AlternatePath, ...]
    override: Override | None
    since: datetime | None
    confirmed: datetime | None = None
    stays: str | None = None


class Share(msgspec.Struct, frozen=True):
    """One prefix and its load on a link; `prefix` is * for load that no prefix explains.

    `other` is the link that the prefix comes from, goes to, or could go to; `rule` is the code of the rule that keeps
    it where it is. `error_bps` is the sampling error at 95 %.
    """

    prefix: str
    bps: float
    other: str | None = None
    rule: str | None = None
    error_bps: float = 0.0


class LinkStory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one link. `planned_bps` is its load once the routers follow the decision.

    `headroom_bps` is None if the link may not receive traffic. `largest` are the largest prefixes that leave by the
    link without an override. `sessions_down` are its neighbours whose BGP session is not up.
    """

    link: str
    load: LinkLoad
    planned_bps: float
    headroom_bps: float | None
    usable: bool
    thresholds: Thresholds
    congestion: LinkState | None
    moved_off: tuple[Share, ...]
    moved_onto: tuple[Share, ...]
    largest: tuple[Share, ...]
    refused: tuple[Share, ...]
    sessions_down: tuple[str, ...] = ()


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A story of a prefix or a link, as of decision `as_of` (epoch.seq) on the window that ended at `window_end`."""

    pop: str
    as_of: str
    window_end: datetime
    prefix: PrefixStory | None = None
    link: LinkStory | None = None


def find_prefix(plan: Plan, asked: str) -> str:
    """The prefix `asked`, or the longest one that contains the address `asked`.

    LookupError if no router holds it; for an unknown prefix, the message names the prefix that contains its address.
    """
    natural = plan.context.natural
    if plan.traffic.pairs.of(asked) or any(natural.rib.paths(router, asked) for router in plan.context.pop.routers):
        return asked
    address = asked.partition("/")[0]
    [prefix] = natural.table().match([address])
    if prefix is None:
        raise LookupError(f"no router of {plan.context.pop.name} holds a route for {asked}")
    if address != asked:
        raise LookupError(f"no router of {plan.context.pop.name} holds {asked}; {address} lies in {prefix}")
    return prefix


def explain_prefix(plan: Plan, asked: str) -> PrefixStory:
    """The story of the prefix `asked`, or of the one that contains this address; LookupError if no router holds it."""
    prefix = find_prefix(plan, asked)
    held = _held(plan, prefix)
    status, why = _why(plan, prefix, held)
    return PrefixStory(
        prefix=prefix,
        status=status,
        why=why,
        demand=_demand(plan.bps(prefix), plan.candidate(prefix).samples),
        ingress=tuple(_ingress(plan, prefix, held)),
        natural=plan.natural_exits(prefix),
        alternates=_alternates(plan, prefix, held),
        override=held.override if held else None,
        since=_utc(held.since_s if held else None),
        confirmed=_utc(held.confirmed_s if held else None),
        stays=stays(plan, prefix, held.since_s) if held else None,
    )


def explain_link(plan: Plan, link: str, state: LinkState | None) -> LinkStory:
    """The story of a link, given its hysteresis; LookupError if the link had no window in the last cycle."""
    load = plan.traffic.loads.get(link)
    if load is None:
        raise LookupError(f"{link} had no window in the last cycle: it reported neither flows nor counters")
    held = plan.kept | plan.made
    definition, rib = plan.context.pop.links[link], plan.context.natural.rib
    as_a_whole = [
        Share("*", refused.bps, rule=refused.reason)
        for refused in plan.refused
        if (refused.prefix, refused.link) == ("*", link)
    ]
    return LinkStory(
        link=link,
        load=load,
        planned_bps=plan.ledger.load_bps[link],
        headroom_bps=plan.ledger.headroom_bps(link),
        usable=link in plan.traffic.usable,
        sessions_down=tuple(
            session.peer for session in definition.sessions if rib.peer_asn(definition.router, session.peer) is None
        ),
        thresholds=plan.context.thresholds,
        congestion=state,
        moved_off=_largest_first(plan, (_moved_off(plan, link, held[prefix], prefix) for prefix in held)),
        moved_onto=_largest_first(plan, (_moved_onto(plan, link, held[prefix], prefix) for prefix in held)),
        largest=tuple(_with_error(plan, _could_go(plan, link, prefix)) for prefix in _leaving_by(plan, link)),
        refused=(
            *as_a_whole,
            *_largest_first(
                plan,
                (
                    Share(prefix, plan.bps(prefix), rule=reason)
                    for prefix, (source, reason) in plan.unmoved.items()
                    if source == link and prefix not in held
                ),
            ),
        ),
    )


def _held(plan: Plan, prefix: str) -> StandingOverride | None:
    return plan.made.get(prefix) or plan.kept.get(prefix)


def _why(plan: Plan, prefix: str, held: StandingOverride | None) -> tuple[Status, str]:
    if held is not None:
        return "moved", held.override.reason
    if prefix in plan.unmoved:
        return "refused", refusal(plan, prefix, *plan.unmoved[prefix])
    return "untouched", untouched(plan, prefix)


def _demand(bps: float, samples: float) -> Estimate:
    return Estimate(bps, bps * error_share(int(samples)), samples)


def _ingress(plan: Plan, prefix: str, held: StandingOverride | None) -> Iterator[Ingress]:
    pairs = {pair.ingress: pair for pair in plan.traffic.pairs.of(prefix)}
    exits = plan.context.natural.exits(prefix)
    for router in plan.context.pop.routers:
        pair, egress = pairs.get(router), exits.get(router)
        natural = pair.natural if pair else egress.link if egress else None
        follows = held is not None and router in held.override.inject_on
        yield Ingress(
            router=router,
            natural=natural,
            next_hop=egress.next_hop if egress and egress.link == natural else None,
            now=held.override.exit.link if held is not None and follows else natural,
            demand=_demand(pair.bps, pair.samples) if pair else Estimate(0.0, 0.0, 0.0),
        )


def _alternates(plan: Plan, prefix: str, held: StandingOverride | None) -> tuple[AlternatePath, ...]:
    cost = {name: link.cost for name, link in plan.context.pop.links.items()}
    alternates = [
        AlternatePath(
            router=known.router,
            peer=known.path.peer,
            next_hop=known.path.next_hop,
            as_path=known.path.as_path,
            link=known.exit.link if known.exit else None,
            cost=cost[known.exit.link] if known.exit else None,
            headroom_bps=plan.ledger.headroom_bps(known.exit.link) if known.exit else None,
            rule=_rule(plan, prefix, known, held),
        )
        for known in plan.context.natural.routes(prefix).paths
    ]
    order = {CHOSEN: 0, NATURAL: 1}
    return tuple(sorted(alternates, key=lambda a: (order.get(a.rule, 2), a.cost or 0.0, a.next_hop, a.router)))


def _rule(plan: Plan, prefix: str, known: RouterPath, held: StandingOverride | None) -> str:
    """The code of the first rule that applies to this path, checked in the allocator's order."""
    context = plan.context
    if known.exit is None:
        return UNKNOWN_LINK
    if held is not None and held.override.exit == known.exit:
        return CHOSEN
    if known.exit.link in plan.natural_links(prefix):
        return NATURAL
    if reason := context.natural.barred(known.exit, known.path) or forbidden(plan, prefix):
        return reason
    if known.exit.link in plan.open_links:
        return CONGESTED
    target = Alternate(known.exit, known.path)
    candidate = msgspec.structs.replace(plan.candidate(prefix), held=held is not None)
    if reason := plan.ledger.lack(candidate, target):
        return reason
    if not plan.ledger.affords(candidate):
        return BUDGET_BOUND
    return plan.verdict(candidate, target) or (DEARER if held and _is_dearer(plan, target, held) else POSSIBLE)


def _is_dearer(plan: Plan, target: Alternate, held: StandingOverride) -> bool:
    links, chosen = plan.context.pop.links, held.override.exit
    return (links[target.exit.link].cost, target.exit.next_hop) > (links[chosen.link].cost, chosen.next_hop)


def _moved_off(plan: Plan, link: str, held: StandingOverride, prefix: str) -> Share:
    egress = held.override.exit.link
    return Share(prefix, plan.natural_links(prefix).get(link, 0.0) if egress != link else 0.0, egress)


def _moved_onto(plan: Plan, link: str, held: StandingOverride, prefix: str) -> Share:
    main_link = plan.main_link(prefix)
    if held.override.exit.link != link or main_link is None:
        return Share(prefix, 0.0)
    return Share(prefix, plan.bps(prefix) - plan.natural_links(prefix).get(link, 0.0), main_link)


def _leaving_by(plan: Plan, link: str) -> Sequence[str]:
    """The largest prefixes (at most LARGEST) that leave by this link without an override."""
    loads: dict[str, float] = {}
    for pair in plan.traffic.pairs:
        if pair.natural == link and _held(plan, pair.prefix) is None:
            loads[pair.prefix] = loads.get(pair.prefix, 0.0) + pair.bps
    return sorted(loads, key=lambda prefix: (-loads[prefix], prefix))[:LARGEST]


def _could_go(plan: Plan, link: str, prefix: str) -> Share:
    alternates = _alternates(plan, prefix, None)
    best = next((alternate for alternate in alternates if alternate.rule == POSSIBLE), None)
    rules = sorted({alternate.rule for alternate in alternates} - {NATURAL})
    bps = plan.natural_links(prefix)[link]
    return Share(prefix, bps, best.link) if best else Share(prefix, bps, rule=", ".join(rules) or "no-alternate")


def _largest_first(plan: Plan, shares: Iterator[Share]) -> tuple[Share, ...]:
    ordered = sorted((share for share in shares if share.bps > 0), key=lambda share: (-share.bps, share.prefix))
    return tuple(_with_error(plan, share) for share in ordered)


def _with_error(plan: Plan, share: Share) -> Share:
    samples = sum(pair.samples for pair in plan.traffic.pairs.of(share.prefix))
    return msgspec.structs.replace(share, error_bps=share.bps * error_share(int(samples)))


def _utc(at_s: int | None) -> datetime | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC)
