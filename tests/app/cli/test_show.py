"""The tables that people read."""

from typing import Any

import msgspec
from rich.console import Console, RenderableType

from app.cli.show import feed_of, links_table, overrides_lines, overrides_table
from app.cli.situation import Situation, decision_documents, halt_lines, link_documents
from app.cli.watch import Screen
from app.clock import ManualClock, utc
from app.config.settings import Deployment, Settings
from app.contract.schemas import (
    Actuation,
    Control,
    Decision,
    Exit,
    LinkUtilization,
    Mode,
    NaturalExit,
    Notice,
    Override,
    SourcePath,
)
from app.contract.topics import ACTUATIONS, ACTUATOR_STATUS, CONTROL, DECISIONS, LINK_UTILIZATION, SOURCES
from app.web.last_seen import LastSeen
from app.web.override_states import OverrideState, OverrideStates
from tests.app.web.records import FULL as LINK
from tests.app.web.records import ROOMY, heard, sources, status, window
from tests.pops import demo_pop

T0 = 1_795_246_100
HALT = Control(pop="*", halt=True, by="ada", at=utc(T0))


def text(shown: RenderableType, width: int = 200) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(shown)
    return captured.get()


def by_link(*rows: LinkUtilization) -> dict[str, LinkUtilization | None]:
    return {row.link: row for row in rows}


def new_screen(clock: ManualClock) -> Screen:
    """The screen of a PoP of which nothing was seen yet."""
    pop = demo_pop()
    deployment = Deployment(Settings(pops=("rhv1000.toml",)), {"rhv1000": pop})
    return Screen(deployment, {"rhv1000": LastSeen(10)}, dict.fromkeys(pop.links), clock)


def test_links_show_shares_of_capacity() -> None:
    shown = text(links_table(by_link(window(T0, carried=0.95, natural=1.2)), T0 + 15))
    assert LINK in shown
    assert "live" in shown
    assert "95.0%" in shown
    assert "120.0%" in shown


OVERRIDE = Override(
    prefix="20.0.0.0/24",
    exit=Exit("r1", "rhv1000/r1/et-0/0/2", "127.0.0.32", "198.51.100.2"),
    inject_on=("r1", "r2"),
    natural=(NaturalExit("r1", LINK, 0.6), NaturalExit("r1", LINK, 0.4)),
    source_path=SourcePath((64602,), "igp"),
    bps=1.5e9,
    reason="congestion",
)
SMALL = msgspec.structs.replace(OVERRIDE, prefix="16.0.0.0/24", bps=4.04e6)


def decided(*overrides: Override, mode: Mode = "auto") -> Decision:
    at = utc(T0)
    return Decision(
        pop="rhv1000", epoch=1, seq=1, mode=mode, window_start=at, made_at=at, add_until=at, hold_until=at,
        overrides=overrides,
    )  # fmt: skip


def states_of(decision: Decision, *actuations: Actuation) -> dict[str, dict[str, OverrideState]]:
    states = OverrideStates()
    for actuation in actuations:
        states.take(actuation)
    return {decision.pop: states.of_decision(decision)}


def acted(action: Any, router: str, prefix: str = OVERRIDE.prefix, reason: str = "") -> Actuation:
    next_hop = OVERRIDE.exit.next_hop if router == "r1" else "192.0.2.11"
    return Actuation(
        id=f"{action}/{router}", pop="rhv1000", router=router, prefix=prefix, action=action, reason=reason,
        next_hop=next_hop, epoch=1, seq=1, at=utc(T0),
    )  # fmt: skip


def test_overrides_show_where_to_and_instead_of_what() -> None:
    shown = text(overrides_table([decided(OVERRIDE)]))
    for word in ("20.0.0.0/24", "1.50 Gb/s", "198.51.100.2", LINK, "congestion"):
        assert word in shown
    assert shown.count(LINK) == 1
    assert "state" not in shown


def test_the_largest_override_comes_first_and_a_small_one_is_not_zero() -> None:
    shown = text(overrides_table([decided(SMALL, OVERRIDE)]))
    assert shown.index("20.0.0.0/24") < shown.index("16.0.0.0/24")
    assert "4.04 Mb/s" in shown


