"""A real worker whose port is full of requests that nobody finishes: its files are for its broker and its tables."""

import asyncio
import resource
from pathlib import Path

import pytest

from app.lab.daemons.ports import free_port
from app.web.server import CONNECTIONS_MAX
from tests.http_attack import HALF, STREAM, crowd
from tests.integration.sums_rig import Worker, sums_rig

pytestmark = [pytest.mark.services]

HALF_REQUESTS, STREAMS, ROUNDS = 1100, 200, 5
TAKEN_UP = 64  # more than may be open before they are counted
NEEDED = 20  # by the worker itself, for what it opens meanwhile


def files(worker: Worker) -> int:
    return len(list(Path(f"/proc/{worker.process.pid}/fd").iterdir()))


async def test_a_thousand_half_requests_take_no_file_that_the_worker_needs(daemons: None, tmp_path: Path) -> None:
    async with sums_rig(tmp_path) as rig:
        rig.begin()
        worker = await rig.start("a", state_port=free_port())
        await worker.is_in("running")
        most = before = files(worker)
        limit = before + CONNECTIONS_MAX + TAKEN_UP + NEEDED
        resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        for _ in range(ROUNDS):
            async with crowd(worker.state_port, HALF_REQUESTS, HALF), crowd(worker.state_port, STREAMS, STREAM):
                for _ in range(10):
                    most = max(most, files(worker))
                    assert (await worker.probe("/healthz"))[0] == 200
                    await asyncio.sleep(0.05)
        assert before < most < limit - NEEDED / 2
        await rig.finish()
        assert await rig.exact()
        assert worker.process.returncode is None
        assert "Too many open files" not in worker.told()
