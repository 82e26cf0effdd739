"""The servers of all processes against who should not be let in, who never finishes, and who takes too much."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from app import view
from app.clock import SystemClock
from app.config.http_settings import Http
from app.config.settings import load
from app.lab.daemons.ports import free_port
from app.view import View, serve
from app.web import server
from app.web.hub import PAGES_MAX
from app.web.pages import STATIC
from app.web.server import CONNECTIONS_MAX, HEADERS_MAX, LINE_MAX_BYTES, HttpServer
from app.web.state_server import StateServer
from tests.http_attack import HALF, HOST, STREAM, Client, asked, connected, crowd, drip, get, status, unreading
from tests.patience import PATIENCE_S
from tests.pops import INVENTORY

HALF_REQUESTS, STREAMS = 1100, 200
GET, LARGE_BYTES = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 30_000_000
NAME = "autopilot.example.net"
VIEW = "view"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that waits for nobody."""
    for name in ("REQUEST_WITHIN_S", "BODY_WITHIN_S", "ANSWER_WITHIN_S"):
        monkeypatch.setattr(server, name, 0.3)


@pytest.fixture(params=["worker", VIEW])
def process(request: pytest.FixtureRequest) -> str:
    """Telemetry and actuator have the same server."""
    return str(request.param)


@pytest_asyncio.fixture
async def port(process: str, tmp_path: Path) -> AsyncIterator[int]:
    """The port of a server that runs as in its process."""
    port = free_port()
    (tmp_path / "rhv1000.toml").write_text(INVENTORY.read_text())
    path = tmp_path / "autopilot.toml"
    more = f'[kafka]\nbroker = "{HOST}:1"\n[http]\nallowed_hosts = ["{NAME}"]'
    path.write_text(f'pops = ["rhv1000.toml"]\n{more}')
    deployment = load(path, {})
    if process == VIEW:
        serving = asyncio.create_task(serve(View(deployment, SystemClock()), HOST, port))
        await reached(port)
        yield port
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    else:
        state = StateServer({"progress": dict}, deployment.settings.http, port, "state_port")
        await state.start()
        yield port
        await state.stop()


async def reached(port: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(OSError):
                client = await connected(port)
                return client.close()
            await asyncio.sleep(0.02)


async def left_open(clients: list[Client]) -> int:
    """How many of these connections the server keeps."""
    return sum(not closed for closed in await asyncio.gather(*(client.is_closed() for client in clients)))


def connections_max(process: str) -> int:
    return view.CONNECTIONS_MAX if process == VIEW else CONNECTIONS_MAX


async def test_among_1100_half_requests_whoever_asks_at_once_is_answered(port: int, process: str) -> None:
    async with crowd(port, HALF_REQUESTS, HALF) as clients:
        assert [await get(port, "/healthz") for _ in range(20)] == [200] * 20
        assert 0 < await left_open([*clients]) <= connections_max(process)
        late = [status(await asked(port, HALF + b"Connection: close\r\n\r\n")) for _ in range(5)]
        assert late == [200] * 5


async def test_200_streams_leave_room_for_others(port: int, process: str) -> None:
    async with crowd(port, STREAMS, STREAM) as clients:
        heads = await asyncio.gather(*(client.reader.readuntil(b"\r\n\r\n") for client in clients))
        served = sum(status(head) == 200 for head in heads)
        assert served == (PAGES_MAX if process == VIEW else 0)
        assert {status(head) for head in heads} == ({200, 503} if process == VIEW else {404})
        assert [await get(port, "/healthz") for _ in range(20)] == [200] * 20


@pytest.mark.parametrize("process", [VIEW])
async def test_every_file_of_the_page_is_sent_without_an_error(port: int, caplog: pytest.LogCaptureFixture) -> None:
    health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for path in filter(Path.is_file, STATIC.rglob("*")):
        answer = await asked(port, GET.replace(b"/", f"/static/{path.relative_to(STATIC)}".encode(), 1) + health)
        file, next_ = answer.split(path.read_bytes())
        assert (status(file), status(next_)) == (200, 200)
    assert [record for record in caplog.records if record.name == "aiohttp.server"] == []


@pytest.mark.parametrize(
    "name", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "10.0.0.1", "[::2]", "-"]
)
@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/events", "/state/progress", "/nowhere"])
async def test_who_asks_for_another_host_is_told_so(port: int, name: str, path: str) -> None:
    for host in (name, f"{name}:{port}"):
        answer = await asked(port, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert status(answer) == 421
        assert b"http.allowed_hosts" in answer


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "localhost.", NAME, NAME.upper()])
async def test_our_own_names_are_answered(port: int, name: str) -> None:
    assert [await get(port, "/healthz", host) for host in (name, f"{name}:{port}")] == [200, 200]


