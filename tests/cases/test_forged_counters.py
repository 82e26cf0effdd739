"""Forged counter records among a port's own: none of them moves anything, and they are named."""

import random
from collections.abc import Callable

import pytest

from tests.cases.ports import Case, PortsRig, feed, run
from tests.cases.test_ports import opened, single

Forging = Callable[[random.Random], Case]


def forged_run(gbps: float, seed: int, forging: Forging, poll_s: float = 5) -> PortsRig:
    """A hundred windows with a forged record at a random moment of each, or of each other poll if these are longer."""
    dice, every_s = random.Random(seed), max(10.0, 2 * poll_s)
    moments = [index * every_s + dice.uniform(0.0, every_s) for index in range(int(1000 // every_s))]
    forged = [{"at_s": at_s} | forging(dice) for at_s in moments]
    rig = PortsRig(single(gbps, windows=100) | {"forged": forged, "poll_s": poll_s})
    feed(rig, dice.uniform(0.0, poll_s))
    return rig


def ahead(dice: random.Random) -> Case:
    return {"add": {"ifOutOctets": int(10 ** dice.uniform(6, 13))}}


def blind(dice: random.Random) -> Case:
    return ahead(dice) | {"set": {"sflow_cnt_seq": dice.randrange(2**32)}}


def fitting(dice: random.Random) -> Case:
    """What the port could just have sent."""
    return {"add": {"ifOutOctets": int(10 ** dice.uniform(9, 10.5))}}


def dropping(dice: random.Random) -> Case:
    return {"add": {"ifOutDiscards": int(10 ** dice.uniform(0, 8))}}


def slow(dice: random.Random) -> Case:
    return {"set": {"ifSpeed": int(10 ** dice.uniform(7, 12)), "ifStatus": dice.choice((0, 1, 3))}}


@pytest.mark.parametrize(("seed", "gbps"), [*((seed, 60) for seed in range(10)), (10, 85), (11, 85), (12, 85)])
def test_a_thousand_forged_counter_records_move_nothing(seed: int, gbps: float) -> None:
    """Octets 10^6 to 10^13 ahead, one in each window, numbered as the attacker guesses or as the agent would."""
    rig = forged_run(gbps, seed, blind if seed % 2 else ahead)
    assert [window for window in rig.seen() if window.decision.overrides or window.decision.congestion] == []


@pytest.mark.parametrize("poll_s", [2, 5, 10, 30])
@pytest.mark.parametrize("forging", [fitting, dropping, slow], ids=["octets that fit", "discards", "speed and state"])
def test_no_forged_record_moves_anything(forging: Forging, poll_s: float) -> None:
    rig = forged_run(85, 1, forging, poll_s)
    assert [window for window in rig.seen() if window.decision.overrides] == []


def test_forged_records_are_named() -> None:
    rig = forged_run(60, 3, ahead)
    assert any(notice.kind == "counters-refused" for window in rig.seen() for notice in window.notices)


def test_congestion_is_met_while_somebody_forges() -> None:
    rig = forged_run(95, 2, ahead)
    assert any(window.decision.overrides for window in rig.seen()[:5])


def test_thirty_seconds_of_readings_make_a_level_believed_that_flows_do_not_show() -> None:
    """The router samples too little, 80 %: its counters are right, and a minute of them shows it."""
    seen = run(single(97, windows=12) | {"sampled": 0.8})
    assert [window.link.carried_bps for window in seen[4:]] == [pytest.approx(97e9, rel=0.07)] * 8
    assert opened(seen)
