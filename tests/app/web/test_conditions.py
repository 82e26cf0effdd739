"""What is missed of a PoP, and by whom: every part that can die has a notice, and none is made up."""

from typing import Any

import msgspec
import pytest

from app.clock import utc
from app.contract.schemas import Mode, Notice, RouterHeard, WorkerState
from app.web.conditions import Component, Seen, components, notices, sentence
from tests.app.web.records import WINDOW_S, heard, sources, status
from tests.pops import demo_pop

T0 = 1_700_000_000
END_S = T0 + WINDOW_S
FLOWS, BMP = "sfacctd-flows-rhv1000", "bmp-rhv1000"
WELL = Seen(END_S + 5, WINDOW_S, sources(T0), status(END_S), "auto", END_S, frozenset())


def kinds(seen: Seen) -> list[tuple[str, str]]:
    return [(notice.kind, notice.where) for notice in notices(demo_pop(), seen)]


def parts(seen: Seen) -> dict[str, Component]:
    return {f"{part.router}/{part.name}" if part.router else part.name: part for part in components(demo_pop(), seen)}


def test_a_pop_that_is_well_has_no_notice_and_every_part_is_up() -> None:
    assert kinds(WELL) == []
    assert {part.state for part in parts(WELL).values()} == {"up"}
    assert list(parts(WELL))[:6] == ["sfacctd", "pmbmpd", "telemetry", "actuator", "r1/flows", "r1/counters"]