async def test_the_address_that_a_request_comes_to_is_a_name_of_ours() -> None:
    async with listening(web.Application(), "0.0.0.0") as port:
        for address in ("127.0.0.1", "127.0.0.77"):
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(f"GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
            assert status(await reader.read()) == 404
            writer.close()
        assert await get(port, "/", "127.0.0.77") == 421, "it came to another"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"x" * LINE_MAX_BYTES + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * (LINE_MAX_BYTES + 1) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * HEADERS_MAX + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 1_000_000,
        b"GET /" + b"x" * 1_000_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01" + bytes(200),
    ],
    ids=["line", "header", "headers", "endless header", "endless line", "two hosts", "tls"],
)
async def test_what_is_too_large_or_no_request_is_refused_and_closed(port: int, request_: bytes) -> None:
    async with asyncio.timeout(PATIENCE_S):
        assert status(await asked(port, request_)) in (400, 431, 0), "0: it was closed while we still sent"
    assert await get(port, "/healthz") == 200


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("length", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
async def test_a_body_is_refused_and_not_waited_for(port: int, length: str) -> None:
    client = await connected(port, f"POST /healthz HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode())
    dripping = asyncio.create_task(drip(client, b"7" * 100_000, 0.05))
    async with asyncio.timeout(PATIENCE_S):
        assert status(await client.rest()) == 413
    dripping.cancel()
    client.close()


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("begin", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"], ids=["first", "second"])
async def test_a_request_that_comes_byte_by_byte_is_not_waited_for(port: int, begin: bytes) -> None:
    client = await connected(port, begin)
    dripping = asyncio.create_task(drip(client, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 100_000, 0.05))
    async with asyncio.timeout(PATIENCE_S):
        assert status(await client.rest()) == (200 if begin else 0)
    dripping.cancel()
    client.close()


@contextlib.asynccontextmanager
async def listening(app: web.Application, host: str = HOST, connections: int = 2) -> AsyncIterator[int]:
    made, port = HttpServer(app, Http(), connections), free_port()
    await made.start(host, port)
    try:
        yield port
    finally:
        await made.stop()


def large_answers() -> web.Application:
    app = web.Application()

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=bytes(LARGE_BYTES))

    app.router.add_get("/", large)
    return app


@pytest.mark.usefixtures("hasty")
async def test_an_answer_that_is_read_too_slowly_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    size = 0
    async with asyncio.timeout(PATIENCE_S), listening(large_answers()) as port:
        client = await connected(port, GET)
        with contextlib.suppress(ConnectionError):
            while more := await client.reader.read(1 << 16):
                size += len(more)
                await asyncio.sleep(0.02)
        client.close()
    assert size < LARGE_BYTES
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


async def test_who_does_not_read_makes_room() -> None:
    """The time to read an answer is not over yet, but a probe is answered all the same, and so is whoever reads."""
    async with asyncio.timeout(PATIENCE_S), listening(large_answers()) as port:
        with unreading(port, 2, GET) as clients:
            for client in clients:
                await asyncio.get_running_loop().sock_recv(client, 1)  # it is being answered
            assert [await get(port, "/nowhere") for _ in range(20)] == [404] * 20
        answer = await asked(port, GET[:-2] + b"Connection: close\r\n\r\n")
        assert len(answer) > LARGE_BYTES


async def test_when_all_are_being_answered_a_new_one_is_closed() -> None:
    app, started, done = web.Application(), asyncio.Semaphore(0), asyncio.Event()

    async def long(_: web.Request) -> web.Response:
        started.release()
        await done.wait()
        return web.Response()

    app.router.add_get("/", long)
    async with asyncio.timeout(PATIENCE_S), listening(app) as port:
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answers = [asyncio.create_task(asked(port, request)) for _ in range(2)]
        for _ in answers:
            await started.acquire()
        assert await asked(port, request) == b""
        done.set()
        assert [status(answer) for answer in await asyncio.gather(*answers)] == [200, 200]
        assert await get(port, "/") == 200
