"""The read-only state server."""

import asyncio
import socket

import msgspec
import pytest
from aiohttp import ClientError, ClientSession
from aiohttp.test_utils import TestClient, TestServer

from app.config.http_settings import Http
from app.web import state_server
from app.web.state_server import HOST, StateServer, make_web
from tests.patience import PATIENCE_S


class Row(msgspec.Struct):
    bytes_: int = msgspec.field(name="bytes", default=7)


async def test_state_health_and_metrics_are_served_and_nothing_can_be_changed() -> None:
    async with TestClient(TestServer(make_web({"progress": lambda: {"rhv1000": Row()}}, {}))) as client:
        answer = await client.get("/state/progress")
        assert await answer.json() == {"rhv1000": {"bytes": 7}}
        assert (await client.get("/healthz")).status == 200
        assert "process_open_fds" in await (await client.get("/metrics")).text()
        assert (await client.post("/state/progress")).status == 405


async def test_an_unknown_state_names_the_known_ones() -> None:
    async with TestClient(TestServer(make_web({"progress": dict}, {}))) as client:
        answer = await client.get("/state/nothing")
        assert answer.status == 404
        assert "progress" in await answer.text()


async def test_answers_are_asked_with_a_slash_and_say_what_is_unknown() -> None:
    def explain(pop: str, what: str) -> object:
        if what != "20.0.0.0/24":
            raise LookupError(f"{pop} has no {what}")
        return {"pop": pop, "of": what}

    async with TestClient(TestServer(make_web({}, {"explain": explain}))) as client:
        answer = await client.get("/state/explain/rhv1000/20.0.0.0/24")
        assert await answer.json() == {"pop": "rhv1000", "of": "20.0.0.0/24"}
        unknown = await client.get("/state/explain/rhv1000/20.0.0.0/25")
        assert (unknown.status, await unknown.json()) == (404, {"error": "rhv1000 has no 20.0.0.0/25"})
        assert (await client.get("/state/foresee/rhv1000/x")).status == 404


async def test_probes_tell_recovery_from_death() -> None:
    recovering = (False, {"ready": False, "state": "recovering"})
    probes = {"/healthz": lambda: (True, {"ok": True}), "/readyz": lambda: recovering}
    async with TestClient(TestServer(make_web({}, {}, probes))) as client:
        alive, ready = await client.get("/healthz"), await client.get("/readyz")
        assert (alive.status, await alive.json()) == (200, {"ok": True})
        assert (ready.status, await ready.json()) == (503, recovering[1])
    async with TestClient(TestServer(make_web({}, {}))) as client:
        assert (await client.get("/readyz")).status == 404, "who does not know must not say so"


async def test_a_worker_whose_port_is_taken_says_which_key_and_runs_without_until_it_is_free(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_server, "RETRY_S", 0.05)
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        server = StateServer({}, Http(), port, "actuator_port")
        await server.start()
        assert f"actuator_port: {HOST}:{port} cannot be opened" in caplog.text
        assert server.started
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await answers(port):
                await asyncio.sleep(0.05)
    finally:
        await server.stop()


async def answers(port: int) -> bool:
    try:
        async with ClientSession() as session, session.get(f"http://{HOST}:{port}/healthz") as answer:
            return answer.status == 200
    except ClientError:
        return False
