"""The short fault suite: the real worker loses and doubles nothing."""

import asyncio
import json
import sys

import pytest

from tests.faults.rows import FAULTS

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("daemons")]

SHORT = {fault.name: fault.short_times for fault in FAULTS if fault.short_times}
FIGURES = ("bytes_lost", "bytes_doubled", "windows_wrong")


async def test_nothing_is_lost_and_nothing_is_doubled() -> None:
    only = [word for name in SHORT for word in ("--only", name)]
    argv = [sys.executable, "-m", "tests.faults", "--short", "--json", *only]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    rows = json.loads(out.splitlines()[-1])["faults"]
    assert {row["fault"]: [row[figure] for figure in FIGURES] for row in rows} == {name: [0, 0, 0] for name in SHORT}
    assert all(row["times"] >= SHORT[row["fault"]] and row["seconds_to_correct"] < 120 for row in rows)
    assert process.returncode == 0
