"""The HTTP server of every process: who may ask it, how long that may take, and how much of the process it may use.

Its connections are the least important ones that a process has: they may never take the file descriptors, the memory or
the time that the way to the broker needs. So there are few of them. One that waits for a request, or for the rest of
one, makes room for one that is new, and so does one that does not read its answer: whoever asks at once is answered,
even among a thousand who never finish.
"""

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import Iterator

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from app.config.http_settings import Http

CONNECTIONS_MAX = 64  # of a worker; the view has more
AT_ONCE = 8  # connections that are taken up in a turn of the event loop; five turns later their request is known
QUEUE = 4096  # connections that the kernel keeps until they are taken up; one beyond them tries again after 1 s
REQUEST_WITHIN_S = 10.0  # from the connection, or the last answer, to the end of the headers
ANSWER_WITHIN_S = 30.0  # for whoever reads an answer slowly
BODY_WITHIN_S = 1.0  # a body is not read, only waited for, so that its sender sees the answer
LINE_MAX_BYTES, HEADERS_MAX = 8190, 64  # of the request line and of each header, and how many of those
SHUTDOWN_S = 2.0
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


class HttpServer:
    """A server for this application, not started."""

    def __init__(self, app: web.Application, http: Http, connections_max: int = CONNECTIONS_MAX) -> None:
        app.middlewares.insert(0, self._guard())
        self._hosts = LOOPBACK | frozenset(http.allowed_hosts)
        self._connections_max = connections_max
        self._runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=REQUEST_WITHIN_S,
            lingering_time=BODY_WITHIN_S,
            max_line_size=LINE_MAX_BYTES,
            max_field_size=LINE_MAX_BYTES,
            max_headers=HEADERS_MAX,
            shutdown_timeout=SHUTDOWN_S,
        )
        # That wait for another request, for their first, and for their answer; the one that waits longest is the first.
        self._idle: dict[_Counted, None] = {}
        self._new: dict[_Counted, None] = {}
        self._asked: dict[_Counted, None] = {}
        self._unread: dict[_Counted, None] = {}  # of any of these, who have not read what was sent
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen, also under this name; OSError if the port cannot be opened, and then it may be tried again."""
        if self._runner.server is None:
            await self._runner.setup()
        protocol = self._runner.server
        assert protocol is not None, "it was set up"
        self._hosts |= {host.lower()}
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _Counted(self, protocol()), host, port, backlog=AT_ONCE)
        for each in self._listener.sockets:  # asyncio has one number for both
            with socket.socket(fileno=os.dup(each.fileno())) as same:
                same.listen(QUEUE)

    async def stop(self) -> None:
        """Close everything; answers that are on their way have SHUTDOWN_S."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    def opened(self, connection: "_Counted") -> None:
        """Make room for a new connection; if every other one is being answered and reads, it is the one that goes."""
        if len(self._idle) + len(self._new) + len(self._asked) >= self._connections_max:
            gone = next(iter(self._idle or self._new or self._unread), connection)
            self.closed(gone)
            gone.abort()
            if gone is connection:
                return
        self._new[connection] = None

    def closed(self, connection: "_Counted") -> None:
        """Forget a connection."""
        self._leave(connection)
        self._unread.pop(connection, None)

    def _leave(self, connection: "_Counted") -> None:
        for group in (self._idle, self._new, self._asked):
            group.pop(connection, None)

    def paused(self, connection: "_Counted") -> None:
        """Note that its buffers are full, until it is `resumed`."""
        if connection in self._asked:  # not closed meanwhile
            self._unread[connection] = None

    def resumed(self, connection: "_Counted") -> None:
        """Note that it reads again."""
        self._unread.pop(connection, None)

    @contextlib.contextmanager
    def _answering(self, connection: "_Counted") -> Iterator[None]:
        """While the block lasts the connection does not make room for another."""
        self._leave(connection)
        self._asked[connection] = None
        try:
            yield
        finally:
            if connection in self._asked:  # not closed meanwhile
                del self._asked[connection]
                self._idle[connection] = None

    def _guard(self) -> Middleware:
        """What every request passes before it is handled. An answer is sent here, because that takes time, too."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            transport = request.transport
            if transport is None:
                raise ConnectionResetError("it was closed before it was answered")
            connection = transport.get_protocol()
            assert isinstance(connection, _Counted), "made by start"
            with self._answering(connection):
                try:
                    response = self._refusal(request, transport) or await handler(request)
                except web.HTTPException as error:
                    await _send(request, error)
                    raise
                await _send(request, response)
                return response

        return guard

    def _refusal(self, request: web.Request, transport: asyncio.BaseTransport) -> web.Response | None:
        """Why this request is not handled at all."""
        host = re.sub(r":[0-9]*$", "", request.headers.get("Host", "")).strip("[]").lower().removesuffix(".")
        if host not in self._hosts and host != transport.get_extra_info("sockname")[0]:
            text = f"this server is not asked for as {host!r}: use its address, or write the name in http.allowed_hosts"
            return _refused(421, text)
        if request.body_exists:
            return _refused(413, "this server takes no body: leave it out")
        return None


class _Counted(asyncio.Protocol):
    """A connection as its server counts it; what it says goes to aiohttp."""

    def __init__(self, server: HttpServer, protocol: asyncio.Protocol) -> None:
        self._server, self._protocol = server, protocol
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._protocol.connection_made(transport)
        self._server.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.closed(self)
        self._protocol.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._server.paused(self)
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._server.resumed(self)
        self._protocol.resume_writing()

    def abort(self) -> None:
        """Close it now, without whatever was still to be sent."""
        assert self._transport is not None, "it was opened"
        self._transport.abort()


async def _send(request: web.Request, response: web.StreamResponse) -> None:
    """Send what was not sent yet. Whoever does not read it in time, or has gone, is sent nothing more."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await response.prepare(request)
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()


def _refused(status: int, text: str) -> web.Response:
    response = web.Response(status=status, text=f"{text}\n")
    response.force_close()
    return response
