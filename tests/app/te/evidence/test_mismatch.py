"""How much leaves where routing does not predict it, and what that stops."""

from collections.abc import Mapping

import pytest

from app.te.evidence.mismatch import MISMATCH, MISMATCHED_WINDOWS, mismatch_share
from app.te.routing.path import Path
from app.te.traffic.loads import MIN_STRAY_SAMPLES
from app.te.traffic.observed import observe
from tests.app.te.decision.test_cycle import EVERYWHERE, POP, PREFIXES, START_S, A, B, C, Desk, after, moved, spread
from tests.app.te.world import natural_of, path, rib_of, window

P, Q = "203.0.113.0/24", "198.51.100.0/24"


def share(
    paths: Mapping[str, list[Path]],
    *seen: tuple[str, str, str, float],
    touched: tuple[str, ...] = (),
    samples: int = 1000,
) -> object:
    """Of (link, ingress, prefix, Gb/s), each of `samples` samples."""
    flows = {link: {(ingress, prefix): gbps for on, ingress, prefix, gbps in seen if on == link} for link in POP.links}
    windows = {link: window(POP, link, 0, 0, flows[link], samples) for link in POP.links}
    return mismatch_share(observe([windows], natural_of(POP, paths)), touched)


def test_the_share_of_bytes_that_left_elsewhere() -> None:
    paths = {P: [path(1), path(2, 7)], Q: [path(1)]}
    assert share(paths, (A, "r1", P, 30), (B, "r1", P, 1), (A, "r2", Q, 9)) == pytest.approx(1 / 40)
    assert share(paths, (A, "r1", P, 30)) == 0


def test_few_samples_elsewhere_say_nothing() -> None:
    """So few can be forged; at night they may also be nearly all there is."""
    paths = {P: [path(1), path(2, 7)]}
    assert share(paths, (A, "r1", P, 30), (B, "r1", P, 0.1), samples=MIN_STRAY_SAMPLES - 1) == 0
    assert share(paths, (A, "r1", P, 30), (B, "r1", P, 30), samples=MIN_STRAY_SAMPLES - 1) is None
    assert share(paths, (A, "r1", P, 30), (B, "r1", P, 30), samples=MIN_STRAY_SAMPLES) == 0.5


def test_what_we_steer_or_gave_back_just_now_is_left_out() -> None:
    paths = {P: [path(1), path(2, 7)], Q: [path(1)]}
    assert share(paths, (B, "r1", P, 30), (A, "r1", Q, 10), touched=(P,)) == 0
    assert share(paths, (B, "r1", P, 30), touched=(P,)) is None, "nothing to judge by"
    assert share({}, (B, "r1", P, 30)) is None, "no route is no prediction"


def test_routes_of_ours_that_we_lost_track_of_are_left_out() -> None:
    rib = rib_of(POP, {P: [path(1), path(2, 7)]})
    rib.update("r1", P, path(2, peer="127.0.0.21", communities=(POP.marker_community,)))
    routing = type(natural_of(POP, {}))(POP, rib)
    assert mismatch_share(observe([{B: window(POP, B, 0, 30, {("r1", P): 30})}], routing), ()) is None


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        pytest.param([path(1), path(2)], 0.0, id="equal: vendors choose by age, router id, address"),
        pytest.param([path(1), path(2, med=5)], 0.0, id="MED of another AS is not compared"),
        pytest.param([path(1), path(2, 7)], 1.0, id="longer: nobody takes it"),
        pytest.param([path(1), path(2, local_pref=90)], 1.0, id="less preferred"),
        pytest.param([path(1)], 1.0, id="no path there at all"),
        pytest.param([path(2), path(3)], 0.0, id="its own, though the other router has an equal one"),
    ],
)
def test_between_equal_paths_either_is_as_predicted(paths: list[Path], expected: float) -> None:
    assert share({P: paths}, (B, "r1", P, 30)) == expected


