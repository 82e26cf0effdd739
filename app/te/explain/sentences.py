"""The rules of a decision in sentences, with the numbers that they were applied to."""

from app.te.decision.allocator import BUDGET_BOUND, MIN_MOVED_SAMPLES, TOO_FEW_SAMPLES
from app.te.decision.carry_over import LEFT_INVENTORY
from app.te.decision.ledger import NO_ROOM
from app.te.decision.plan import ROUTER_DOUBTFUL, Plan
from app.te.decision.relief import SETTLING, fits_at_home, forbidden, goal_share, is_settling
from app.te.evidence.effect import INEFFECTIVE
from app.te.evidence.mismatch import MISMATCH
from app.te.evidence.trust import UNTRUSTED
from app.te.routing.forwarding import DEAD_END, LOOP
from app.te.traffic.units import bits, percent

MEANING = {
    LOOP: "on the way to the other exit, a router would send it back",
    DEAD_END: "while the routers change one by one, one of them would have no route for it",
    ROUTER_DOUBTFUL: "the router of the other exit is not heard over BMP, so its paths may be out of date",
    "next-hop-family": "the other path has an IPv6 next hop for an IPv4 prefix (RFC 8950), which overrides do not copy",
    "exports-learned-routes": "a router that would carry the override exports the routes it learns",
    "strict-urpf": "its natural link would drop packets from this prefix once it is routed elsewhere",
    INEFFECTIVE: "the routers took the override, but the traffic did not follow it",
    SETTLING: "prefixes moved off it so recently that no whole window shows the effect yet",
    LEFT_INVENTORY: "its exit, or a link that it relieved, is not in the inventory any more",
    "blackholed": "a router's best path for it is a blackhole",
    "own-prefix": "it is one of our own prefixes, which are never moved",
    "pinned": "the inventory pins it",
    "bogon": "it is a bogon, and bogons are never moved",
    "default-route": "a default route is never moved",
    "prefix-length": "its length is outside the range that the budgets of the PoP allow",
}


def refusal(plan: Plan, prefix: str, link: str, reason: str) -> str:
    """Why a prefix stays on `link` although the link should be relieved; `reason` is the code of the refusal."""
    return f"{link} should be relieved, but {reason}: {_numbers(plan, prefix, link, reason)}"


def stays(plan: Plan, prefix: str, since_s: int) -> str:
    """Why an override that exists since `since_s` is not released yet."""
    held_s, least_s = plan.context.now_s - since_s, plan.context.pacing.min_stay_s
    if held_s < least_s:
        return f"in force for {held_s} s; it stays for at least {least_s:g} s"
    if not fits_at_home(plan, prefix):
        natural_links = "; ".join(_with_it_back(plan, link, bps) for link, bps in plan.natural_links(prefix).items())
        return f"it does not fit on its natural links: {natural_links}"
    share = plan.context.pacing.release_share
    return f"it fits on its natural links and waits: at most {share:.0%} of the moved load returns per window"


def untouched(plan: Plan, prefix: str) -> str:
    """Why a prefix is neither moved nor refused: its natural link needs no relief, or the prefix was just released."""
    link = plan.main_link(prefix)
    if (reason := plan.released.get(prefix) or plan.invalidated.get(prefix)) is not None:
        return f"released by this decision: {reason}" + (f": {MEANING[reason]}" if reason in MEANING else "")
    if link is None:
        return "plain BGP has no exit for it by a link in the inventory"
    never = forbidden(plan, prefix)
    natural_link = _natural_link(plan, link)
    return f"{natural_link}; it could not be moved anyway, {never}: {MEANING[never]}" if never else natural_link


def _numbers(plan: Plan, prefix: str, link: str, reason: str) -> str:
    if reason == NO_ROOM:
        return _room(plan, prefix, link)
    if reason == BUDGET_BOUND:
        return _budgets(plan)
    if reason == UNTRUSTED:
        return "; ".join(untrusted(plan, name) for name in sorted(_others(plan, prefix, link) & plan.untrusted))
    if reason == MISMATCH:
        astray, most = percent(plan.context.mismatch_share), plan.context.thresholds.mismatch_max
        return f"{astray} of the traffic we do not steer leaves by unpredicted links, and {most:.0%} is allowed"
    if reason == TOO_FEW_SAMPLES:
        return f"{plan.candidate(prefix).samples:.0f} samples, and a move needs at least {MIN_MOVED_SAMPLES}"
    return MEANING.get(reason, reason)


