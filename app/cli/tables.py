"""Tables that stay readable: where a terminal is too narrow for the columns, each row becomes a few lines."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

FOLDED = 24  # characters that the last column, mostly a reason, needs at least


class Listing:
    """A table of text, whose last column may fold.

    Where that is still too wide for the terminal it is a list: the first column, and below it "name value" pairs.
    """

    def __init__(self, *names: str, title: str | None = None, right: tuple[str, ...] = ()) -> None:
        """`right` are the columns of figures, which are aligned on the right."""
        self.names = names
        self.rows: list[tuple[str, ...]] = []
        self._title = title
        self._right = right

    def add_row(self, *values: str) -> None:
        """Add a row with one value a column."""
        assert len(values) == len(self.names), f"{len(values)} values for {len(self.names)} columns"
        self.rows.append(values)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = self._table()
        last = max(len(text) for text in (self.names[-1], *(row[-1] for row in self.rows)))
        needed = Measurement.get(console, options.update(max_width=10_000), table).maximum
        if needed - max(0, last - FOLDED) <= options.max_width:
            yield table
        else:
            yield from self._list()

    def _table(self) -> Table:
        table = Table(title=self._title, title_justify="left")
        for name in self.names:
            is_last = name == self.names[-1]
            table.add_column(
                name, justify="right" if name in self._right else "left", no_wrap=not is_last, overflow="fold"
            )
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def _list(self) -> Iterator[RenderableType]:
        if self._title:
            yield Text(self._title, style="italic")
        for first, *values in self.rows:
            yield Text(first, overflow="fold")
            pairs = [f"{name} {value}" for name, value in zip(self.names[1:], values, strict=True) if value]
            yield Padding(Text(", ".join(pairs), overflow="fold"), (0, 0, 0, 2))
