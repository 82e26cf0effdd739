"""SIGKILL of the command leaves nothing behind: no daemon, no pmacct plugin or writer, no helper of ExaBGP."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.bgp import eventually
from tests.integration.conftest import INVENTORY
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("daemons")]

# sfacctd's writer of the moment tries for some seconds to reach a broker that is gone.


def children() -> dict[int, list[int]]:
    """Living processes by parent."""
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            found.setdefault(int(parent), []).append(int(stat.parent.name))
    return found


def descendants(pid: int, of: dict[int, list[int]]) -> Iterator[int]:
    for child in of.get(pid, ()):
        yield child
        yield from descendants(child, of)


async def test_sigkill_of_the_parent_ends_all() -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.hold_stack"),
        cwd=INVENTORY.parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    run_dir = (await parent.stdout.readline()).decode().strip()
    family = set(descendants(parent.pid, children()))
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in family}
    assert {"java", "bgpd", "gobgpd", "exabgp", "sfacctd", "pmbmpd", "cat"} <= names

    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()

    async def all_gone() -> bool:
        alive = {pid for pids in children().values() for pid in pids}
        return not family & alive

    await eventually(all_gone, PATIENCE_S)
    shutil.rmtree(run_dir)
