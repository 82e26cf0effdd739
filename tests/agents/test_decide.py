"""Closing a window: counters beside the flows, one record a link, one decision, and numbers that only grow."""

from math import isnan
from typing import Any, get_args

import msgspec
import pytest
from prometheus_client import REGISTRY

from agents.decide import CycleInputs, PopDecider
from agents.sources import sources
from app import metrics
from app.clock import ManualClock, utc
from app.config.inventory import Pop
from app.config.settings import Settings
from app.config.thresholds import Pacing
from app.contract.schemas import (
    Decision,
    Exit,
    Feed,
    LinkUtilization,
    NaturalExit,
    Notice,
    Override,
    PrefixTraffic,
    Released,
    SourcePath,
    Sources,
)
from app.te.cycle_state import StandingOverride
from app.te.decision.records import TOP_PREFIXES
from app.te.routing.natural import NaturalRouting
from app.te.routing.path import Path
from app.te.routing.rib import Rib
from app.te.traffic.demand import Demand
from app.te.traffic.lag import Rates
from app.te.traffic.windows import ClosedWindow, Sums
from tables.congestion import CycleRow
from tests.agents.outbox import Outbox
from tests.pops import demo_pop

T0 = 1_795_246_100
SURGED, SILENT = "rhv1000/r1/et-0/0/1", "rhv1000/r2/et-0/0/3"
LYING, UNREAD, UNROUTED = "rhv1000/r1/et-0/0/2", "rhv1000/r2/xe-0/0/1", "rhv1000/r2/xe-0/0/2"


def steady(carried_bps: float, dropped_bps: float = 0.0) -> Rates:
    """What counters say that show the same loads in every reading."""
    return Rates(
        carried_bps=carried_bps,
        dropped_bps=dropped_bps,
        received_bps=2e9,
        capacity_bps=1e11,
        up=True,
        low_bps=carried_bps,
        high_bps=carried_bps,
        sure_bps=carried_bps,
        steady_bps=carried_bps,
        dropped_low_bps=dropped_bps,
    )


RATES = steady(9.5e10, 1e9)


def closed(start_s: int, closed_s: float) -> ClosedWindow:
    return ClosedWindow("rhv1000", start_s, 10, closed_s)


def nobody_heard(pop: Pop, window: ClosedWindow) -> Sources:
    return sources(pop, window, *[SilentSource()] * 3)


def nobody_doubtful(pop: Pop, now_s: float) -> frozenset[str]:
    return frozenset()


class SilentSource:
    """An input of which nothing came."""

    def heard_s(self, pop: Pop, now_s: float) -> dict[str, float]:
        return {}

    def notices(self, pop: Pop, now_s: float) -> list[Notice]:
        return []

    def sends_statistics(self, pop: Pop) -> frozenset[str]:
        return frozenset()

    def doubtful(self, pop: Pop, now_s: float) -> frozenset[str]:
        return frozenset(pop.routers)


class Rig:
    """A decider with the counters of `rates`, of one link at first. `rib` is empty."""

    def __init__(self) -> None:
        self.outbox, self.clock, self.rib, pop = Outbox(), ManualClock(T0 + 15.0), Rib(), demo_pop()
        self.rates = {SURGED: RATES}

        def rates_of(_: Pop, link: str, window: ClosedWindow) -> Rates | None:
            assert window.length_s in (10, 20)
            return self.rates.get(link)

        settings = Settings(pops=("rhv1000.toml",))
        natural = NaturalRouting(pop, self.rib)
        inputs = CycleInputs(rates_of, nobody_heard, nobody_doubtful)
        self.decider = PopDecider(pop, settings, natural, inputs, self.outbox.publisher, self.clock)
        self.sums = {link: Sums() for link in pop.links}
        self.sums[SURGED] = Sums(
            applied=3, size_bytes=10**9, samples=400, demand=Demand.of({("r1", "20.0.0.0/24"): (10**9, 400)})
        )

    def reconfigure(self, pop: Pop, settings: Settings) -> None:
        self.decider.reconfigure(pop, settings, NaturalRouting(pop, self.rib))

    def published(self, kind: type[Any]) -> list[Any]:
        return [record for _, record in self.outbox.records if isinstance(record, kind)]


