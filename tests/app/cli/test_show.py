"""The tables that people read."""

import msgspec
from rich.console import Console, RenderableType

from app.cli.show import feed_of, halt_lines, links_table, marked, overrides_table
from app.cli.watch import Screen
from app.clock import ManualClock, utc
from app.config.settings import Deployment, Settings
from app.contract.schemas import Control, Decision, Exit, NaturalExit, Override, SourcePath
from app.contract.topics import CONTROL, LINK_UTILIZATION
from tests.app.web.records import FULL as LINK
from tests.app.web.records import window
from tests.pops import demo_pop

T0 = 1_795_246_100
HALT = Control(pop="*", halt=True, by="ada", at=utc(T0))


def text(shown: RenderableType) -> str:
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        console.print(shown)
    return captured.get()


def test_links_show_shares_of_capacity() -> None:
    shown = text(links_table([window(T0, carried=0.95, natural=1.2)], T0 + 15))
    assert LINK in shown
    assert "live" in shown
    assert "95.0%" in shown
    assert "120.0%" in shown


def test_overrides_show_where_to_and_instead_of_what() -> None:
    override = Override(
        prefix="20.0.0.0/24",
        exit=Exit("r1", "rhv1000/r1/et-0/0/2", "127.0.0.32", "198.51.100.2"),
        inject_on=("r1", "r2"),
        natural=(NaturalExit("r1", LINK, 0.6), NaturalExit("r1", LINK, 0.4)),
        source_path=SourcePath((64602,), "igp"),
        bps=1.5e9,
        reason="congestion",
    )
    at = utc(T0)
    decision = Decision(
        pop="rhv1000", epoch=1, seq=1, mode="auto", window_start=at, made_at=at, add_until=at, hold_until=at,
        overrides=(override,),
    )  # fmt: skip
    shown = text(overrides_table([decision]))
    for word in ("20.0.0.0/24", "1.50", "198.51.100.2", LINK, "congestion"):
        assert word in shown
    assert shown.count(LINK) == 1


def test_what_a_silent_link_carries_is_unknown() -> None:
    silent = msgspec.structs.replace(window(T0, carried=0.0, natural=0.2), feed="silent")
    shown = text(links_table([silent], T0 + 15))
    assert shown.count("unknown") == 2
    assert "20.0%" in shown


def test_a_feed_is_told_until_nobody_tells_any_more() -> None:
    row = msgspec.structs.replace(window(T0, carried=0.95, natural=1.2), feed="untrusted")
    end_s = row.window_start.timestamp() + row.window_s
    assert feed_of(row, end_s + 3 * row.window_s) == "untrusted"
    assert feed_of(row, end_s + 3 * row.window_s + 1) == "no window for 31 s"


def test_a_halt_says_who_and_since_when() -> None:
    (line,) = halt_lines({"rhv1000": HALT})
    assert line.startswith(f"rhv1000 was halted by ada at {HALT.at:%Y-%m-%d %H:%M:%S} UTC")
    (document,) = marked([window(T0, carried=0.95, natural=1.2)], {"rhv1000": HALT})
    assert document["halted"] == HALT
    assert marked([window(T0, carried=0.95, natural=1.2)], {})[0]["halted"] is None


def test_the_screen_follows_halts_and_ages() -> None:
    clock = ManualClock(T0 + 15.0)
    screen = Screen(Deployment(Settings(pops=("rhv1000.toml",)), {"rhv1000": demo_pop()}), None, clock)
    screen.take(LINK_UTILIZATION.name, None, msgspec.json.encode(window(T0, carried=0.95, natural=1.2)))
    screen.take(CONTROL.name, b"*", msgspec.json.encode(HALT))
    shown = text(screen.view())
    assert "was halted by" in shown
    assert "live" in shown
    screen.take(CONTROL.name, b"*", msgspec.json.encode(msgspec.structs.replace(HALT, halt=False)))
    clock.advance(600)
    shown = text(screen.view())
    assert "was halted by" not in shown
    assert "no window for" in shown
