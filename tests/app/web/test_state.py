"""The read-only state server."""

import msgspec
from aiohttp.test_utils import TestClient, TestServer

from app.web.state import make_web


class Row(msgspec.Struct):
    bytes_: int = msgspec.field(name="bytes", default=7)


async def test_state_health_and_metrics_are_served_and_nothing_can_be_changed() -> None:
    async with TestClient(TestServer(make_web({"progress": lambda: {"rhv1000": Row()}}))) as client:
        answer = await client.get("/state/progress")
        assert await answer.json() == {"rhv1000": {"bytes": 7}}
        assert (await client.get("/healthz")).status == 200
        assert "process_open_fds" in await (await client.get("/metrics")).text()
        assert (await client.post("/state/progress")).status == 405


async def test_an_unknown_state_names_the_known_ones() -> None:
    async with TestClient(TestServer(make_web({"progress": dict}))) as client:
        answer = await client.get("/state/nothing")
        assert answer.status == 404
        assert "progress" in await answer.text()
