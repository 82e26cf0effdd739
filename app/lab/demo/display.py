"""What the demo shows on stderr while it runs: a live table on a terminal, elsewhere a line every 10 s."""

from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.lab.demo.bounds import FigureValue
from app.lab.demo.labels import groups, verdict
from app.lab.pop.report import LinkSnapshot, Snapshot

NOTES = 4
BAR_WIDTH = 30
FULL = 0.9
LINE_EVERY_S = 10


class Display:
    """Shows the simulator's truth as it changes, with notes on what is happening."""

    def __init__(self, live: bool) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=4) if live else None
        self._notes: list[str] = []
        self._snapshot: Snapshot | None = None

    def __enter__(self) -> Self:
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.__exit__(kind, error, trace)

    def note(self, line: str) -> None:
        """Show an event of this moment; the live table keeps the last few below it."""
        self._notes = [*self._notes, line][-NOTES:]
        if self._live:
            self._live.update(self._view())
        else:
            self._console.print(line, markup=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """Print a line that stays in sight, above the live table."""
        self._console.print(line, markup=False, soft_wrap=True)

    def tick(self, snapshot: Snapshot) -> None:
        """Show the state after another second of traffic."""
        self._snapshot = snapshot
        if self._live:
            self._live.update(self._view())
        elif int(snapshot.at_s) % LINE_EVERY_S == 0:
            self._console.print(_line(snapshot), markup=False, soft_wrap=True)

    def summary(self, document: dict[str, FigureValue]) -> None:
        """Print the figures of the whole run as tables on stdout, then the verdict."""
        console = Console(highlight=False)
        for title, rows in groups(document):
            table = Table(title=title, title_justify="left", show_header=False)
            for row in rows:
                table.add_row(*row)
            console.print(table)
        for line in verdict(document):
            console.print(line, markup=False)

    def _view(self) -> Group:
        notes = Text("\n".join(self._notes), style="dim")
        return Group(_table(self._snapshot), notes) if self._snapshot else Group(notes)


def now(snapshot: Snapshot) -> str:
    """One sentence on what is happening in this second."""
    if dropping := [link for link in snapshot.links if link.dropped > 0]:
        worst = max(dropping, key=lambda link: link.dropped)
        return f"{_short(worst)} is full and drops traffic worth {worst.dropped:.0%} of its capacity"
    if relieved := [link for link in snapshot.links if link.natural > FULL]:
        worst = max(relieved, key=lambda link: link.natural)
        outcome = (
            f"with {_overrides(snapshot)} it is at {worst.carried:.0%}" if snapshot.overrides else "no override yet"
        )
        if worst.carried >= 1:
            outcome = f"it is full, with {_overrides(snapshot)}"
        return f"plain BGP would put {worst.natural:.0%} on {_short(worst)}; {outcome}"
    return f"no link needs relief; {_overrides(snapshot)} still to take back" if snapshot.overrides else "calm"


def _overrides(snapshot: Snapshot) -> str:
    return f"{snapshot.overrides} override{'' if snapshot.overrides == 1 else 's'}"


def _line(snapshot: Snapshot) -> str:
    links = "  ".join(f"{_short(link)} {link.carried:.0%}" + _over(link) for link in snapshot.links)
    return f"{snapshot.at_s:4.0f} s  {links}  {_overrides(snapshot)}: {now(snapshot)}"


def _over(link: LinkSnapshot) -> str:
    return f" (drops {link.dropped:.0%})" if link.dropped > 0 else ""


def _table(snapshot: Snapshot) -> Table:
    table = Table("link", "carried", "", "dropped", "by plain BGP", title=f"{snapshot.at_s:.0f} s: {now(snapshot)}")
    for link in snapshot.links:
        style = "red" if link.dropped > 0 else "yellow" if link.carried >= 0.9 else "green"
        bar = Text(("#" * round(BAR_WIDTH * min(link.carried, 1.0))).ljust(BAR_WIDTH), style=style)
        table.add_row(_short(link), f"{link.carried:.0%}", bar, f"{link.dropped:.1%}", f"{link.natural:.0%}")
    return table


def _short(link: LinkSnapshot) -> str:
    return link.link.partition("/")[2]
