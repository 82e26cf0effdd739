"""Counters that are older than they seem: cached by the agent, or held back on the way. What fits is not moved."""

import random

import pytest

from tests.cases.ports import LINK, Case, PortsRig, Seen, feed
from tests.cases.test_ports import opened, single

PHASES = (0.0, 1.3, 3.1)


def late(case: Case, phase_s: float, held_s: float = 0.0, seed: int = 1) -> list[Seen]:
    """All windows of a case, each reading of which arrives up to `held_s` late."""
    dice, rig = random.Random(seed), PortsRig(case)
    counter = rig.counter
    rig.counter = lambda at_s, **values: counter(at_s + dice.uniform(0, held_s), **values)  # type: ignore[method-assign]
    feed(rig, phase_s)
    return rig.seen()


@pytest.mark.parametrize(
    ("gbps", "refresh_s", "poll_s"),
    [(70, 7, 5), (80, 7, 5), (80, 3, 5), (80, 4, 5), (80, 6, 5), (80, 8, 5), (80, 12, 10), (80, 15, 10), (80, 30, 20)],
)
def test_an_agent_that_caches_its_counters_moves_nothing_that_fits(gbps: float, refresh_s: float, poll_s: int) -> None:
    for phase_s in PHASES:
        seen = late(single(gbps, windows=12, cache_s=refresh_s) | {"poll_s": poll_s}, phase_s)
        assert [window for window in seen if window.decision.overrides or window.decision.congestion] == []
        assert max(window.link.carried_bps or 0.0 for window in seen) < 90e9


@pytest.mark.parametrize("held_s", [1, 2, 3, 4])
def test_readings_that_arrive_late_move_nothing_that_fits(held_s: float) -> None:
    for seed in range(3):
        seen = late(single(80, windows=20), 3.0, held_s, seed)
        assert [window for window in seen if window.decision.overrides or window.decision.congestion] == []


@pytest.mark.parametrize("refresh_s", [3, 7, 8])
def test_a_full_link_is_met_though_its_agent_caches(refresh_s: float) -> None:
    for phase_s in PHASES:
        seen = late(single(97, windows=3, cache_s=refresh_s), phase_s)
        assert opened(seen[:2])


def test_few_flows_and_cached_counters_move_nothing_that_fits() -> None:
    """10 Gb/s at one sample in 32,768 packets: 300 samples a window, which are off by up to 12 %."""
    case = single(7.5, windows=12, ifSpeed=10**10, cache_s=7) | {"inventory": {"capacity_bps": 10e9}}
    for phase_s in PHASES:
        seen = late(case, phase_s)
        assert [window for window in seen if window.decision.overrides] == []


def test_counters_that_are_read_every_130_s_are_not_silent() -> None:
    seen = late(single(60, windows=30) | {"poll_s": 130}, 3.0)
    assert {"gap", "live"} == {window.link.feed for window in seen}
    assert all(window.link.carried_bps == pytest.approx(60e9, rel=0.05) for window in seen)
    assert [notice for window in seen for notice in window.notices if notice.where == LINK] == []


@pytest.mark.parametrize("speed_bps", [(2**32 - 1) * 10**6, 2**64 - 10**6])
def test_a_speed_that_cannot_be_true_costs_no_octets(speed_bps: int) -> None:
    rig = PortsRig(single(60, ifSpeed=speed_bps))
    feed(rig)
    assert rig.dead.letters == []
    for window in rig.seen():
        assert window.link.capacity_bps == 100e9
        assert window.link.carried_bps == pytest.approx(60e9)
        assert "capacity-differs" in {notice.kind for notice in window.notices}


@pytest.mark.parametrize("gbps", [6.88, 3.44 * 4])
def test_octets_of_32_bits_that_wrap_once_a_poll_are_no_load_of_nothing(gbps: float) -> None:
    """They never fall: 4.3 GB in 5 s is one wrap, or two."""
    case = single(gbps, windows=10, ifSpeed=10**11, modulo=2**32) | {"rate": 4096}
    for phase_s in PHASES:
        for window in late(case, phase_s):
            assert window.link.carried_bps == pytest.approx(gbps * 1e9, rel=0.05)
            assert not window.link.counters