def test_before_anything_was_seen_nothing_is_claimed() -> None:
    seen = Seen(END_S, WINDOW_S)
    assert kinds(seen) == []
    assert {part.state for part in parts(seen).values()} == {"unknown"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"now_s": END_S + 31}, [("telemetry-silent", "rhv1000"), ("actuator-silent", "rhv1000")]),
        ({"now_s": END_S + 31, "status": status(END_S + 31)}, [("telemetry-silent", "rhv1000")]),
        # Without purge markers no window closes, so telemetry is not to blame.
        (
            {"now_s": END_S + 31, "status": status(END_S + 31), "silent": {FLOWS}},
            [("flow-collector-silent", "rhv1000")],
        ),
        ({"silent": {BMP}}, []),  # until its routers are doubtful, they may only be quiet
        ({"now_s": END_S + 20}, []),
        ({"now_s": END_S + 20.1}, [("actuator-silent", "rhv1000")]),
        ({"status": None}, [("actuator-silent", "rhv1000")]),
        ({"status": None, "mode": "observe"}, []),
        ({"status": None, "mode": None}, []),
        ({"status": status(END_S, halted_by=("control", "file"))}, [("halt-file", "rhv1000")]),
        ({"status": status(END_S, halted_by=("control",))}, []),
        ({"status": status(END_S, refused_s=END_S - 3500)}, [("records-refused", "rhv1000")]),
        ({"status": status(END_S, refused_s=END_S - 3600)}, []),
        ({"status": status(END_S, mode="dry-run")}, [("modes-differ", "rhv1000")]),
        ({"mode": "dry-run"}, [("modes-differ", "rhv1000")]),
        ({"mode": "observe", "status": status(END_S, mode="dry-run")}, []),
        ({"status": status(END_S, down=("r2",))}, [("injector-silent", "r2")]),
        # In a dry run nothing is announced: whether gobgpds are there is for `check`.
        ({"status": status(END_S, mode="dry-run", down=("r2",)), "mode": "dry-run"}, []),
        # A dead actuator no longer knows what its gobgpds do.
        ({"now_s": END_S + 21, "status": status(END_S, down=("r2",))}, [("actuator-silent", "rhv1000")]),
        (
            {"sources": sources(T0, r1=RouterHeard())},
            [("flows-silent", "r1"), ("counters-silent", "r1"), ("bmp-silent", "r1")],
        ),
        ({"sources": sources(T0, r1=heard(END_S - 50))}, []),  # telemetry knows how long it may be silent
        ({"sources": sources(T0, r1=heard(END_S, doubtful=True))}, [("bmp-silent", "r1")]),
        ({"sources": sources(T0, r1=heard(END_S - 61, statistics=False))}, [("counters-silent", "r1")]),
        (
            {"sources": sources(T0, r1=heard(END_S - 301, statistics=False))},
            [("flows-silent", "r1"), ("counters-silent", "r1")],
        ),
    ],
)
def test_what_is_missed_has_a_notice(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert kinds(WELL._replace(**changes)) == expected


def test_telemetry_that_was_never_seen_is_dead_where_flows_come() -> None:
    """It may be dead for longer than anything is read back; `unknown` would be no alarm."""
    never = Seen(END_S, WINDOW_S, silent=frozenset())
    assert kinds(never) == [("telemetry-silent", "rhv1000")]
    assert parts(never)["telemetry"].state == "down"
    no_flows = never._replace(silent={FLOWS})
    assert kinds(no_flows) == [("flow-collector-silent", "rhv1000")]
    assert parts(no_flows)["telemetry"].state == "unknown"


def test_a_dead_pmbmpd_is_one_notice_and_not_one_for_each_router() -> None:
    old = heard(END_S - 40, doubtful=True)
    seen = WELL._replace(sources=sources(T0, r1=old, r2=old), silent={BMP})
    assert kinds(seen) == [("bmp-collector-silent", "rhv1000")]
    assert {parts(seen)[name].state for name in ("pmbmpd", "r1/BMP", "r2/BMP")} == {"down"}


def test_a_quiet_network_without_statistics_is_no_dead_pmbmpd() -> None:
    quiet = heard(END_S - 25, statistics=False)
    seen = WELL._replace(sources=sources(T0, r1=quiet, r2=quiet), silent={BMP})
    assert kinds(seen) == []
    assert parts(seen)["pmbmpd"].state == "unknown"


def test_what_telemetry_says_of_a_router_is_not_said_twice() -> None:
    own = Notice("bmp-doubtful", "r1", "r1 has sent no BMP statistics for 40 s.")
    other = Notice("capacity-differs", "rhv1000/r1/et-0/0/1", "Counters say 40 Gb/s.")
    seen = WELL._replace(sources=sources(T0, own, other, r1=heard(END_S - 40, doubtful=True)))
    assert notices(demo_pop(), seen) == (own, other)


def test_the_age_of_an_input_is_that_at_the_end_of_the_window() -> None:
    """Between two windows nothing new is known of it: a late page must not claim that routers fell silent."""
    assert kinds(WELL._replace(now_s=END_S + 30, status=status(END_S + 30))) == []
    late = WELL._replace(now_s=END_S + 31, status=status(END_S + 31))
    assert parts(late)["r1/BMP"].state == "unknown"


@pytest.mark.parametrize("mode", ["auto", "dry-run"])
def test_texts_name_what_to_do_and_do_not_change_with_the_time(mode: Mode) -> None:
    for now_s in (END_S + 100, END_S + 101):
        seen = WELL._replace(mode=mode, now_s=now_s)
        [silent, dead] = notices(demo_pop(), seen)
        assert sentence("rhv1000", silent) == (
            f"rhv1000: No window was published since the one that ended at {utc(END_S):%Y-%m-%d %H:%M:%S} UTC."
            " Is telemetry running, and do flows arrive?"
        )
        assert dead.text.endswith("Is `autopilot actuator` running?")


def test_parts_that_are_down_say_when_they_were_heard() -> None:
    old = msgspec.structs.replace(heard(END_S), bmp=utc(END_S - 40), doubtful=True)
    part = parts(WELL._replace(sources=sources(T0, r2=old)))["r2/BMP"]
    assert part == Component("BMP", "r2", "down", utc(END_S - 40))


@pytest.mark.parametrize(
    ("telemetry", "actuator", "expected"),
    [
        (("a", 0.1), ("a", -4.9), []),
        (("a", None), ("a", None), []),
        (("a", 5.1), ("a", 0.0), ["clock-wrong"]),
        (("a", 0.0), ("a", -600.0), ["clock-wrong"]),
        (("a", 0.0), ("b", 0.0), ["config-differs"]),
    ],
)
def test_a_wrong_clock_and_files_that_differ_are_named(
    telemetry: tuple[str, float | None], actuator: tuple[str, float | None], expected: list[str]
) -> None:
    def runs(config: str, ahead_s: float | None) -> WorkerState:
        return WorkerState(config, utc(T0), ahead_s)

    reported = msgspec.structs.replace(sources(T0), worker=runs(*telemetry))
    living = msgspec.structs.replace(status(END_S), worker=runs(*actuator))
    assert [kind for kind, _ in kinds(WELL._replace(sources=reported, status=living))] == expected
