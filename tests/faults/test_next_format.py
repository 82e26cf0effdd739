"""The next version of the rows: that it can be started, and that it reads and writes what it says."""

import subprocess
import sys
from unittest.mock import patch

import msgspec
import pytest

from app.errors import RowFormatError
from tables.congestion import open_congestion
from tables.interfaces import open_interfaces
from tables.link_windows import open_link_windows
from tables.rib import open_rib
from tables.store import Rows
from tests.faults.next_format import begin
from tests.tables.memory import memory_table


class Row(msgspec.Struct):
    applied: int


def test_the_worker_of_the_next_version_starts() -> None:
    ran = subprocess.run([sys.executable, "-m", "tests.faults.next_format", "--help"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "telemetry" in ran.stdout


def test_it_opens_every_table_of_ours() -> None:
    """With whatever each of them says of its rows."""
    with patch.object(Rows, "__init__", begin):
        for open_table in (open_rib, open_interfaces, open_link_windows, open_congestion):
            open_table(memory_table)


def test_it_reads_the_rows_of_today_and_writes_none_that_today_reads() -> None:
    table = memory_table("sums")
    today = Rows(table, Row)
    today.put("a", Row(1))
    with patch.object(Rows, "__init__", begin):
        following = Rows(table, Row)
    assert following.get("a") == Row(1)
    following.touch("a")
    assert following.get("a") == Row(1)
    with pytest.raises(RowFormatError):
        today.get("a")
