"""Level from counters, shares from flows, and where each byte is credited."""

from math import exp
from typing import Any

import pytest

from app.config.thresholds import Pacing, Thresholds
from app.contract.schemas import Exit, Override, SourcePath
from app.te.cycle_state import StandingOverride
from app.te.routing.natural import NaturalRouting
from app.te.traffic.level import error_share
from app.te.traffic.link import LinkWindow
from app.te.traffic.loads import Traffic, measure
from app.te.traffic.observed import observe
from app.te.traffic.placement import Placement
from tests.app.te.world import WINDOW_S, natural_of, path, rib_of, window
from tests.pops import G, link, pop

POP = pop(link("r1/a", 1), link("r1/b", 2), link("r2/c", 3))
A, B, C = POP.links
P, Q = "203.0.113.0/24", "198.51.100.0/24"
PATHS = {P: [path(1), path(2, 7), path(3, 7, 8)], Q: [path(1), path(2, 7)]}


def held(prefix: str, to_link: str, **changes: Any) -> dict[str, StandingOverride]:
    egress = Exit(to_link.split("/")[1], to_link, "peer", "hop")
    override = Override(prefix, egress, ("r1", "r2"), (), SourcePath((), "igp"), 0.0, "")
    return {prefix: StandingOverride(override, 0, **changes)}


def see(
    *windows: dict[str, LinkWindow],
    routing: NaturalRouting | None = None,
    moved: dict[str, StandingOverride] | None = None,
    settling: dict[str, StandingOverride] | None = None,
) -> Traffic:
    natural = routing or natural_of(POP, PATHS)
    return measure(observe(windows, natural), Placement(natural, moved or {}, settling or {}), Thresholds(), Pacing())


def bps_of(traffic: Traffic, prefix: str) -> float:
    return sum(pair.bps for pair in traffic.pairs if pair.prefix == prefix)


def test_flows_are_scaled_to_counters_and_drops() -> None:
    one = window(POP, A, 100, 60, {("r1", P): 30, ("r1", Q): 10}, dropped_g=20)
    traffic = see({A: one})
    load = traffic.loads[A]
    assert (load.carried_bps, load.dropped_bps, load.offered_bps, load.natural_bps) == (60 * G, 20 * G, 80 * G, 80 * G)
    assert load.saturated
    assert bps_of(traffic, P) == pytest.approx(60 * G)
    assert traffic.planned_bps == {A: pytest.approx(80 * G)}


def test_natural_and_planned_while_an_override_is_in_force() -> None:
    windows = {
        A: window(POP, A, 100, 70, {("r1", Q): 70}),
        B: window(POP, B, 100, 50, {("r1", P): 30, ("r2", "192.0.2.0/24"): 20}),
    }
    traffic = see(windows, moved=held(P, B))
    assert traffic.loads[A].natural_bps == pytest.approx(100 * G)
    assert traffic.loads[B].natural_bps == pytest.approx(20 * G)
    assert traffic.loads[A].moved_out_bps == pytest.approx(30 * G)
    assert traffic.loads[B].moved_in_bps == pytest.approx(30 * G)
    assert traffic.planned_bps == {A: pytest.approx(70 * G), B: pytest.approx(50 * G)}


def test_what_is_unknown_of_a_link_is_not_zero() -> None:
    counted, uncounted = window(POP, A, 100, 50, {("r1", Q): 50}), window(POP, C, 100, None, {("r1", P): 20})
    traffic = see({A: counted, B: window(POP, B, 100, None, {}), C: uncounted})
    silent = traffic.loads[B]
    assert {silent.carried_bps, silent.dropped_bps, silent.offered_bps, silent.moved_in_bps} == {None}
    assert traffic.loads[A].dropped_bps == 0.0
    assert traffic.loads[C].carried_bps == pytest.approx(20 * G)
    assert traffic.loads[C].dropped_bps is None
    assert traffic.loads[C].moved_in_bps == 0.0


