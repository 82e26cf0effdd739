"""How commands print: text for people on stdout, errors on stderr, and one JSON document for programs."""

import io
import os
import sys
from collections.abc import Iterable

import click
import msgspec
from rich.console import Console

from app.cli.tables import Listing

PIPE_COLUMNS = 160
errors = Console(stderr=True, highlight=False)


def for_people() -> Console:
    """Return a console for plain text on stdout; it is wide in a pipe, so that tables keep their shape."""
    columns = os.environ.get("COLUMNS", "")
    asked = int(columns) if columns.isdecimal() else 0
    width = asked or (None if sys.stdout.isatty() else PIPE_COLUMNS)
    return Console(highlight=False, markup=False, width=width)


def print_table(lines: Iterable[str], table: Listing, empty: str) -> None:
    """Print what must be known before the table, then the table, or the text `empty` if it has no rows."""
    print_lines(lines)
    for_people().print(table if table.rows else empty, soft_wrap=not table.rows)


def print_lines(lines: Iterable[str]) -> None:
    """Print sentences for people, a line each however long it is."""
    console = for_people()
    for line in lines:
        console.print(line, soft_wrap=True)


def print_json(document: object) -> None:
    """Print a document as one line of JSON on stdout, in UTF-8 whatever the locale."""
    click.echo(msgspec.json.encode(document))


def print_what_can_be_printed() -> None:
    """Let a letter that the locale lacks be printed as a question mark; it would end the command otherwise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def print_error(message: str, problems: list[str]) -> None:
    """Print an error as a document; `problems` are the mistakes of a configuration one by one."""
    print_json({"ok": False, "error": message, "problems": problems})
