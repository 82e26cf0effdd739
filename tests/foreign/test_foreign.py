"""Loads equal what was sent, one move and its return, no dead letters: beside agents and routers that others wrote."""

from math import sqrt
from typing import NamedTuple

import numpy as np
import pytest

from app.contract import topics
from app.contract.schemas import LinkUtilization
from app.errors import EnvironmentProblem
from app.te.traffic.level import error_share
from tests.foreign.host import problems
from tests.foreign.rig import SAMPLING
from tests.foreign.story import Evidence, run_story
from tests.foreign.wires import FRAME_BYTES, Wires

pytestmark = [pytest.mark.services, pytest.mark.xdist_group("foreign")]

OWN = {"198.18.0.0/16", "2001:db8:1000::/40"}
MARKER, OVERRIDE_LOCAL_PREF = "64512:911", 1000
FCS_SHARE = 4 / FRAME_BYTES  # which samples count, and interfaces do not
WINDOW_S = 10.0
LAG_S = 6.0  # from a packet to its place in the account


class Agent(NamedTuple):
    """The longest time between two readings of a link, and by how much more one of them lags than another.

    Both are measured: sfprobe counts what libpcap hands over once a second, and a busy machine later still.
    """

    polling_s: float
    lag_bytes: float

    def margin_bytes(self, window_s: float) -> float:
        """How far a window may be off for this: it is interpolated, or extrapolated by half a window."""
        return 1.5 * self.lag_bytes * min(1.0, window_s / self.polling_s)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    """Never skipped: a run without these tests must not look like one that they passed."""
    if lacking := problems():
        pytest.fail("tests/foreign cannot run here:\n" + "\n".join(f"- {problem}" for problem in lacking))
    try:
        return run_story()
    except EnvironmentProblem as problem:
        pytest.fail(f"tests/foreign cannot run here: {problem}")


def border_bytes(wires: Wires, link: str, border_s: float, polling_s: float) -> float:
    """How far counters that are read every `polling_s` may be off at the border of a window.

    They are interpolated between two readings, or extrapolated from the last two by half a window.
    """
    begins = np.arange(border_s - polling_s - 5, border_s + 0.1, 0.25)
    at_begin, at_end = wires.carried_bytes(link, begins), wires.carried_bytes(link, begins + polling_s)
    estimates = at_begin + (at_end - at_begin) * (border_s - begins) / polling_s
    return float(np.abs(estimates - wires.carried_bytes(link, np.array([border_s]))).max())


def held_bytes(window: LinkUtilization, sent: float) -> float:
    """How far the 95 % interval of its samples holds the level of a window away from what was sent: 1 in 20 does."""
    error_bytes = (error_share(window.samples) + FCS_SHARE) * window.sampled_bytes
    return max(abs(window.sampled_bytes - sent) - error_bytes, 0.0) if window.samples else 0.0


def windows(evidence: Evidence, link: str) -> list[LinkUtilization]:
    """The windows of a link that lie in the time of which the truth is known."""
    began_s = evidence.wires.began_s
    return [
        each
        for each in evidence.utilization
        if each.link.endswith(f"/{link}") and each.window_start.timestamp() > began_s
    ]


def sent_bytes(wires: Wires, link: str, window: LinkUtilization) -> float:
    start_s = window.window_start.timestamp()
    begin, end = wires.carried_bytes(link, np.array([start_s, start_s + window.window_s]))
    return float(end - begin)


def agent_of(evidence: Evidence, link: str) -> Agent:
    at_s, octets = (np.array(column, float) for column in zip(*evidence.readings[link], strict=True))
    lags = evidence.wires.carried_bytes(link, at_s) - octets
    return Agent(float(np.diff(at_s).max()), float(np.ptp(lags)))


def known(bps: float | None) -> float:
    assert bps is not None
    return bps


def carried_bytes(window: LinkUtilization) -> float:
    return known(window.carried_bps) * window.window_s / 8


@pytest.mark.parametrize("link", ["pni", "ixp", "transit"])
def test_the_load_of_each_window_equals_what_was_sent(evidence: Evidence, link: str) -> None:
    """Its level comes from the counters of Open vSwitch and sfprobe, as soon as two readings in a row show it."""
    wires, agent, judged, sharp = evidence.wires, agent_of(evidence, link), 0, 0
    counted = [each for each in windows(evidence, link) if each.counters]  # sfprobe's come too rarely for every one
    confirmed_s = counted[0].window_start.timestamp() + agent.polling_s
    for window in counted:
        if window.window_start.timestamp() < confirmed_s:
            continue
        start_s, sent, carried = window.window_start.timestamp(), sent_bytes(wires, link, window), carried_bytes(window)
        margin = agent.margin_bytes(window.window_s) + held_bytes(window, sent) + FCS_SHARE * sent + FRAME_BYTES
        margin += border_bytes(wires, link, start_s, agent.polling_s)
        margin += border_bytes(wires, link, start_s + window.window_s, agent.polling_s)
        assert abs(carried - sent) <= margin, f"{link} {window.window_start}: {carried:,.0f} of {sent:,.0f} bytes"
        judged += 1
        sharp += margin < 0.2 * sent
    assert judged
    assert sharp or agent.polling_s > WINDOW_S, "at least one window begins and ends in steady traffic"