def test_planned_does_not_wait_for_the_routers() -> None:
    """The override was decided, its bytes are still on the old link."""
    windows = {
        A: window(POP, A, 100, 90, {("r1", P): 30, ("r1", Q): 60}),
        B: window(POP, B, 100, 20, {("r2", "192.0.2.0/24"): 20}),
    }
    traffic = see(windows, moved=held(P, B))
    assert traffic.loads[A].natural_bps == pytest.approx(90 * G)
    assert traffic.planned_bps == {A: pytest.approx(60 * G), B: pytest.approx(50 * G)}


def test_a_release_is_credited_home_while_windows_still_show_it_elsewhere() -> None:
    windows = {A: window(POP, A, 100, 50, {("r1", Q): 50}), B: window(POP, B, 100, 30, {("r1", P): 30})}
    released = see(windows, settling=held(P, B))
    assert released.planned_bps == {A: pytest.approx(80 * G), B: pytest.approx(0)}
    untouched = see(windows)
    assert untouched.planned_bps == {A: pytest.approx(50 * G), B: pytest.approx(30 * G)}


def test_without_our_hand_in_it_the_observed_exit_is_natural_while_a_path_lives() -> None:
    """Two equal paths: this router took the older one."""
    routing = natural_of(POP, {P: [path(1), path(2)], Q: [path(1)]})
    windows = {
        A: window(POP, A, 100, 10, {("r1", Q): 10}),
        B: window(POP, B, 100, 30, {("r1", P): 20, ("r1", Q): 10}),
    }
    traffic = see(windows, routing=routing)
    assert traffic.loads[A].natural_bps == pytest.approx(20 * G), "Q has no path on B: it is on its way to A"
    assert traffic.loads[B].natural_bps == pytest.approx(20 * G)
    moved = see(windows, routing=routing, moved=held(P, C, observed={"r1": (A, B)}))
    assert moved.loads[B].natural_bps == pytest.approx(20 * G), "remembered: BGP took B where we predict A"
    windows[C] = window(POP, C, 100, 0, {})
    changed = see(windows, routing=natural_of(POP, {P: [path(3)]}), moved=held(P, B, observed={"r1": (A, B)}))
    assert changed.loads[C].natural_bps == pytest.approx(20 * G), "another prediction: what was seen then is outdated"


def test_an_override_that_we_lost_track_of_is_not_taken_for_natural() -> None:
    rib = rib_of(POP, PATHS)
    rib.update("r1", P, path(2, peer="127.0.0.21", communities=(POP.marker_community,)))
    routing = NaturalRouting(POP, rib)
    traffic = see({B: window(POP, B, 100, 30, {("r1", P): 30}), A: window(POP, A, 100, 0, {})}, routing=routing)
    assert traffic.loads[A].natural_bps == pytest.approx(30 * G)


@pytest.mark.parametrize(
    ("of_p", "decay_s"),
    [pytest.param(29, 90, id="9 % of capacity more: slowly"), pytest.param(60, 15, id="40 % more: another mix")],
)
def test_the_level_follows_at_once_and_the_shares_smoothly_but_for_a_jump(of_p: float, decay_s: float) -> None:
    calm = {A: window(POP, A, 100, 40, {("r1", P): 20, ("r1", Q): 20})}
    surge = {A: window(POP, A, 110, of_p + 20, {("r1", P): of_p, ("r1", Q): 20})}
    traffic = see(calm, surge)
    assert traffic.loads[A].natural_bps == pytest.approx((of_p + 20) * G)
    fade = exp(-WINDOW_S / decay_s)
    share = (of_p + 20 * fade) / (of_p + 20 + 40 * fade)
    assert bps_of(traffic, P) == pytest.approx((of_p + 20) * G * share)
    assert bps_of(traffic, P) + bps_of(traffic, Q) == pytest.approx((of_p + 20) * G)
    assert traffic.pairs.of(P)[0].samples == pytest.approx(1000 * (1 + fade))