def _with_it_back(plan: Plan, link: str, bps: float) -> str:
    """The state of a natural link if a prefix with this load came back to it."""
    if link in plan.untrusted:
        return f"{link} is untrusted"
    if link not in plan.traffic.usable or link in plan.unseen:
        return f"the load of {link} is not fully known"
    if link in plan.open_links:
        return f"{link} is congested"
    share, leave = (plan.ledger.load_bps[link] + bps) / plan.capacity_bps(link), plan.context.thresholds.leave
    return f"{link} would be at {share:.0%}, and {leave:.0%} is allowed"


def untrusted(plan: Plan, link: str) -> str:
    """Why a link is untrusted: its flows over counters, and the band that they should be in; or its interfaces."""
    if plan.traffic.loads[link].renumbered:
        return f"{link} seems to have other ifIndexes now: its own fell silent when others appeared"
    ratio, thresholds = plan.traffic.loads[link].flow_ratio, plan.context.thresholds
    band = f"{thresholds.ratio_low:g} to {thresholds.ratio_high:g}"
    now = "too few samples to say" if ratio is None else f"{ratio:.0%}"
    return f"flows over counters of {link} were outside {band}; now {now}"


def _others(plan: Plan, prefix: str, link: str) -> set[str]:
    return {target.exit.link for target in plan.candidate(prefix).targets} - {link}


def _room(plan: Plan, prefix: str, link: str) -> str:
    targets = _others(plan, prefix, link)
    room_bps = {name: room for name in targets if (room := plan.ledger.headroom_bps(name)) is not None}
    if not targets:
        return f"it needs {bits(plan.bps(prefix))}, and no other link has a route to it"
    if not room_bps:
        return f"it needs {bits(plan.bps(prefix))}, and none of its {len(targets)} other links may receive traffic"
    most = max(room_bps, key=lambda name: (room_bps[name], name))
    left = bits(max(room_bps[most], 0.0))
    return f"it needs {bits(plan.bps(prefix))}, and the most room below thresholds.fill_to is {left}, on {most}"


def _budgets(plan: Plan) -> str:
    budgets, held = plan.context.pop.budgets, plan.kept | plan.made
    most = f"{budgets.max_overrides} overrides, {budgets.max_new_per_cycle} new ones per window"
    share = f"{budgets.max_moved_share:.0%} of {bits(plan.traffic.offered_bps)}"
    moved = bits(sum(plan.bps(prefix) for prefix in held))
    return f"the budgets allow {most} and {share} to be moved; {len(held)} overrides with {moved} are in force"


def _natural_link(plan: Plan, link: str) -> str:
    """How full a natural link is, and whether prefixes are moved off it."""
    thresholds, load = plan.context.thresholds, plan.traffic.loads.get(link)
    if link in plan.untrusted:
        return f"nothing is moved off its natural link {link}, {UNTRUSTED}: {untrusted(plan, link)}"
    if load is None or link not in plan.traffic.usable:
        return f"its natural link {link} is down or silent, or its load is unknown, so nothing is moved off it"
    natural = f"{(load.natural_bps or 0.0) / load.capacity_bps:.0%}"
    if link not in plan.open_links:
        return f"its natural link {link} is at {natural}, below the enter threshold of {thresholds.enter:.0%}"
    planned, goal = f"{plan.ledger.load_bps[link] / load.capacity_bps:.0%}", f"{goal_share(plan, link):.0%}"
    congested = f"its natural link {link} is congested: {natural}, and {planned} with other prefixes moved off it"
    return f"{congested}; the goal is {goal}" + (
        f"; {SETTLING}: {MEANING[SETTLING]}" if is_settling(plan, link) else ""
    )