def test_one_record_a_link_with_what_counters_say() -> None:
    rig = Rig()
    rows = rig.decider.close(closed(T0, T0 + 14.5), rig.sums)
    by_link = {record.link: record for record in rig.published(LinkUtilization)}
    assert by_link.keys() == rows.keys() == rig.sums.keys()
    surged, silent = by_link[SURGED], by_link[SILENT]
    assert (surged.id, surged.window_start) == (f"{SURGED}@{T0}", utc(T0))
    assert (surged.carried_bps, surged.dropped_bps, surged.received_bps) == (9.5e10, 1e9, 2e9)
    assert (surged.sampled_bytes, surged.counters) == (10**9, True)
    assert (silent.counters, silent.received_bps, silent.capacity_bps) == (False, None, 1e11)
    assert (silent.dropped_bps, silent.moved_in_bps, silent.moved_out_bps) == (None, None, None)
    assert isnan(metrics.LINK_DROPPED.labels(SILENT)._value.get()), "without counters drops are unknown"
    assert rows[SURGED].closed
    assert rows[SURGED].rates == RATES


def test_a_record_says_what_its_figures_are_worth() -> None:
    rig = Rig()
    flows = Sums(applied=3, size_bytes=10**10, samples=400, demand=Demand.of({("r1", "20.0.0.0/24"): (10**10, 400)}))
    sums = dict.fromkeys(rig.sums, Sums()) | {LYING: flows, UNREAD: flows, UNROUTED: Sums(unroutable_bytes=10**10)}
    rig.rates = {SURGED: steady(8e9), UNROUTED: steady(8e9), LYING: steady(2e9)}
    rig.decider.close(closed(T0, T0 + 14.5), sums)
    told = {record.link: (record.feed, record.flow_ratio) for record in rig.published(LinkUtilization)}
    assert told == {
        SURGED: ("gap", None),
        LYING: ("untrusted", pytest.approx(4.0)),
        UNREAD: ("live", None),
        UNROUTED: ("live", pytest.approx(1.0)),
        SILENT: ("silent", None),
        "rhv1000/r1/et-0/0/3": ("silent", None),
    }
    rig.rates = {}
    rig.decider.close(closed(T0 + 10, T0 + 24.5), dict.fromkeys(rig.sums, Sums()))
    later = rig.published(LinkUtilization)[len(told) :]
    assert [record.feed for record in later] == ["silent"] * len(told), "every link has its record, silence is told"
    assert isnan(metrics.LINK_CARRIED.labels(SURGED)._value.get()), "silence is not zero"


def test_a_decision_tells_how_much_left_where_routing_does_not_predict_it() -> None:
    rig = Rig()
    rig.rib.peer_up("r1", "127.0.0.32", 64602)
    sizes_bytes = {"20.0.0.0/24": 9 * 10**8, "20.0.1.0/24": 10**8}
    for prefix, size_bytes in sizes_bytes.items():
        peer, hop = ("127.0.0.31", "198.51.100.1") if size_bytes > 10**8 else ("127.0.0.32", "198.51.100.2")
        rig.rib.update("r1", prefix, Path(peer, hop, (64601, 65001)))
    rig.sums[SURGED].demand = Demand.of({("r1", prefix): (size, 100) for prefix, size in sizes_bytes.items()})
    rig.decider.close(closed(T0, T0 + 14.5), rig.sums)
    assert rig.published(Decision)[0].egress_mismatch_share == pytest.approx(0.1)


def test_every_record_can_be_read_back() -> None:
    rig = Rig()
    rig.decider.close(closed(T0, T0 + 14.5), rig.sums)
    for _, record in rig.outbox.records:
        assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record


def test_one_decision_a_window_with_its_three_clocks() -> None:
    rig = Rig()
    rig.decider.close(closed(T0, T0 + 14.5), rig.sums)
    (decision,) = rig.published(Decision)
    assert decision.mode == "dry-run"
    assert (decision.window_start, decision.closed_at, decision.made_at) == (utc(T0), utc(T0 + 14.5), utc(T0 + 15.0))
    assert (decision.add_until, decision.hold_until) == (utc(T0 + 40), utc(T0 + 310))
    assert [event.link for event in decision.congestion] == [SURGED]


def test_how_long_a_decision_took_is_measured_from_the_marker_on() -> None:
    def measured(name: str) -> float:
        return REGISTRY.get_sample_value(f"autopilot_decide_seconds_{name}", {"pop": "rhv1000"}) or 0.0

    rig, count, total_s = Rig(), measured("count"), measured("sum")
    rig.decider.close(closed(T0, T0 + 14.5), rig.sums)
    rig.decider.close(closed(T0 + 10, T0 + 24.5), rig.sums)  # by a clock that is ahead
    assert measured("count") == count + 2
    assert measured("sum") == pytest.approx(total_s + 0.5)


