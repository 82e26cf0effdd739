"""Stories of prefixes and links, with the numbers that decided."""

import random
from datetime import UTC, datetime

import msgspec
import pytest

from app.config.inventory import Budgets
from app.te.decision.cycle import CycleState
from app.te.decision.plan import Plan
from app.te.evidence.mismatch import MISMATCHED_WINDOWS
from app.te.explain.stories import AlternatePath, PrefixStory, explain_link, explain_prefix
from app.te.traffic.level import error_share
from tests.app.te.decision.test_cycle import EVERYWHERE, POP, PREFIXES, START_S, TWO, A, B, C, D, Desk, after, spread
from tests.app.te.world import WINDOW_S, path
from tests.pops import G, link, pop


def plan_of(desk: Desk) -> Plan:
    assert desk.plan is not None
    return desk.plan


def rules(story: PrefixStory) -> dict[str | None, str]:
    return {one.link: one.rule for one in story.alternates}


def test_a_moved_prefix_tells_where_it_was_and_why_there_and_not_elsewhere() -> None:
    desk = Desk()
    desk.decide({A: {"40.0.0.0/16": 80, "40.1.0.0/16": 15}, B: {"50.0.0.0/16": 60}})
    story = explain_prefix(plan_of(desk), "40.1.200.9")
    assert (story.prefix, story.status, story.why) == (
        "40.1.0.0/16",
        "moved",
        "p/r1/a natural 95% of capacity",
    )
    assert story.since == datetime.fromtimestamp(START_S + WINDOW_S, UTC)
    assert story.override is not None
    assert (story.override.exit.link, story.override.source_path.as_path) == (B, (64602, 7))
    assert [(one.router, one.natural, one.next_hop, one.now) for one in story.ingress] == [
        ("r1", A, "10.0.0.1", B),
        ("r2", A, "10.0.0.1", B),
    ]
    assert (round(story.demand.bps / G, 6), story.demand.samples) == (15, 1000)
    assert story.demand.error_bps == story.demand.bps * error_share(1000)
    assert [(one.link, one.rule) for one in story.alternates] == [
        (B, "chosen"), (A, "natural"), (C, "dearer"), (D, "dearer"),
    ]  # fmt: skip
    chosen = story.alternates[0]
    assert chosen == AlternatePath("r1", "10.0.0.2", "10.0.0.2", (64602, 7), B, 0.1, chosen.headroom_bps, "chosen")
    assert chosen.headroom_bps is not None
    assert round(chosen.headroom_bps / G, 6) == 5, "80 less 60 less the 15 that come"


def test_a_moved_prefix_tells_why_it_is_not_home_yet() -> None:
    desk = Desk(min_stay_s=10, release_share=0.01)
    first = desk.decide({A: spread(120)})
    prefix, *others = [one.prefix for one in first.overrides]
    assert explain_prefix(plan_of(desk), prefix).stays == "in force for 0 s; it stays for at least 10 s"
    desk.decide(after(first, 120))
    assert explain_prefix(plan_of(desk), prefix).stays == f"it does not fit on its natural links: {A} is congested"
    [gone] = desk.decide(after(first, 75)).released
    told = {explain_prefix(plan_of(desk), one).stays for one in {prefix, *others} - {gone.prefix}}
    assert told == {"it fits on its natural links and waits: at most 1% of the moved load returns per window"}


def test_what_had_no_effect_says_so_when_it_goes_and_while_it_stays_out() -> None:
    desk = Desk()
    first = desk.decide({A: spread(95)})
    [prefix] = [one.prefix for one in first.overrides]
    for router in desk.pop.router:
        marked = path(2, peer=router.injector.address, communities=(desk.pop.marker_community,), ebgp=False)
        desk.rib.update(router.name, prefix, marked)
    meaning = "the routers took the override, but the traffic did not follow it"
    for _ in range(3):
        desk.decide({A: spread(95)})
    confirmed = explain_prefix(plan_of(desk), prefix).confirmed
    assert confirmed == datetime.fromtimestamp(START_S + 2 * WINDOW_S, UTC)
    assert [one.reason for one in desk.decide({A: spread(95)}).released] == ["ineffective"]
    story = explain_prefix(plan_of(desk), prefix)
    assert story.why == f"{A} should be relieved, but ineffective: {meaning}"
    for router in desk.pop.router:
        desk.rib.withdraw(router.name, prefix, router.injector.address)
    desk.decide({A: spread(60)})
    assert f"below the enter threshold of 90%; it could not be moved anyway, ineffective: {meaning}" in (
        explain_prefix(plan_of(desk), prefix).why
    )
    assert {one.rule for one in explain_prefix(plan_of(desk), prefix).alternates} == {"natural", "ineffective"}