def test_a_window_counts_in_the_shares_for_as_long_as_it_is() -> None:
    """Two short windows with one mix, and a long one with another of the same seconds: both count alike."""
    seconds = {"window_s": 2 * WINDOW_S}
    long = window(POP, A, 100, 40, {("r1", P): 40, ("r1", Q): 40}, **seconds)
    short = [window(POP, A, 100, 40, {("r1", P): 40}), window(POP, A, 100, 40, {("r1", P): 40})]
    traffic = see({A: long}, *({A: each} for each in short))
    assert bps_of(traffic, Q) == pytest.approx(10 * G)
    assert bps_of(traffic, P) == pytest.approx(30 * G)


def test_an_override_is_no_jump() -> None:
    """P was on b for a while and is home again: its link rises by 20, its share of it is as ever."""
    away = [
        {A: window(POP, A, start_s, 60, {("r1", Q): 60}), B: window(POP, B, start_s, 20, {("r1", P): 20})}
        for start_s in range(100, 150, WINDOW_S)
    ]
    home = {A: window(POP, A, 150, 80, {("r1", P): 20, ("r1", Q): 60}), B: window(POP, B, 150, 0, {})}
    traffic = see(*away, home, routing=natural_of(POP, {P: [path(1)], Q: [path(1)]}))
    assert bps_of(traffic, P) == pytest.approx(20 * G)
    assert [pair.samples for pair in traffic.pairs] == pytest.approx(
        [1000 * sum(exp(-age / 9) for age in range(6))] * 2
    )


def test_history_follows_the_natural_exit_of_today() -> None:
    routing = natural_of(POP, {P: [path(2)], Q: [path(1)]})
    before = {A: window(POP, A, 100, 40, {("r1", P): 20, ("r1", Q): 20})}
    now = {A: window(POP, A, 110, 20, {("r1", Q): 20}), B: window(POP, B, 110, 20, {("r1", P): 20})}
    traffic = see(before, now, routing=routing)
    assert {(pair.prefix, pair.natural): pytest.approx(pair.bps) for pair in traffic.pairs} == {
        (P, B): 20 * G,
        (Q, A): 20 * G,
    }


def test_load_without_samples_belongs_to_the_link() -> None:
    traffic = see({A: window(POP, A, 100, 5, {})})
    assert traffic.loads[A].natural_bps == traffic.planned_bps[A] == 5 * G
    assert list(traffic.pairs) == []


@pytest.mark.parametrize(
    ("samples", "carried_g", "up", "usable"),
    [(399, None, True, False), (400, None, True, True), (0, 5.0, True, True), (1000, 5.0, False, False)],
)
def test_which_links_may_trigger_and_receive(samples: int, carried_g: float | None, up: bool, usable: bool) -> None:
    one = window(POP, A, 100, carried_g, {("r1", P): 50}, samples=samples, up=up)
    traffic = see({A: one})
    assert (A in traffic.usable) is usable
    if carried_g is None:
        assert traffic.loads[A].carried_bps == pytest.approx(50 * G)


def test_a_link_without_live_members_is_not_usable() -> None:
    assert not see({A: window(POP, A, 100, 0, {}, capacity_bps=0.0)}).usable


@pytest.mark.parametrize(("samples", "expected"), [(2900, 0.038), (290, 0.122), (26, 0.41), (2, 1.0), (0, 1.0)])
def test_sampling_error(samples: int, expected: float) -> None:
    assert error_share(samples) == pytest.approx(expected, rel=0.03)


def test_an_idle_link_between_two_polls_may_receive() -> None:
    """Its last counters say idle, and no flow contradicts: 0 is known, though there is no sample."""
    idle = window(POP, A, 100, None, {}, last_bps=1e6)
    assert A in see({A: idle}).usable
    assert A not in see({A: window(POP, A, 100, None, {}, last_bps=30 * G)}).usable


def test_a_link_of_unknown_capacity_is_never_full_and_never_used() -> None:
    traffic = see({A: window(POP, A, 100, 50, {("r1", P): 50}, capacity_bps=0.0)})
    assert not traffic.loads[A].saturated
    assert not traffic.usable