def test_numbers_grow_within_and_across_restarts() -> None:
    rig = Rig()
    rig.decider.close(closed(T0, T0 + 14.5), rig.sums)
    rig.decider.close(closed(T0 + 10, T0 + 24.5), rig.sums)
    first, second = rig.published(Decision)
    assert (second.epoch, second.seq) == (first.epoch, first.seq + 1)
    later = Rig()
    later.decider.load([], rig.decider.cycle)
    later.decider.close(closed(T0 + 20, T0 + 34.5), later.sums)
    (third,) = later.published(Decision)
    assert (third.epoch, third.seq) > (second.epoch, second.seq)
    assert third.epoch > first.epoch


@pytest.mark.parametrize("has_cycle", [False, True])
def test_an_epoch_that_only_the_other_table_knows_counts(has_cycle: bool) -> None:
    """After a loss it is ahead of the clock; `congestion` may then lose its end once more, and look whole."""
    rig, later = Rig(), Rig()
    known = rig.decider.cycle.epoch + 60
    later.decider.load([], rig.decider.cycle if has_cycle else None, epoch=known)
    assert later.decider.cycle.epoch > known


def test_the_history_comes_back_from_the_rows() -> None:
    rig, later = Rig(), Rig()
    rows = rig.decider.close(closed(T0, T0 + 14.5), rig.sums)
    later.decider.load([(T0, link, row) for link, row in rows.items()], CycleRow(1, 1, rig.decider.cycle.state))
    assert later.decider._history == rig.decider._history


def test_the_largest_prefixes_of_each_link_are_published() -> None:
    rig = Rig()
    many = {("r1", f"20.0.{index}.0/24"): [index, 1] for index in range(100)} | {("r2", "20.0.99.0/24"): [1, 1]}
    rig.sums[SURGED] = Sums(applied=3, size_bytes=10**9, samples=400, demand=Demand.of(many))
    rig.decider.close(closed(T0, T0 + 14.5), rig.sums)
    by_link = {record.link: record.prefixes for record in rig.published(PrefixTraffic)}
    assert by_link[SILENT] == ()
    assert len(by_link[SURGED]) == TOP_PREFIXES
    largest = by_link[SURGED][0]
    assert (largest.prefix, largest.bps, largest.samples, largest.origin_as) == ("20.0.99.0/24", 80.0, 2, None)


def test_it_explains_what_it_decided_last() -> None:
    rig = Rig()
    with pytest.raises(LookupError, match="no window with traffic"):
        rig.decider.explain(SURGED)
    rig.decider.close(closed(T0, T0 + 14.5), rig.sums)
    told = rig.decider.explain(SURGED)
    assert told.as_of == f"{rig.decider.cycle.epoch}.{rig.decider.cycle.seq}"
    assert told.window_end == utc(T0 + 10)
    assert told.link is not None
    assert told.link.load.dropped_bps == 1e9
    assert told.link.congestion == rig.decider.cycle.state.links[SURGED]
    with pytest.raises(LookupError, match=r"no router of rhv1000 holds a route for 203\.0\.113\.7"):
        rig.decider.explain("203.0.113.7")
    rig.decider.close(closed(T0 + 10, T0 + 24.5), {})
    with pytest.raises(LookupError, match="no window with traffic"):
        rig.decider.explain(SURGED)


def test_what_a_feed_is_worth_is_one_of_its_states() -> None:
    rig = Rig()
    made = REGISTRY.get_sample_value("autopilot_decisions_total", {"pop": "rhv1000"}) or 0.0
    rig.decider.close(closed(T0, T0 + 14.5), rig.sums)
    for record in rig.published(LinkUtilization):
        states = {
            state: REGISTRY.get_sample_value("autopilot_link_feed", {"link": record.link, "state": state})
            for state in get_args(Feed)
        }
        assert states == {state: float(state == record.feed) for state in states}
    assert REGISTRY.get_sample_value("autopilot_decisions_total", {"pop": "rhv1000"}) == made + 1
    mismatch = REGISTRY.get_sample_value("autopilot_egress_mismatch_ratio", {"pop": "rhv1000"})
    assert mismatch is not None
    assert isnan(mismatch), "there was nothing to judge by"