def test_a_share_of_a_link_comes_with_its_sampling_error() -> None:
    desk = Desk()
    desk.decide({A: spread(70)})
    largest = explain_link(plan_of(desk), A, None).largest[0]
    assert round(largest.bps / G, 6) == 7
    assert largest.error_bps == largest.bps * error_share(1000)


def test_egress_mismatch_is_told_with_its_share() -> None:
    desk = Desk(paths=dict.fromkeys(PREFIXES, EVERYWHERE) | {"50.0.0.0/16": EVERYWHERE})
    desk.state = CycleState(mismatched=MISMATCHED_WINDOWS - 1)
    desk.decide({A: spread(95), B: {"50.0.0.0/16": 5.0}})
    assert explain_prefix(plan_of(desk), PREFIXES[0]).why == (
        f"{A} should be relieved, but egress-mismatch: "
        "5.0% of the traffic we do not steer leaves by unpredicted links, and 2% is allowed"
    )


def test_a_refused_prefix_tells_the_rule_and_its_numbers() -> None:
    desk = Desk()
    desk.decide({A: spread(110, PREFIXES[:2]), B: {"50.0.0.0/16": 60}, C: {"51.0.0.0/16": 77}, D: {"52.0.0.0/16": 75}})
    story = explain_prefix(plan_of(desk), PREFIXES[0])
    assert story.status == "refused"
    assert story.why == (
        f"{A} should be relieved, but no-room: it needs 55.0 Gb/s, "
        f"and the most room below thresholds.fill_to is 20.0 Gb/s, on {B}"
    )
    assert rules(story) == {A: "natural", B: "no-room", C: "no-room", D: "no-room"}
    assert (story.override, story.since) == (None, None)
    assert {one.now for one in story.ingress} == {A}


def test_an_untouched_prefix_tells_how_far_its_link_is_below_the_mark() -> None:
    desk = Desk()
    desk.decide({A: spread(70)})
    story = explain_prefix(plan_of(desk), PREFIXES[3])
    assert (story.status, story.why) == (
        "untouched",
        f"its natural link {A} is at 70%, below the enter threshold of 90%",
    )
    assert rules(story) == {A: "natural", B: "possible", C: "possible", D: "possible"}


def test_an_untouched_prefix_of_a_congested_link_was_not_needed() -> None:
    desk = Desk()
    result = desk.decide({A: spread(95)})
    [moved] = [one.prefix for one in result.overrides]
    story = explain_prefix(plan_of(desk), next(prefix for prefix in PREFIXES if prefix != moved))
    assert (story.status, story.why) == (
        "untouched",
        f"its natural link {A} is congested: 95%, and 86% with other prefixes moved off it; the goal is 90%",
    )


def test_what_is_given_back_says_so() -> None:
    desk = Desk(min_stay_s=0)
    first = desk.decide({A: spread(95)})
    [prefix] = [one.prefix for one in first.overrides]
    desk.decide(after(first, 60))
    story = explain_prefix(plan_of(desk), prefix)
    assert (story.status, story.why) == ("untouched", "released by this decision: natural-load-fits")
    assert {one.now for one in story.ingress} == {A}


@pytest.mark.parametrize(
    ("changes", "rule", "says"),
    [
        ({"own_prefixes": ("40.0.0.0/8",)}, "own-prefix", "it is one of our own prefixes"),
        ({"pinned_prefixes": ("40.0.0.0/8",)}, "pinned", "the inventory pins it"),
        ({"budgets": Budgets(max_moved_share=0.01)}, "budget-bound", "1% of 95.0 Gb/s to be moved; 0 overrides"),
    ],
)
def test_rules_of_the_house_are_named(changes: dict[str, object], rule: str, says: str) -> None:
    desk = Desk(msgspec.structs.replace(POP, **changes))
    desk.decide({A: spread(95)})
    story = explain_prefix(plan_of(desk), PREFIXES[0])
    assert story.status == "refused"
    assert f"but {rule}: " in story.why
    assert says in story.why
    assert {one.rule for one in story.alternates} == {"natural", rule}


def test_an_alternate_says_why_it_is_none() -> None:
    capped = link("r1/b", 2, cost=0.1)
    capped = msgspec.structs.replace(capped, sessions=(msgspec.structs.replace(capped.sessions[0], cap_bps=1 * G),))
    of_pop = pop(
        link("r1/a", 1), capped, link("r2/c", 3, drain=True), link("r2/d", 4), link("r2/e", 5), link("r2/f", 6)
    )
    paths = [*EVERYWHERE, path(5, communities=("65535:0",)), path(6), path(9)]
    desk = Desk(of_pop, {})
    for router, one in zip(("r1", "r1", "r2", "r2", "r2", "r2", "r2"), paths, strict=True):
        desk.rib.update(router, PREFIXES[0], one)
    desk.rib.peer_down("r2", "10.0.0.6")
    desk.rib.update("r2", PREFIXES[0], path(6))
    desk.decide({A: {PREFIXES[0]: 60}, "p/r2/d": {"50.0.0.0/16": 96}})
    assert rules(explain_prefix(plan_of(desk), PREFIXES[0])) == {
        A: "natural",
        B: "session-full",
        "p/r2/c": "drained",
        "p/r2/d": "congested",
        "p/r2/e": "barred-community",
        "p/r2/f": "session-down",
        None: "unknown-link",
    }


