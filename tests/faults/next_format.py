"""A worker of the next version, whose rows have another format: `python -m tests.faults.next_format`, then arguments.

It reads the rows of today's version and writes none of them any more.
"""

import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from app.cli.main import main
from tables import store
from tables.store import VERSION, ExactTable, Rows, decoder_of


def begin(
    rows: Rows[Any],
    table: ExactTable,
    kind: Any,
    applied: Callable[[Any], int] | None = None,
    version: int = VERSION,
    upgrade: object = None,
) -> None:
    """In place of `Rows.__init__`: the content is the same, only its version is not. What is older is not read."""
    _begin(rows, table, kind, applied, version + 1, decoder_of(kind).decode)


_begin = Rows.__init__

if __name__ == "__main__":
    with patch.object(store.Rows, "__init__", begin):
        main(["telemetry", *sys.argv[1:]])