def test_overrides_show_their_mode_and_how_far_each_has_come() -> None:
    decision = decided(OVERRIDE, SMALL)
    states = states_of(decision, acted("announced", "r1"), acted("confirmed", "r1"), acted("announced", "r2"))
    shown = text(overrides_table([decision], states))
    assert "announced, confirmed by 1 of 2" in shown
    assert "decided" in shown
    (line,) = overrides_lines([decision], states)
    assert line == "rhv1000: mode auto; overrides: 2 with 1.50 Gb/s (1 announced, 1 decided)"
    dry = decided(OVERRIDE, mode="dry-run")
    (line,) = overrides_lines([dry], states_of(dry, acted("would-announce", "r1"), acted("would-announce", "r2")))
    assert line == "rhv1000: mode dry-run, so nothing is announced; overrides: 1 with 1.50 Gb/s (1 would-announce)"


def test_at_60_columns_every_line_fits_and_nothing_is_cut() -> None:
    """Newcomer's terminal: nine columns of three letters each were unreadable."""
    decision = decided(OVERRIDE, SMALL)
    shown = text(overrides_table([decision], states_of(decision)), 60)
    assert max(map(len, shown.splitlines())) <= 60
    joined = " ".join(shown.split())
    for words in ("20.0.0.0/24 load 1.50 Gb/s, state decided", "next hop 198.51.100.2", f"instead of {LINK}"):
        assert words in joined
    shown = text(links_table(by_link(window(T0, carried=0.95, natural=1.2)), T0 + 15), 60)
    assert max(map(len, shown.splitlines())) <= 60
    assert "carried 95.0%, dropped 0.0%, natural 120.0%" in " ".join(shown.split())
    assert len(shown.splitlines()) <= 4


def test_the_fullest_link_comes_first_and_an_unknown_one_last() -> None:
    rows = [window(T0, ROOMY, carried=0.2, natural=0.3), window(T0, carried=0.5, natural=0.9)]
    shown = text(links_table(by_link(*rows), T0 + 15))
    assert shown.index(LINK) < shown.index(ROOMY)


def test_capacities_of_small_networks() -> None:
    row = msgspec.structs.replace(window(T0), capacity_bps=40e6, carried_bps=22e6, moved_in_bps=350e3)
    shown = text(links_table(by_link(row), T0 + 15))
    for words in ("40.0 Mb/s", "55.0%", "350 kb/s"):
        assert words in shown


def test_what_a_silent_link_carries_is_unknown() -> None:
    silent = msgspec.structs.replace(window(T0), feed="silent", carried_bps=None, dropped_bps=None, moved_in_bps=None)
    shown = text(links_table(by_link(silent), T0 + 15))
    assert shown.count("unknown") == 3
    assert "50.0%" in shown


def test_a_feed_is_told_until_nobody_tells_any_more() -> None:
    row = msgspec.structs.replace(window(T0, carried=0.95, natural=1.2), feed="untrusted")
    end_s = row.window_start.timestamp() + row.window_s
    assert feed_of(row, end_s + 3 * row.window_s) == "untrusted"
    assert feed_of(row, end_s + 3 * row.window_s + 1) == "no window for 31 s"


def test_a_known_load_is_shown_without_a_capacity() -> None:
    row = msgspec.structs.replace(window(T0, carried=0.05), capacity_bps=None, dropped_bps=None)
    shown = text(links_table(by_link(row), T0 + 15))
    assert "5.00 Gb/s" in shown
    assert shown.count("unknown") == 2, "its capacity, and what it drops"


def test_a_link_that_is_down_is_not_live() -> None:
    assert feed_of(msgspec.structs.replace(window(T0), up=False), T0 + 15) == "down"


def test_a_link_without_a_window_has_a_row_of_unknowns() -> None:
    shown = text(links_table({LINK: None, ROOMY: window(T0, ROOMY)}, T0 + 15))
    assert shown.index(ROOMY) < shown.index(LINK)
    assert shown.count("unknown") == 6
    (document,) = link_documents({LINK: None}, Situation({}, {}, {"rhv1000": ()}))
    assert (document["link"], document["pop"], document["carried_bps"], document["notices"]) == (
        LINK,
        "rhv1000",
        None,
        [],
    )