def test_a_move_that_would_lose_packets_meanwhile_is_named() -> None:
    desk = Desk(paths=dict.fromkeys(PREFIXES, TWO))
    desk.decide({A: spread(95)})
    story = explain_prefix(plan_of(desk), PREFIXES[0])
    assert rules(story) == {A: "natural", B: "dead-end"}
    assert "dead-end: while the routers change one by one" in story.why


def test_what_nobody_routes_is_unknown_and_what_is_near_is_named() -> None:
    desk = Desk()
    desk.decide({A: spread(70)})
    with pytest.raises(LookupError, match=r"no router of p holds a route for 9\.9\.9\.9"):
        explain_prefix(plan_of(desk), "9.9.9.9")
    with pytest.raises(LookupError, match=r"holds 40.0.7.0/24; 40.0.7.0 lies in 40.0.0.0/16"):
        explain_prefix(plan_of(desk), "40.0.7.0/24")


def test_a_link_tells_its_loads_and_what_moved_by_it() -> None:
    desk = Desk()
    result = desk.decide({A: {"40.0.0.0/16": 80, "40.1.0.0/16": 15}, B: {"50.0.0.0/16": 60}})
    source = explain_link(plan_of(desk), A, result.state.links[A])
    assert (source.load.natural_bps, round(source.planned_bps / G, 6), source.headroom_bps) == (95 * G, 80, None)
    assert [(one.prefix, round(one.bps / G, 6), one.other) for one in source.moved_off] == [("40.1.0.0/16", 15, B)]
    assert [(one.prefix, round(one.bps / G, 6), one.other) for one in source.largest] == [("40.0.0.0/16", 80, C)]
    assert source.congestion is not None
    assert source.congestion.open
    assert (source.moved_onto, source.refused) == ((), ())
    target = explain_link(plan_of(desk), B, None)
    assert [(one.prefix, round(one.bps / G, 6), one.other) for one in target.moved_onto] == [("40.1.0.0/16", 15, A)]
    assert (target.moved_off, target.thresholds.fill_to) == ((), 0.8)
    assert target.headroom_bps is not None
    assert round(target.headroom_bps / G, 6) == 5
    assert (source.sessions_down, target.sessions_down) == ((), ())
    (session,) = POP.links[B].sessions
    desk.rib.peer_down(POP.links[B].router, session.peer)
    assert explain_link(plan_of(desk), B, None).sessions_down == (session.peer,)


def test_a_link_names_every_refusal() -> None:
    desk = Desk(msgspec.structs.replace(POP, budgets=Budgets(max_overrides=1)))
    result = desk.decide({A: spread(120)})
    story = explain_link(plan_of(desk), A, result.state.links[A])
    assert len(story.moved_off) == 1
    assert [(one.prefix, one.rule) for one in story.refused] == [
        (prefix, "budget-bound") for prefix in PREFIXES if prefix != story.moved_off[0].prefix
    ]


def test_asking_changes_nothing() -> None:
    one, other = Desk(), Desk()
    for desk in (one, other):
        desk.decide({A: spread(95)})
    before = msgspec.json.encode(one.state)
    for prefix in PREFIXES:
        explain_prefix(plan_of(one), prefix)
    explain_link(plan_of(one), A, None)
    assert msgspec.json.encode(one.state) == before
    again = [msgspec.json.encode(desk.decide({A: spread(125)})) for desk in (one, other)]
    assert again[0] == again[1]


@pytest.mark.parametrize("seed", range(20))
def test_the_rules_told_are_those_that_decided(seed: int) -> None:
    """One congested link, loads at random: who was refused for want of room is shown none, who moved one choice."""
    rng = random.Random(seed)
    desk = Desk(min_stay_s=0)
    own = {prefix: rng.uniform(5, 25) for prefix in PREFIXES}
    others = {name: {f"5{index}.0.0.0/16": rng.uniform(50, 80)} for index, name in enumerate((B, C, D))}
    desk.decide({A: own, **others})
    stories = [explain_prefix(plan_of(desk), prefix) for prefix in PREFIXES]
    assert any(story.status != "untouched" for story in stories)
    for story in stories:
        told = [one.rule for one in story.alternates]
        assert told.count("chosen") == (story.status == "moved")
        if story.status == "refused":
            assert set(told) == {"natural", "no-room"}
