"""The demo's verdict: a good run is ok, and every way of being wrong is named."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from app.clock import utc
from app.contract.schemas import Actuation, Congestion, Decision, LinkUtilization, Refused
from app.lab.demo.evidence import ByteAccount, Evidence, Kill, LinkTruth, Surge
from app.lab.demo.labels import verdict
from app.lab.demo.score import Episodes, episodes, score
from app.lab.pop.report import Summary

T0 = 1_795_246_100
LINK = "rhv1000/r1/et-0/0/1"


def act(action: Any, router: str = "r1", prefix: str = "20.0.0.0/24", reason: str = "surge") -> Actuation:
    return Actuation(
        id=f"{action}{router}{prefix}", pop="rhv1000", router=router, prefix=prefix, action=action, reason=reason,
        next_hop=None, epoch=1, seq=1, at=utc(T0),
    )  # fmt: skip


def decision(state: Any) -> Decision:
    event = Congestion("c1", LINK, state, utc(T0), 0.99, 0.1, 1.2, 0.04)
    at = utc(T0)
    return Decision(
        pop="rhv1000",
        epoch=1,
        seq=1,
        mode="auto",
        window_start=at,
        made_at=at,
        add_until=at,
        hold_until=at,
        congestion=(event,),
    )


def window(carried: float, natural: float) -> LinkUtilization:
    return LinkUtilization(
        id="w", pop="rhv1000", link=LINK, window_start=utc(T0), window_s=10, capacity_bps=1e11, carried_bps=carried,
        dropped_bps=0, offered_bps=carried, natural_bps=natural, moved_in_bps=0, moved_out_bps=0, received_bps=None,
        samples=100, sampled_bytes=1, error=0.1, up=True, counters=True,
    )  # fmt: skip


SUMMARY = Summary(
    duration_s=240,
    wanted_bytes=10**12,
    dropped_bytes=10,
    dropped_bytes_without_overrides=100,
    dropped_bytes_before_first_override=8,
    first_override_s=55.0,
    overrides_max=30,
    overrides_left=0,
    blackholed_bytes=10,
    blackholed_bps_max=80.0,
    looped_bytes=0,
    loops=0,
    dead_end_bytes=0,
    dead_ends=0,
    transient_bytes=0,
    peak_natural=1.25,
    peak_carried=1.0,
    sampled_bytes=1000,
    sampled_records=5,
    datagrams=3,
    datagrams_failed=0,
    late_s=0.01,
)
STORY = (
    act("announced"), act("withdrawn", reason="source-path-lost"), act("announced"),
    act("withdrawn", reason="released: natural-load-fits"),
)  # fmt: skip
GOOD = Evidence(
    seconds_to_ready=20.0, drained=True, surged_link=LINK, summary=SUMMARY,
    progress=ByteAccount(records=5, counted_bytes=995, late_bytes=5, unattributed_bytes={}, closed_up_to_s=T0),
    dead_letters=0, udp_drops=0, decisions=(decision("opened"), decision("closed")), close_to_decision_s=(0.1, 0.2),
    utilization=(window(0.99e11, 1.2e11),), truth=(LinkTruth(T0, 1e11, 1.25e11, 1.25e11),),
    actuations=STORY, surge=Surge(1.25, 35.0, 55.0, 8.0),
    kill=Kill("127.0.0.32", T0 + 90.0, 12, T0 + 90.1, T0 + 90.6), marked_during={"r1": 9, "r2": 9},
    marked_copies={"r1": 9, "r2": 9}, marked_after={"r1": 0, "r2": 0}, announcements_leaked=(),
    overrides_leaked=0, announcements_received=6, restarts=0, crashes=0,
)  # fmt: skip


def test_a_good_run_is_ok() -> None:
    figures = score(GOOD)
    assert figures["failed"] == []
    assert figures["ok"] is True
    assert figures["onset_to_override_s"] == 20.0
    assert figures["peer_down_to_withdrawn_s"] == pytest.approx(0.5)
    assert figures["window_close_to_decision_s"] == 0.2
    assert figures["carried_error"] == pytest.approx(0.01)


@pytest.mark.parametrize(("late_s", "failed"), [(0.0, ["carried load estimated within 2 %"]), (0.2, [])])
def test_what_was_dated_late_counts_in_another_window(late_s: float, failed: list[str]) -> None:
    dated = msgspec.structs.replace(GOOD, utilization=(window(0.97e11, 1.2e11),), counters_late_s=late_s)
    assert score(dated)["failed"] == failed


def test_what_depends_on_time_is_not_judged_on_a_machine_that_does_not_keep_it() -> None:
    slow = msgspec.structs.replace(GOOD, summary=msgspec.structs.replace(SUMMARY, dropped_bytes=90, late_s=4.0))
    figures = score(slow)
    assert figures["failed"] == []
    assert figures["not_judged"] == [
        "no restarts",
        "no loops",
        "at most half the drops of a run without Autopilot",
        "black hole of at most 3 s",
    ]
    assert score(msgspec.structs.replace(slow, restarts=1))["failed"] == []
    assert score(msgspec.structs.replace(slow, restarts=1, crashes=1))["failed"] == ["nothing crashed"]
    assert verdict(figures)[:2] == [
        "not judged, because other work kept this machine from keeping time:",
        "  - no restarts",
    ]
    in_time = score(msgspec.structs.replace(slow, summary=msgspec.structs.replace(slow.summary, late_s=0.1)))
    assert in_time["failed"] == ["at most half the drops of a run without Autopilot"]
    assert in_time["not_judged"] == []


@pytest.mark.parametrize(
    ("change", "bound"),
    [
        ({"udp_drops": 1}, "no datagram was lost in the kernel: the run is not void"),
        ({"drained": False}, "settled in the end"),
        ({"dead_letters": 1}, "no dead letters"),
        ({"decisions": (decision("opened"),)}, "congestion opened and closed"),
        ({"utilization": (window(0.97e11, 1.2e11),)}, "carried load estimated within 2 %"),
        ({"utilization": (window(1e11, 1.4e11),)}, "natural load estimated within 10 %"),
        ({"utilization": ()}, "carried load estimated within 2 %"),
        ({"actuations": (act("announced"),)}, "every override released or lost"),
        ({"actuations": STORY[:2]}, "the killed neighbour's traffic was placed again"),
        ({"surge": Surge(0.99, 35.0, 55.0, 8.0)}, "natural load above capacity"),
        ({"actuations": (act("announced"), act("withdrawn", reason="hold-ended"))}, "every override released or lost"),
        ({"marked_after": {"r1": 1, "r2": 0}}, "no override left"),
        ({"marked_copies": {"r1": 9, "r2": 8}}, "every override copies a live AS path"),
        ({"kill": None}, "a neighbour with overrides died"),
        ({"announcements_leaked": ("20.0.0.0/24",)}, "no leaks"),
        ({"announcements_received": 0}, "no leaks"),
        ({"restarts": 1}, "no restarts"),
        ({"restarts": 1, "crashes": 1}, "nothing crashed"),
        ({"summary": msgspec.structs.replace(SUMMARY, sampled_bytes=1001)}, "every sampled byte is accounted for"),
        (
            {"summary": msgspec.structs.replace(SUMMARY, dropped_bytes=60)},
            "at most half the drops of a run without Autopilot",
        ),
        ({"summary": msgspec.structs.replace(SUMMARY, blackholed_bytes=40)}, "black hole of at most 3 s"),
        ({"summary": msgspec.structs.replace(SUMMARY, loops=1)}, "no loops"),
        ({"summary": msgspec.structs.replace(SUMMARY, peak_carried=1.01)}, "carried load within capacity"),
    ],
)
def test_every_broken_bound_is_named(change: dict[str, Any], bound: str) -> None:
    figures = score(msgspec.structs.replace(GOOD, **change))
    assert figures["ok"] is False
    failed = figures["failed"]
    assert isinstance(failed, list)
    assert bound in failed


def test_an_override_is_counted_once_whatever_its_routers_and_next_hops() -> None:
    story = [
        *(act("announced", router) for router in ("r1", "r2")),
        act("announced"),  # another next hop in place
        *(act("withdrawn", router, reason="released: natural-load-fits") for router in ("r2", "r1")),
        act("announced", prefix="20.0.1.0/24"),
        act("withdrawn", prefix="20.0.1.0/24", reason="source-path-lost"),
        act("announced", prefix="20.0.1.0/24"),  # placed again
        act("refused", prefix="20.0.9.0/24"),
    ]
    assert episodes(story) == Episodes(announced=3, lost=1, placed_again=1, released=1)


def test_windows_are_compared_by_their_start() -> None:
    later = msgspec.structs.replace(window(5e10, 5e10), window_start=utc(T0) + timedelta(seconds=10))
    assert score(msgspec.structs.replace(GOOD, utilization=(*GOOD.utilization, later)))["windows_compared"] == 1


FAILURE = msgspec.structs.replace(
    GOOD,
    verdict="link-failure",
    decisions=(decision("opened"),),
    actuations=(act("announced"),),
    kill=Kill("127.0.0.31", T0 + 60.0, 0, T0 + 60.1, T0 + 60.1),
    surge=Surge(1.1, 60.0, 80.0, 24.0),
    marked_after={"r1": 9, "r2": 9},
)
REFUSED = Refused("20.0.0.0/24", LINK, "no-room", 1e9)
NO_ROOM = msgspec.structs.replace(
    GOOD,
    verdict="no-room",
    decisions=(msgspec.structs.replace(decision("opened"), refused=(REFUSED, REFUSED)), decision("closed")),
    actuations=(STORY[2], STORY[3]),
    summary=msgspec.structs.replace(SUMMARY, dropped_bytes=70),
    kill=None,
)


@pytest.mark.parametrize("evidence", [FAILURE, NO_ROOM], ids=lambda evidence: evidence.verdict)
def test_every_scenario_has_its_own_good_run(evidence: Evidence) -> None:
    assert score(evidence)["failed"] == []


@pytest.mark.parametrize(
    ("evidence", "change", "bound"),
    [
        (FAILURE, {"kill": None}, "a neighbour died"),
        (FAILURE, {"surge": Surge(1.1, 60.0, 80.0, 61.0)}, "no drops later than 60 s after the failure"),
        (FAILURE, {"surge": Surge(1.1, 60.0, 80.0, None)}, "no drops later than 60 s after the failure"),
        (FAILURE, {"surge": Surge(0.9, 60.0, 80.0, 24.0)}, "natural load above capacity"),
        (FAILURE, {"decisions": ()}, "congestion opened"),
        (FAILURE, {"congested_by_us": (LINK,)}, "no link congested by our moves"),
        (FAILURE, {"drained": False}, "settled in the end"),
        (NO_ROOM, {"congested_by_us": (LINK,)}, "no link congested by our moves"),
        (
            NO_ROOM,
            {"summary": msgspec.structs.replace(SUMMARY, dropped_bytes=100)},
            "fewer drops than without Autopilot",
        ),
        (NO_ROOM, {"decisions": (decision("opened"), decision("closed"))}, "some moves were refused for lack of room"),
        (NO_ROOM, {"actuations": (act("announced"),)}, "every override released or lost"),
        (NO_ROOM, {"announcements_leaked": ("20.0.0.0/24",)}, "no leaks"),
    ],
)
def test_every_broken_bound_of_a_scenario_is_named(evidence: Evidence, change: dict[str, Any], bound: str) -> None:
    failed = score(msgspec.structs.replace(evidence, **change))["failed"]
    assert isinstance(failed, list)
    assert bound in failed


def test_refusals_are_counted_once_each() -> None:
    assert score(NO_ROOM)["refused_by_reason"] == {"no-room": 1}
