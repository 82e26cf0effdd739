"""Relief of links that carry too much: overrides onto them go first, then the largest prefixes that fit the excess."""

from collections.abc import Collection
from math import inf

from app.te.decision.allocator import Task
from app.te.decision.plan import Plan
from app.te.evidence.effect import INEFFECTIVE
from app.te.evidence.trust import UNTRUSTED

SETTLING = "settling"
TARGET_CONGESTED = "target-congested"


def make_room(plan: Plan) -> None:
    """Take overrides off targets that are too full: back to natural links if they have room, else onto another link.

    If neither is possible and the target is saturated, they are released all the same: between two full links, plain
    BGP decides.
    """
    thresholds, ledger = plan.context.thresholds, plan.ledger
    for target in sorted(plan.traffic.usable):
        capacity_bps = plan.capacity_bps(target)
        if ledger.load_bps[target] < thresholds.enter * capacity_bps:
            continue
        goal_bps = thresholds.shed_to * capacity_bps
        _give_back(plan, target, goal_bps, anywhere=False)
        guests = _guests(plan, target)
        if guests and ledger.load_bps[target] > goal_bps:
            pool = [plan.candidate(prefix) for prefix in guests]
            plan.move([Task(target, goal_bps, pool, samples=inf)], {target: TARGET_CONGESTED})
        if plan.traffic.loads[target].saturated:
            _give_back(plan, target, goal_bps, anywhere=True)


def _guests(plan: Plan, target: str) -> list[str]:
    """The prefixes that leave by this link only because of an override, the largest first."""
    guests = [
        prefix
        for prefix, standing in plan.kept.items()
        if standing.override.exit.link == target and target not in plan.natural_links(prefix)
    ]
    return sorted(guests, key=lambda prefix: (-plan.bps(prefix), prefix))


def _give_back(plan: Plan, target: str, goal_bps: float, anywhere: bool) -> None:
    for prefix in _guests(plan, target):
        if plan.ledger.load_bps[target] > goal_bps and (anywhere or fits_at_home(plan, prefix)):
            plan.release(prefix, TARGET_CONGESTED)


def fits_at_home(plan: Plan, prefix: str) -> bool:
    """Whether all natural links of the prefix stay at or below `leave` with it back. It never fits on unseen links."""
    return all(
        link in plan.traffic.usable
        and link not in plan.unseen
        and link not in plan.open_links
        and plan.ledger.load_bps[link] + bps <= plan.context.thresholds.leave * plan.capacity_bps(link)
        for link, bps in plan.natural_links(prefix).items()
    )


def relieve(plan: Plan) -> None:
    """Relieve every congested link that needs it. Prefixes of invalidated overrides go first: it saves a change."""
    _refuse_untrusted(plan)
    needy = [link for link in sorted(plan.open_links & plan.traffic.usable) if _needs_relief(plan, link)]
    for link in [link for link in needy if not plan.invalidated and is_settling(plan, link)]:
        plan.refuse_link(link, goal_share(plan, link), SETTLING)
        needy.remove(link)
    reasons = {link: f"{link} natural {_share(plan, link):.0%} of capacity" for link in needy}
    again = [_task(plan, link, plan.invalidated) for link in needy] if plan.invalidated else []
    plan.move([task for task in again if task.pool], reasons)
    plan.move([_task(plan, link) for link in needy], reasons)


def _refuse_untrusted(plan: Plan) -> None:
    for link in sorted(plan.untrusted):
        full = plan.ledger.load_bps[link] > plan.context.thresholds.enter * plan.capacity_bps(link)
        if full or plan.traffic.loads[link].saturated:
            plan.refuse_link(link, goal_share(plan, link), UNTRUSTED)


def is_settling(plan: Plan, link: str) -> bool:
    """Whether a prefix moved off the link so recently that no whole window shows the effect; never while saturated."""
    since_s = plan.context.now_s - 2 * plan.context.window_s
    recent = (standing for standing in plan.kept.values() if standing.since_s > since_s)
    moved_off = any(link in {natural.link for natural in standing.override.natural} for standing in recent)
    return moved_off and not plan.traffic.loads[link].saturated


def _share(plan: Plan, link: str) -> float:
    return (plan.traffic.loads[link].natural_bps or 0.0) / plan.capacity_bps(link)


def goal_share(plan: Plan, link: str) -> float:
    """The share of its capacity that a congested link is relieved down to."""
    thresholds = plan.context.thresholds
    return thresholds.shed_to_saturated if plan.traffic.loads[link].saturated else thresholds.shed_to


def _needs_relief(plan: Plan, link: str) -> bool:
    """Whether the planned load is above the goal or, once prefixes were moved off the link, well above it.

    Otherwise the noise of each window would move one more prefix. "Well above" means midway between `enter` and
    `saturated`, or at `enter` while the link is saturated.
    """
    thresholds, load = plan.context.thresholds, plan.traffic.loads[link]
    trigger = goal_share(plan, link)
    if load.moved_out_bps:
        trigger = thresholds.enter if load.saturated else (thresholds.enter + thresholds.saturated) / 2
    return plan.ledger.load_bps[link] > trigger * load.capacity_bps


def _task(plan: Plan, link: str, among: Collection[str] | None = None) -> Task:
    """The task to relieve a link: its prefixes (`among` these) that no override moves and no guard forbids to move."""
    prefixes = plan.traffic.pairs.leaving(link) - plan.kept.keys() - plan.made.keys()
    prefixes = prefixes if among is None else prefixes.intersection(among)
    refused = {prefix: reason for prefix in prefixes if (reason := forbidden(plan, prefix)) is not None}
    return Task(
        source=link,
        goal_bps=goal_share(plan, link) * plan.capacity_bps(link),
        pool=[plan.candidate(prefix) for prefix in sorted(prefixes - refused.keys())],
        samples=plan.moved_samples.get(link, 0.0),
        refused=refused,
    )


def forbidden(plan: Plan, prefix: str) -> str | None:
    """The reason code why this prefix is not moved, even if there is room; None if it may be moved."""
    guards = plan.context.guards
    if plan.context.quarantine.get(prefix, 0) > plan.context.now_s:
        return INEFFECTIVE
    if plan.context.natural.routes(prefix).blackholed:
        return "blackholed"
    return guards.prefix(prefix) or (guards.links(plan.natural_links(prefix)) if guards.strict else None)