def test_the_screen_shows_dead_collectors() -> None:
    screen = new_screen(ManualClock(T0 + 15.0))
    old = heard(T0 - 40, doubtful=True)
    screen.take(SOURCES.name, None, msgspec.json.encode(sources(T0, r1=old, r2=old)), T0)
    assert "mpd writes nothing" not in text(screen.view())
    screen.take_silent(frozenset({"bmp-rhv1000"}))
    assert "pmbmpd writes nothing to bmp-rhv1000" in text(screen.view())
    screen.take_silent(frozenset({"sfacctd-flows-rhv1000"}))
    assert "sfacctd writes nothing to sfacctd-flows-rhv1000" in text(screen.view())


def test_a_halt_says_who_and_since_when() -> None:
    (line,) = halt_lines({"rhv1000": HALT})
    assert line.startswith(f"rhv1000 was halted by ada at {HALT.at:%Y-%m-%d %H:%M:%S} UTC: no override")
    (line,) = halt_lines({"rhv1000": msgspec.structs.replace(HALT, reason="RFO 4711")})
    assert "UTC (RFO 4711): no override" in line
    row = window(T0, carried=0.95, natural=1.2)
    (document,) = link_documents(by_link(row), Situation({"rhv1000": HALT}, {}, {"rhv1000": ()}))
    assert (document["halted"], document["notices"]) == (HALT, [])
    assert link_documents(by_link(row), Situation({}, {}, {"rhv1000": ()}))[0]["halted"] is None


def test_notices_come_before_tables_and_with_what_they_are_of() -> None:
    of_pop, of_router, of_other, of_link = (
        Notice(kind, where, "is wrong")
        for kind, where in (("a", "rhv1000"), ("b", "r1"), ("c", "r2"), ("capacity-differs", LINK))
    )
    now = Situation({"rhv1000": HALT}, {}, {"rhv1000": (of_pop, of_router, of_other, of_link)})
    places = ("rhv1000", "rhv1000: r1", "rhv1000: r2", LINK)
    assert now.lines()[1:] == [f"{place}: is wrong" for place in places]
    (document,) = link_documents(by_link(window(T0)), now)
    assert document["notices"] == [of_pop, of_router, of_link]
    decision = decided(OVERRIDE)
    (document,) = decision_documents([decision], states_of(decision), now)
    assert document["notices"] == (of_pop, of_router, of_other, of_link)
    assert document["states"] == {OVERRIDE.prefix: OverrideState("decided", None, {})}


def test_the_screen_follows_halts_and_ages() -> None:
    clock = ManualClock(T0 + 15.0)
    screen = new_screen(clock)
    screen.take(LINK_UTILIZATION.name, None, msgspec.json.encode(window(T0, carried=0.95, natural=1.2)), T0)
    screen.take(CONTROL.name, b"*", msgspec.json.encode(HALT), T0)
    shown = text(screen.view())
    assert "was halted by" in shown
    assert "live" in shown
    screen.take(CONTROL.name, b"*", msgspec.json.encode(msgspec.structs.replace(HALT, halt=False)), T0)
    screen.take(DECISIONS.for_pop("rhv1000"), None, msgspec.json.encode(decided(OVERRIDE)), T0)
    screen.take(ACTUATOR_STATUS.name, None, msgspec.json.encode(status(T0 + 15)), T0)
    screen.take(ACTUATIONS.name, None, msgspec.json.encode(acted("refused", "r1", reason="speaker-unreachable")), T0)
    shown = text(screen.view())
    assert "was halted by" not in shown
    assert "actuator" not in shown
    assert "refused: speaker-unreachable" in shown
    clock.advance(600)
    shown = text(screen.view())
    assert "no window for" in shown
    assert f"The actuator has not been heard since {utc(T0 + 15):%Y-%m-%d %H:%M:%S} UTC" in shown
