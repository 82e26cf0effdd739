"""The rules of a decision, one at a time, on hand-made windows."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from app.config.inventory import Budgets, Pop
from app.config.thresholds import Pacing, Policy
from app.contract.schemas import NaturalExit, Refused, Released, SourcePath
from app.te.decision.cycle import CycleResult, CycleState, run_cycle
from app.te.decision.plan import Plan
from app.te.routing.natural import NaturalRouting
from app.te.routing.path import Path
from app.te.routing.rib import Rib
from app.te.traffic.link import LinkWindow
from app.te.traffic.observed import observe
from tests.app.te.world import WINDOW_S, path, rib_of, window
from tests.pops import ASN, G, link, pop

START_S = 1_700_000_000
POP = pop(link("r1/a", 1), link("r1/b", 2, cost=0.1), link("r2/c", 3, cost=1.0), link("r2/d", 4, cost=2.0))
A, B, C, D = POP.links
# Natural: everything on a. Every router has a path of its own.
TWO = [path(1), path(2, 7)]
EVERYWHERE = [path(1), path(2, 7), path(3, 7, 8), path(4, 7, 8)]
PREFIXES = [f"40.{i}.0.0/16" for i in range(10)]


class Desk:
    """A PoP whose windows are written by hand; each `decide` is one cycle."""

    def __init__(self, of_pop: Pop = POP, paths: Mapping[str, list[Path]] | None = None, **pacing: Any) -> None:
        self.pop = of_pop
        self.rib: Rib = rib_of(of_pop, dict.fromkeys(PREFIXES, EVERYWHERE) if paths is None else paths)
        self.natural = NaturalRouting(of_pop, self.rib)
        self.pacing = Pacing(**pacing)
        self.state = CycleState()
        self.history: list[dict[str, LinkWindow]] = []
        self.start_s = START_S
        self.plan: Plan | None = None

    def decide(self, carried_g: Mapping[str, Mapping[str, float]], skip: int = 0, **changes: Any) -> CycleResult:
        """One window with this traffic (Gb/s by link and prefix), `skip` windows after the last."""
        self.start_s += skip * WINDOW_S
        windows = {}
        for name in self.pop.links:
            flows = {("r1", prefix): gbps for prefix, gbps in carried_g.get(name, {}).items()}
            windows[name] = window(self.pop, name, self.start_s, sum(flows.values()), flows)
        windows |= changes.get("instead", {})
        for name in changes.get("silent", ()):
            del windows[name]
        self.history = [*self.history[-8:], windows]
        self.start_s += WINDOW_S
        result = run_cycle(
            self.pop,
            Policy(pacing=self.pacing),
            observe(self.history, self.natural)._replace(doubtful=changes.get("doubtful", frozenset())),
            self.state,
            self.start_s,
            lambda plan: setattr(self, "plan", plan),
        )
        self.state = result.state
        return result


def spread(total_g: float, names: list[str] = PREFIXES) -> dict[str, float]:
    return dict.fromkeys(names, total_g / len(names))


def after(result: CycleResult, total_g: float) -> dict[str, dict[str, float]]:
    """Where the traffic is once the routers follow."""
    exits = {one.prefix: one.exit.link for one in result.overrides}
    carried: dict[str, dict[str, float]] = {A: {}}
    for prefix, gbps in spread(total_g).items():
        carried.setdefault(exits.get(prefix, A), {})[prefix] = gbps
    return carried


def moved(result: CycleResult) -> dict[str, str]:
    return {one.prefix: one.exit.link for one in result.overrides}


def test_the_record_of_a_move() -> None:
    desk = Desk()
    result = desk.decide({A: {"40.0.0.0/16": 80, "40.1.0.0/16": 15}})
    [override] = result.overrides
    assert (override.prefix, override.exit.link, override.exit.next_hop) == ("40.1.0.0/16", B, "10.0.0.2")
    assert override.inject_on == ("r1", "r2"), "the exit router first"
    assert override.natural == (NaturalExit("r1", A, 1.0),)
    assert override.source_path == SourcePath((64602, 7), "igp", None)
    assert round(override.bps / G) == 15
    assert override.reason == "p/r1/a natural 95% of capacity"
    [event] = result.congestion
    assert (event.id, event.link, event.state) == (f"p/r1/a/{START_S}", A, "opened")
    assert event.since == datetime.fromtimestamp(START_S, UTC)
    assert (round(event.natural, 2), round(event.carried, 2), event.dropped) == (0.95, 0.95, 0)
    assert result.state.held["40.1.0.0/16"].since_s == START_S + WINDOW_S
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(result.state), type=CycleState) == result.state


def test_the_other_router_gets_the_exit_router_first() -> None:
    desk = Desk(paths={"40.0.0.0/16": [path(1), path(3, 7)], "40.1.0.0/16": [path(1), path(3, 7)]})
    result = desk.decide({A: {"40.0.0.0/16": 80, "40.1.0.0/16": 15}})
    assert [one.inject_on for one in result.overrides] == [("r2", "r1")]


def test_a_prefix_with_two_natural_exits_moves_as_a_whole() -> None:
    desk = Desk(paths={"40.0.0.0/16": [path(1), path(4), path(2, 7)], "40.1.0.0/16": EVERYWHERE})
    at_a = window(POP, A, START_S, 95, {("r1", "40.0.0.0/16"): 9, ("r1", "40.1.0.0/16"): 86})
    at_d = window(POP, D, START_S, 3, {("r2", "40.0.0.0/16"): 3})
    result = desk.decide({}, instead={A: at_a, D: at_d})
    [override] = result.overrides
    assert (override.prefix, override.exit.link, round(override.bps / G)) == ("40.0.0.0/16", B, 12)
    assert [(one.link, round(one.share, 2)) for one in override.natural] == [(A, 0.75), (D, 0.25)]


def test_the_copied_attributes_follow_the_source_path() -> None:
    desk = Desk()
    first = desk.decide({A: spread(95)})
    [prefix] = moved(first)
    desk.rib.update("r1", prefix, path(2, 7, 9, 9, origin="egp", med=5))
    [override] = desk.decide(after(first, 95)).overrides
    assert override.source_path == SourcePath((64602, 7, 9, 9), "egp", 5)


def test_saturated_means_deeper() -> None:
    desk = Desk()
    full = window(POP, A, START_S, 100, {("r1", prefix): 10 for prefix in PREFIXES}, dropped_g=20)
    result = desk.decide({}, instead={A: full})
    assert sum(one.bps for one in result.overrides) / G == 36, "120 down to 85 in steps of 12"


def test_no_window_at_all_holds_everything() -> None:
    desk = Desk(min_stay_s=0)
    first = desk.decide({A: spread(95)})
    lost = desk.decide({}, silent=list(POP.links))
    assert lost.overrides == first.overrides
    assert lost.state == first.state
    assert (lost.released, lost.refused, lost.congestion, lost.loads) == ((), (), (), ())


def test_a_silent_target_holds_and_keeps_its_source_open() -> None:
    """What was moved is not seen, so the natural load looks small: no reason to close or to give back."""
    desk = Desk(min_stay_s=0)
    first = desk.decide({A: spread(120)})
    targets = set(moved(first).values())
    quiet = desk.decide({A: spread(70)}, silent=targets)
    assert moved(quiet) == moved(first)
    assert [event.state for event in quiet.congestion] == ["open"]
    back = desk.decide({A: spread(70)})
    assert [event.state for event in back.congestion] == ["closed"]


def test_nothing_goes_home_while_part_of_its_load_is_not_seen() -> None:
    desk = Desk(min_stay_s=0, release_share=0.01)
    first = desk.decide({A: spread(120)})
    closed = desk.decide(after(first, 75))
    assert len(closed.released) == 1
    assert not desk.decide(after(closed, 75), silent=set(moved(closed).values())).released
    assert len(desk.decide(after(closed, 75)).released) == 1


def test_what_was_given_back_counts_at_home_before_it_is_seen_there() -> None:
    """Three are away and one fits at home below the leave mark, however late the routers are."""
    desk = Desk(min_stay_s=0, release_share=0.5)
    first = desk.decide({A: spread(120)})
    assert len(first.overrides) == 3
    full = desk.decide(after(first, 120))
    desk.state = msgspec.structs.replace(
        full.state, links={A: msgspec.structs.replace(full.state.links[A], open=False)}
    )
    late = after(first, 89)
    releases = [len(desk.decide(late).released) for _ in range(2)]
    assert releases == [1, 0], "62.3 and 8.9 fit below 80, another 8.9 does not"


def test_a_silent_source_neither_opens_nor_closes() -> None:
    desk = Desk(min_stay_s=0)
    first = desk.decide({A: spread(95)})
    quiet = desk.decide(after(first, 60), silent=[A])
    assert moved(quiet) == moved(first)
    assert quiet.congestion == ()
    assert quiet.state.links[A].open


def test_a_link_that_is_down_or_open_or_silent_receives_nothing() -> None:
    down = window(POP, B, START_S, 0, {}, up=False)
    hot = window(POP, D, START_S, 97, {})
    desk = Desk()
    result = desk.decide({A: spread(95)}, instead={B: down, D: hot}, silent=[C])
    assert not result.overrides
    assert [(one.link, one.reason) for one in result.refused if one.link == A] == [(A, "no-room")] * 10
    assert Refused("*", D, "no-room", 12 * G) in result.refused, "load that no prefix explains"


def test_a_congested_link_receives_nothing_even_with_room() -> None:
    drops = window(POP, B, START_S, 50, {("r1", "50.0.0.0/16"): 50}, dropped_g=1)
    result = Desk().decide({A: spread(95)}, instead={B: drops})
    assert set(moved(result).values()) == {C}


def test_room_for_its_own_prefixes_is_kept_free() -> None:
    """b is calm again and could take a prefix of a, were its own not still to come back."""
    own = [f"50.{i}.0.0/16" for i in range(10)]
    without_a = [path(2), path(3, 7), path(4, 7)]
    desk = Desk(paths=dict.fromkeys(PREFIXES, EVERYWHERE) | dict.fromkeys(own, without_a))
    first = desk.decide({B: spread(95, own), A: spread(30)})
    [away] = moved(first)
    traffic = {B: spread(67.5, [prefix for prefix in own if prefix != away]), C: {away: 7.5}}
    second = desk.decide({**traffic, A: spread(95)})
    assert [event.state for event in second.congestion if event.link == B] == ["closed"]
    assert {link for prefix, link in moved(second).items() if prefix in PREFIXES} == {C}


def test_targets_are_filled_to_their_mark_cheapest_first() -> None:
    desk = Desk()
    result = desk.decide({A: spread(110), B: {"50.0.0.0/16": 60}})
    assert sorted(moved(result).values()) == [B, C, C], "b has room for one of 11, d costs more than c"


def test_a_lost_path_is_released_or_replaced() -> None:
    desk = Desk()
    first = desk.decide({A: spread(95)})
    [prefix] = moved(first)
    desk.rib.withdraw("r1", prefix, "10.0.0.2")
    second = desk.decide({A: spread(95)})
    assert moved(second) == {prefix: C}
    assert not second.released
    desk.rib.withdraw("r2", prefix, "10.0.0.3")
    desk.rib.withdraw("r2", prefix, "10.0.0.4")
    third = desk.decide(after(second, 85))
    assert not third.overrides
    assert third.released == (Released(prefix, "source-path-lost"),)


def test_an_override_that_became_natural_goes() -> None:
    desk = Desk()
    first = desk.decide({A: spread(95)})
    [prefix] = moved(first)
    desk.rib.withdraw("r1", prefix, "10.0.0.1")
    second = desk.decide(after(first, 95))
    assert second.released == (Released(prefix, "already-natural"),)
    assert not second.overrides


def test_a_target_that_fills_up_by_itself_is_relieved_of_our_traffic_first() -> None:
    desk = Desk()
    first = desk.decide({A: spread(95)})
    assert set(moved(first).values()) == {B}
    grown = after(first, 95)
    grown[B]["50.0.0.0/16"] = 82
    second = desk.decide(grown)
    assert moved(second) == dict.fromkeys(moved(first), C), "elsewhere, since its natural link is still full"
    assert [one.reason for one in second.overrides] == ["target-congested"]
    assert not second.released


def test_a_full_target_gives_back_what_fits_at_home() -> None:
    desk = Desk()
    first = desk.decide({A: spread(95)})
    desk.decide(after(first, 60))
    grown = after(first, 60)
    grown[B]["50.0.0.0/16"] = 88
    second = desk.decide(grown)
    assert second.released == tuple(Released(prefix, "target-congested") for prefix in moved(first))
    assert not second.overrides


def test_between_two_full_links_bgp_decides() -> None:
    desk = Desk(pop(link("r1/a", 1), link("r1/b", 2)), dict.fromkeys(PREFIXES, TWO))
    first = desk.decide({A: spread(95)})
    grown = after(first, 95)
    grown[B]["50.0.0.0/16"] = 82
    second = desk.decide(grown)
    assert moved(second) == moved(first), "not yet dropping: held"
    assert [(one.prefix, one.link, one.reason) for one in second.refused if one.link == B] == [
        (next(iter(moved(first))), B, "no-room")
    ]
    grown[B]["50.0.0.0/16"] = 90
    third = desk.decide(grown)
    assert [one.reason for one in third.released] == ["target-congested"]


def test_guards_refuse_with_their_reasons() -> None:
    strict = pop(link("r1/a", 1), link("r1/b", 2), own_prefixes=("40.0.0.0/15",), pinned_prefixes=("40.2.0.0/16",))
    black = path(1, communities=("65535:666",))
    paths = dict.fromkeys(PREFIXES, TWO) | {"40.3.0.0/16": [black, path(2, 7)]}
    desk = Desk(strict, paths | {"0.0.0.0/0": TWO})
    result = desk.decide({A: spread(95, ["0.0.0.0/0", *PREFIXES[:4]])})
    assert {one.prefix: one.reason for one in result.refused} == {
        "0.0.0.0/0": "default-route",
        "40.0.0.0/16": "own-prefix",
        "40.1.0.0/16": "own-prefix",
        "40.2.0.0/16": "pinned",
        "40.3.0.0/16": "blackholed",
    }
    assert not result.overrides


def test_strict_urpf_keeps_prefixes_on_their_link() -> None:
    desk = Desk(pop(link("r1/a", 1, urpf="strict"), link("r1/b", 2)), dict.fromkeys(PREFIXES, TWO))
    result = desk.decide({A: spread(95)})
    assert not result.overrides
    assert {one.reason for one in result.refused} == {"strict-urpf"}


def test_a_router_that_exports_what_it_learned_carries_no_override() -> None:
    fabric = msgspec.structs.replace(POP.router[1], exports_learned_routes=True)
    desk = Desk(msgspec.structs.replace(POP, router=(POP.router[0], fabric)))
    result = desk.decide({A: spread(95)})
    assert not result.overrides
    assert {one.reason for one in result.refused} == {"exports-learned-routes"}


def test_a_router_that_would_lose_the_prefix_meanwhile() -> None:
    """r2 lives on what r1 tells it, and r1 stops telling as soon as it follows an override."""
    desk = Desk(paths=dict.fromkeys(PREFIXES, TWO))
    result = desk.decide({A: spread(95)})
    assert not result.overrides
    assert {one.reason for one in result.refused} == {"dead-end"}


def test_budget_bound_is_not_no_room() -> None:
    desk = Desk(msgspec.structs.replace(POP, budgets=Budgets(max_moved_share=0.15)))
    result = desk.decide({A: spread(120)})
    assert len(result.overrides) == 1
    assert {one.reason for one in result.refused} == {"budget-bound"}
    assert len(desk.decide(after(result, 120)).overrides) == 1, "what stands counts"


def test_a_budget_made_smaller_than_what_stands_holds_it() -> None:
    desk = Desk()
    first = desk.decide({A: spread(125)})
    assert len(first.overrides) > 2
    desk.pop = msgspec.structs.replace(POP, budgets=Budgets(max_overrides=1))
    grown = after(first, 125)
    grown[B]["50.0.0.0/16"] = 75
    second = desk.decide(grown)
    assert "target-congested" in {one.reason for one in second.overrides}
    assert moved(second).keys() == moved(first).keys()


def test_more_specifics_move_alone() -> None:
    """The bytes of a prefix are those whose longest match it is: moving the /16 leaves its /24 where it is."""
    desk = Desk(paths={"40.0.0.0/16": EVERYWHERE, "40.0.7.0/24": EVERYWHERE})
    result = desk.decide({A: {"40.0.0.0/16": 30, "40.0.7.0/24": 65}})
    assert [(one.prefix, round(one.bps / G)) for one in result.overrides] == [("40.0.0.0/16", 30)]
    assert "40.0.7.0/24" not in moved(desk.decide({A: {"40.0.7.0/24": 65}, B: {"40.0.0.0/16": 30}}))


def test_a_session_cap_is_kept() -> None:
    capped = link("r1/b", 2, cost=0.1)
    capped = msgspec.structs.replace(capped, sessions=(msgspec.structs.replace(capped.sessions[0], cap_bps=25 * G),))
    desk = Desk(pop(link("r1/a", 1), capped, link("r2/c", 3, cost=1.0), link("r2/d", 4, cost=2.0)))
    result = desk.decide({A: spread(120)})
    onto_b = [one.bps for one in result.overrides if one.exit.link == B]
    assert sum(onto_b) / G == 24
    again = desk.decide(after(result, 140))
    assert sum(one.bps for one in again.overrides if one.exit.link == B) / G <= 28 + 1e-6
    assert moved(result).items() <= moved(again).items()


def test_routes_of_ours_that_we_do_not_remember_do_not_mislead() -> None:
    """The state was lost, the routers still follow: their traffic is natural where BGP would send it."""
    desk = Desk()
    for router, prefix in [(router, prefix) for router in ("r1", "r2") for prefix in PREFIXES[:2]]:
        desk.rib.update(router, prefix, path(2, peer="127.0.0.21", communities=(f"{ASN}:911",)))
    result = desk.decide({A: spread(75, PREFIXES[2:]), B: spread(20, PREFIXES[:2])})
    [load] = [one for one in result.loads if one.link == A]
    assert load.natural_bps == pytest.approx(95 * G)


def test_equal_inputs_give_equal_decisions_in_any_order_of_links() -> None:
    one, other = Desk(), Desk()
    traffic: Mapping[str, Mapping[str, float]] = {A: spread(125), B: {"50.0.0.0/16": 40}, C: {"51.0.0.0/16": 30}}
    first = one.decide(traffic)
    reversed_windows = dict(reversed(one.history[-1].items()))
    again = run_cycle(POP, Policy(), observe([reversed_windows], other.natural), CycleState(), START_S + WINDOW_S)
    assert msgspec.json.encode(first) == msgspec.json.encode(again)