def test_another_mode_and_other_timers_hold_from_the_next_window_on() -> None:
    rig = Rig()
    rig.decider.close(closed(T0, T0 + 14.5), rig.sums)
    rig.reconfigure(demo_pop(), Settings(pops=("rhv1000.toml",), mode="auto", pacing=Pacing(add_within_s=60)))
    rig.decider.close(closed(T0 + 10, T0 + 24.5), rig.sums)
    before, after = rig.published(Decision)
    assert [decision.mode for decision in (before, after)] == ["dry-run", "auto"]
    assert (after.epoch, after.seq) == (before.epoch, before.seq + 1)
    assert (before.add_until, after.add_until) == (utc(T0 + 40), utc(T0 + 80))


def test_a_link_that_leaves_the_inventory_leaves_the_history_and_what_was_moved_to_it_is_released() -> None:
    rig = Rig()
    move = Override(
        prefix="20.0.0.0/24",
        exit=Exit("r1", LYING, "127.0.0.32", "198.51.100.2"),
        inject_on=("r1", "r2"),
        natural=(NaturalExit("r1", SURGED, 1.0),),
        source_path=SourcePath((64602, 65010), "igp", 10),
        bps=1e9,
        reason="a test",
    )
    rig.decider.close(closed(T0, T0 + 14.5), rig.sums)
    standing = StandingOverride(move, T0)
    state = msgspec.structs.replace(rig.decider.cycle.state, held={move.prefix: standing})
    rig.decider.cycle = msgspec.structs.replace(rig.decider.cycle, state=state)
    pop = demo_pop()
    links = tuple(link for link in pop.link if pop.link_id(link) != LYING)
    rig.reconfigure(msgspec.structs.replace(pop, link=links), Settings(pops=("rhv1000.toml",)))
    sums = {link: each for link, each in rig.sums.items() if link != LYING}
    assert LYING not in rig.decider.close(closed(T0 + 10, T0 + 24.5), sums)
    decision = rig.published(Decision)[-1]
    assert decision.overrides == ()
    assert decision.released == (Released(move.prefix, "left-inventory"),)
    rig.decider.close(closed(T0 + 20, T0 + 34.5), sums)


def test_what_was_counted_for_a_link_that_left_the_inventory_is_published_once_and_says_so() -> None:
    rig, pop = Rig(), demo_pop()
    links = tuple(link for link in pop.link if pop.link_id(link) != SURGED)
    rig.reconfigure(msgspec.structs.replace(pop, link=links), Settings(pops=("rhv1000.toml",)))
    rows = rig.decider.close(closed(T0, T0 + 14.5), rig.sums)
    [record] = [each for each in rig.published(LinkUtilization) if each.link == SURGED]
    assert (record.reason, record.feed, record.counters, record.capacity_bps) == ("left-inventory", "gap", False, None)
    assert (record.sampled_bytes, record.carried_bps, record.samples) == (10**9, 8e8, 400)
    [traffic] = [each for each in rig.published(PrefixTraffic) if each.link == SURGED]
    assert [(each.prefix, each.bps) for each in traffic.prefixes] == [("20.0.0.0/24", 8e8)]
    assert (rows[SURGED].closed, rows[SURGED].rates, rows[SURGED].sums.size_bytes) == (True, None, 10**9)
    assert SURGED not in rig.decider._history[-1]
    assert {each.reason for each in rig.published(LinkUtilization) if each.link != SURGED} == {None}


def test_windows_of_two_lengths_are_scaled_by_their_own_and_remembered_by_time() -> None:
    rig, later = Rig(), Rig()
    for each in (rig, later):
        each.reconfigure(demo_pop(), Settings(pops=("rhv1000.toml",), pacing=Pacing(share_decay_s=60)))
    windows = [*range(0, 100, 10), *range(100, 140, 20)]
    for start in windows:
        length_s = 10 if start < 100 else 20
        window = ClosedWindow("rhv1000", T0 + start, length_s, T0 + start + 25.0)
        rows = rig.decider.close(window, rig.sums)
        assert {row.length_s for row in rows.values()} == {length_s}
        later.decider.load([(window.start_s, link, row) for link, row in rows.items()], None)
    for decider in (rig.decider, later.decider):
        seen = [(windows[SURGED].window_start_s - T0, windows[SURGED].flow_bps) for windows in decider._history]
        assert seen == [(start, 8e8 if start < 100 else 4e8) for start in windows if start >= 20]
    records = [each for each in rig.published(LinkUtilization) if each.link == SURGED]
    assert {each.window_s for each in records} == {10, 20}
    assert [each.bps for each in rig.published(PrefixTraffic)[-1].prefixes] == []
    [traffic] = [each for each in rig.published(PrefixTraffic)[-len(rig.sums) :] if each.link == SURGED]
    assert [each.bps for each in traffic.prefixes] == [4e8]
