"""How commands print: text for people on stdout, errors on stderr, and one JSON document for programs."""

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
    limited = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, markup=False, width=None if limited else PIPE_COLUMNS)


def print_table(lines: Iterable[str], table: Listing, empty: str) -> None:
    """Print what must be known before the table, then the table, or the text `empty` if it has no rows."""
    console = for_people()
    for line in lines:
        console.print(line, soft_wrap=True)
    console.print(table if table.rows else empty, soft_wrap=not table.rows)


def print_json(document: object) -> None:
    """Print a document as one line of JSON on stdout."""
    click.echo(msgspec.json.encode(document).decode())


def print_error(message: str, problems: list[str]) -> None:
    """Print an error as a document; `problems` are the mistakes of a configuration one by one."""
    print_json({"ok": False, "error": message, "problems": problems})