def test_a_router_prefers_its_own_to_an_equal_one_of_another() -> None:
    assert share({P: [path(2), path(3)]}, (C, "r1", P, 30)) == 1.0
    assert share({P: [path(1), path(2)]}, (B, "r2", P, 30)) == 0.0, "none of its own: the nearest, as they choose"


def wrong(total_g: float, elsewhere_g: float) -> dict[str, dict[str, float]]:
    """On a as predicted, and on b what should be on a."""
    return {A: spread(total_g), B: {"50.0.0.0/16": elsewhere_g}}


def desk() -> Desk:
    return Desk(paths=dict.fromkeys(PREFIXES, EVERYWHERE) | {"50.0.0.0/16": EVERYWHERE})


def test_too_much_of_it_in_three_windows_stops_new_moves_and_says_why() -> None:
    one = desk()
    for _ in range(2):
        assert not one.decide(wrong(70, 3)).refused
    result = one.decide(wrong(95, 3))
    assert result.egress_mismatch_share == pytest.approx(3 / 98)
    assert not result.overrides
    assert {(item.link, item.reason) for item in result.refused} == {(A, "egress-mismatch")}
    again = one.decide(wrong(95, 1.5))
    assert again.egress_mismatch_share == pytest.approx(1.5 / 96.5)
    assert len(again.overrides) == 1, "below the mark: at once"


def test_one_routing_change_shows_in_two_windows_and_stops_nothing() -> None:
    """The session fell between the end of a window and its closing; the next one begins before all have moved."""
    one = Desk(paths=dict.fromkeys(PREFIXES, EVERYWHERE) | {"50.0.0.0/16": [path(2), path(1, 7), path(3, 7)]})
    traffic = {A: spread(55), B: {"50.0.0.0/16": 30.0}}
    assert one.decide(traffic).egress_mismatch_share == 0
    one.rib.peer_down("r1", "10.0.0.2")
    assert one.decide(traffic).egress_mismatch_share == pytest.approx(30 / 85)
    half = one.decide({A: spread(85) | {"50.0.0.0/16": 15.0}, B: {"50.0.0.0/16": 15.0}})
    assert half.egress_mismatch_share == pytest.approx(15 / 115)
    assert half.overrides, "needed now"


def test_it_stops_neither_what_stands_nor_what_goes_home() -> None:
    one = desk()
    one.pacing = type(one.pacing)(min_stay_s=40)
    first = one.decide({A: spread(120)})
    assert len(first.overrides) == 3
    for _ in range(MISMATCHED_WINDOWS):
        mixed = after(first, 120)
        mixed[A]["50.0.0.0/16"] = 0.0
        mixed[C] = {**mixed.get(C, {}), "50.0.0.0/16": 5.0}
        held = one.decide(mixed)
        assert moved(held) == moved(first)
    assert (first.barred, held.barred) == (None, MISMATCH)
    calm = after(first, 60)
    calm[C] = {**calm.get(C, {}), "50.0.0.0/16": 5.0}
    assert (one.decide(calm).egress_mismatch_share or 0.0) > 0.02
    released = one.decide(calm)
    assert {item.reason for item in released.released} == {"natural-load-fits"}
    assert released.state.mismatched > MISMATCHED_WINDOWS


def test_what_went_home_just_now_and_is_still_seen_away_is_no_mismatch() -> None:
    one = Desk(min_stay_s=10)
    first = one.decide({A: spread(95)})
    released = one.decide(after(first, 60))
    assert len(released.released) == 1
    late = one.decide(after(first, 60))
    assert late.state.settling
    assert late.egress_mismatch_share == 0


def test_silence_does_not_say_that_routing_is_as_predicted() -> None:
    one = desk()
    for _ in range(MISMATCHED_WINDOWS):
        one.decide(wrong(70, 5))
    nothing = one.decide({}, instead={link: window(POP, link, START_S, None, {}) for link in POP.links})
    assert nothing.state.mismatched == MISMATCHED_WINDOWS
    assert nothing.egress_mismatch_share is None