@pytest.mark.parametrize("link", ["pni", "ixp"])
def test_counters_and_samples_of_the_whole_run_equal_what_was_sent(evidence: Evidence, link: str) -> None:
    wires, seen, agent = evidence.wires, windows(evidence, link), agent_of(evidence, link)
    sent = sum(sent_bytes(wires, link, window) for window in seen)
    off = agent.margin_bytes(WINDOW_S) + FRAME_BYTES
    held = sum(held_bytes(window, sent_bytes(wires, link, window)) for window in seen)
    carried = sum(carried_bytes(window) for window in seen)
    assert abs(carried - sent) <= off + held + border_bytes(
        wires, link, seen[-1].window_start.timestamp() + 10, agent.polling_s
    )
    sampled, error = sum(window.sampled_bytes for window in seen), 3 / sqrt(sum(window.samples for window in seen))
    assert abs(sampled - sent) <= (error + FCS_SHARE) * sent + off + evidence.account.late_bytes


def test_traffic_of_unknown_input_is_counted_as_such_and_nothing_else_is_left_out(evidence: Evidence) -> None:
    """sfprobe names no input interface; every other byte has its place."""
    account, wires = evidence.account, evidence.wires
    assert account.unattributed_bytes.keys() == {"unknown-ingress"}
    unknown = account.unattributed_bytes["unknown-ingress"]
    error = 1.96 / sqrt(unknown / SAMPLING / FRAME_BYTES) + FCS_SHARE
    low, high = wires.carried_bytes("transit", np.array([evidence.read_s - LAG_S, evidence.read_s]))
    assert low * (1 - error) <= unknown <= high * (1 + error)


def test_the_full_link_is_relieved(evidence: Evidence) -> None:
    relieved = [window for window in windows(evidence, "pni") if known(window.moved_out_bps) > 0]
    assert min(known(window.carried_bps) for window in relieved) <= 0.9 * 10e6
    assert max(known(window.natural_bps) for window in relieved) >= 0.9 * 10e6
    assert all(window.dropped_bps == 0 for window in relieved)


@pytest.mark.parametrize("router", ["edge1", "edge2"])
def test_each_edge_gets_the_route_once_and_gives_it_back_once(evidence: Evidence, router: str) -> None:
    actions = [each for each in evidence.actuations if (each.router, each.prefix) == (router, evidence.moved)]
    once = [each.action for each in actions if each.reason != "repaired"]  # as a restart of telemetry may
    assert once[:2] == ["announced", "confirmed"]
    assert once[-1] == "withdrawn"
    assert once.count("withdrawn") == 1
    assert "refused" not in once


def test_frr_takes_the_route_and_gives_it_back(evidence: Evidence) -> None:
    during, after = evidence.during.at_edge1, evidence.after.at_edge1
    assert during.next_hop in ("198.51.100.5", "2001:db8:0:2::1")
    assert during.local_pref == OVERRIDE_LOCAL_PREF
    assert MARKER in during.communities
    assert after.next_hop in ("198.51.100.1", "2001:db8:0:1::1")
    assert after.local_pref == 300


def test_bird_takes_the_route_towards_the_exit_and_gives_it_back(evidence: Evidence) -> None:
    during, after = evidence.during.at_edge2, evidence.after.at_edge2
    assert during.protocol == "injector"
    assert during.next_hop in ("192.0.2.11", "2001:db8:ffff::11")
    assert during.local_pref == OVERRIDE_LOCAL_PREF
    assert MARKER in during.communities
    assert (after.protocol, after.local_pref) == ("edge1", 300)


def test_no_neighbour_hears_of_the_move(evidence: Evidence) -> None:
    for seen in (evidence.during, evidence.after):
        assert all("198.18.0.0/16" in heard and heard <= OWN for heard in seen.heard.values())


def test_no_record_is_a_dead_letter(evidence: Evidence) -> None:
    inputs = {topic.for_pop("foreign") for topic in (topics.FLOWS, topics.COUNTERS, topics.BMP)}
    assert {letter for letter in evidence.dead_letters if letter[0] in inputs} == set()
