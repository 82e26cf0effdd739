"""The tables that people read."""

from rich.console import Console
from rich.table import Table

from app.clock import utc
from app.schemas import Decision, Exit, NaturalExit, Override, SourcePath
from app.show import links_table, overrides_table
from tests.app.demo.test_score import LINK, T0, window


def text(table: Table) -> str:
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_links_show_shares_of_capacity() -> None:
    shown = text(links_table([window(9.5e10, 1.2e11)]))
    assert LINK in shown
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
