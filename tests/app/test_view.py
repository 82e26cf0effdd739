"""The composition root of the view: it serves whatever the broker does, and says which port it cannot have."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from app.clock import ManualClock, SystemClock, utc
from app.config.settings import Deployment, load
from app.contract import topics
from app.contract.schemas import LinkUtilization
from app.errors import EnvironmentProblem
from app.lab.daemons.ports import free_port
from app.view import View, serve
from tests.app.web.records import decision, window
from tests.patience import PATIENCE_S
from tests.pops import INVENTORY

T0 = 1_700_000_000


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """One whose broker is not there."""
    (tmp_path / "rhv1000.toml").write_text(INVENTORY.read_text())
    path = tmp_path / "autopilot.toml"
    path.write_text(f'pops = ["rhv1000.toml"]\n[kafka]\nbroker = "127.0.0.1:{free_port()}"')
    return load(path, {})


@pytest_asyncio.fixture
async def url(deployment: Deployment) -> AsyncIterator[str]:
    port = free_port()
    serving = asyncio.create_task(serve(View(deployment, SystemClock()), "127.0.0.1", port))
    async with asyncio.timeout(PATIENCE_S):
        while not await answers(port):
            await asyncio.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_without_a_broker_it_serves_what_it_has(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/healthz") as response:
            assert await response.json() == {"ok": True, "caught_up": False, "unreadable_records": {}}
        async with session.get(f"{url}/api/links") as response:
            assert {view["feed"] for view in await response.json()} == {None}
        async with session.get(f"{url}/api/overrides") as response:
            assert await response.json() is None
        async with session.get(f"{url}/metrics") as response:
            assert "autopilot_view_pages 0.0" in await response.text()


async def test_a_port_that_is_taken_is_named(deployment: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"127.0.0.1:{port}: .*view_port"):
            await serve(View(deployment, SystemClock()), "127.0.0.1", port)


def test_what_cannot_be_used_is_counted_and_changes_nothing(deployment: Deployment) -> None:
    """A window or an epoch of the far future would make every real one look old."""
    clock = ManualClock(T0 + 15)
    view = View(deployment, clock)
    windows, decisions = topics.LINK_UTILIZATION.name, topics.DECISIONS.for_pop("rhv1000")
    good, later = window(T0), window(T0 + 10)
    ahead = msgspec.structs.replace(good, window_start=utc(T0 + 86_400))
    for offset, record in enumerate((good, ahead, b"\xe9", b"", None, later)):
        value = msgspec.json.encode(record) if isinstance(record, LinkUtilization) else record
        view._reader._take(windows, offset, b"rhv1000", value, T0)
    view._reader._take(decisions, 0, b"rhv1000", msgspec.json.encode(decision(1, T0, epoch=T0 + 86_400)), T0)
    view._reader._take(topics.CONTROL.name, 0, b"harmless", b'{"pop": "*"}', T0)
    (model,) = view._models.values()
    shown = model.links(clock.now_s())[0].window
    assert shown == later
    assert model.overrides() is None
    assert view.health() == {
        "ok": True,
        "caught_up": False,
        "unreadable_records": {windows: 3, decisions: 1, topics.CONTROL.name: 1},
    }
