"""The routes: JSON, the stream, headers on every answer, and nothing that changes anything."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from app.clock import ManualClock
from app.config.http_settings import Http
from app.web import pages
from app.web.hub import PAGES_MAX, Hub
from app.web.pages import encode_update, make_site
from app.web.pop_model import PopModel
from tests.app.web.records import FULL, POP, PREFIX, WINDOW_S, decision, override, window
from tests.patience import PATIENCE_S
from tests.pops import demo_pop

T0 = 1_700_000_000
Client = TestClient[Any, Any]


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def model() -> PopModel:
    model = PopModel(demo_pop(), WINDOW_S, 0.9, [POP])
    model.take_window(window(T0, carried=0.75))
    model.take_decision(decision(1, T0, overrides=(override(),)))
    return model


@pytest_asyncio.fixture
async def client(model: PopModel, hub: Hub) -> AsyncIterator[Client]:
    site = make_site({POP: model}, hub, ManualClock(T0 + 15), lambda: {"ok": True, "caught_up": True}, Http())
    async with TestClient(TestServer(site)) as client:
        yield client


async def message(stream: ClientResponse) -> dict[str, Any]:
    """The next update of a stream."""
    async with asyncio.timeout(PATIENCE_S):
        line = await stream.content.readuntil(b"\n\n")
    document: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
    return document


async def test_links_overrides_and_decisions_as_json(client: Client) -> None:
    links = await (await client.get("/api/links")).json()
    assert [(view["link"], view["feed"]) for view in links][:2] == [(FULL, "live"), ("rhv1000/r1/et-0/0/2", None)]
    assert links[0]["window"]["carried_bps"] == 75e9
    overrides = await (await client.get("/api/overrides?pop=rhv1000")).json()
    assert overrides["overrides"][0]["override"]["prefix"] == PREFIX
    pop = await (await client.get("/api/pop")).json()
    assert (pop["halted"], pop["quiet"], pop["egress_mismatch_share"]) == (None, False, None)
    decisions = await (await client.get("/api/decisions")).json()
    assert [(view["seq"], view["overrides"]) for view in decisions] == [(1, 1)]


async def test_it_says_that_it_is_well(client: Client) -> None:
    assert await (await client.get("/healthz")).json() == {"ok": True, "caught_up": True}


@pytest.mark.parametrize("path", ["/api/pop", "/api/links", "/api/overrides", "/api/decisions", "/events"])
async def test_an_unknown_pop_is_not_found(client: Client, path: str) -> None:
    response = await client.get(path, params={"pop": "ams9"})
    assert response.status == 404
    assert "known: rhv1000" in await response.text()


@pytest.mark.parametrize(
    "path", ["/", "/api/links", "/healthz", "/static/view.js", "/static/vendor/uPlot.min.css", "/nowhere", "/events"]
)
async def test_every_answer_is_hardened(client: Client, path: str) -> None:
    async with client.get(path) as response:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/api/links", "/api/overrides", "/api/decisions", "/events", "/static/view.js"])
async def test_nothing_can_be_changed(client: Client, method: str, path: str) -> None:
    response = await client.request(method, path)
    assert response.status == 405


async def test_files_outside_the_static_folder_are_not_served(client: Client) -> None:
    response = await client.get("/static/%2e%2e/pages.py")
    assert response.status in (403, 404)


async def test_the_stream_begins_with_everything_and_follows(client: Client, model: PopModel, hub: Hub) -> None:
    async with client.get("/events") as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        first = await message(stream)
        assert first["full"]
        assert first["pops"] == [POP]
        assert first["windows"][FULL] == [[T0 + WINDOW_S, 100e9, 75e9, 0.0, 50e9]]
        model.changes(T0 + 16)
        model.take_window(window(T0 + WINDOW_S, carried=0.8))
        hub.tell(POP, encode_update(model.changes(T0 + 26)))
        second = await message(stream)
        assert "full" not in second
        assert second["windows"] == {FULL: [[T0 + 2 * WINDOW_S, 100e9, 80e9, 0.0, 50e9]]}


async def test_a_stream_ends_so_that_whoever_follows_it_is_asked_again(
    client: Client, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "STREAM_S", 0.01)
    async with asyncio.timeout(PATIENCE_S), client.get("/events") as stream:
        assert (await stream.content.read()).endswith(b"\n\n")
    assert hub.open_pages == 0


async def test_pages_beyond_the_bound_are_refused(client: Client, hub: Hub) -> None:
    with ExitStack() as opened:
        for _ in range(PAGES_MAX):
            opened.enter_context(hub.page(POP, bytes))
        response = await client.get("/events")
        assert response.status == 503
