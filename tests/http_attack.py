"""Clients that no server likes: half requests, streams by the hundred, names that are not its own. On loopback only."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple

HOST = "127.0.0.1"
HALF = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"  # without the empty line at the end
STREAM = b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Client(NamedTuple):
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        """Close it at once."""
        self.writer.transport.abort()

    async def is_closed(self) -> bool:
        """Whether the server has closed it; what it said before is read and forgotten."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await self.rest()
                return True
        return False

    async def rest(self) -> bytes:
        """What the server says until it closes the connection."""
        said = bytearray()
        with contextlib.suppress(ConnectionError):
            while more := await self.reader.read(1 << 16):
                said += more
        return bytes(said)


async def connected(port: int, begin: bytes = b"") -> Client:
    client = Client(*await asyncio.open_connection(HOST, port))
    client.writer.write(begin)
    return client


@contextlib.asynccontextmanager
async def crowd(port: int, count: int, begin: bytes) -> AsyncIterator[Sequence[Client]]:
    """So many connections at once, each of which begins like this and then waits."""
    clients = await asyncio.gather(*(connected(port, begin) for _ in range(count)))
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


@contextlib.contextmanager
def unreading(port: int, count: int, begin: bytes) -> Iterator[Sequence[socket.socket]]:
    """So many connections, each of which asks like this and takes nothing of the answers."""
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(socket.socket()) for _ in range(count)]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((HOST, port))
            client.setblocking(False)
            with contextlib.suppress(OSError):  # it takes no more
                client.send(begin)
        yield clients


async def asked(port: int, request: bytes) -> bytes:
    """The whole answer to a request, until the server closes the connection."""
    client = await connected(port, request)
    try:
        return await client.rest()
    finally:
        client.close()


async def get(port: int, path: str, host: str = HOST) -> int:
    """The status of the answer."""
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    return status(await asked(port, head.encode()))


def status(answer: bytes) -> int:
    """The status of an answer, 0 for none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


async def drip(client: Client, request: bytes, every_s: float) -> None:
    """Send a request byte by byte, until the server has closed the connection."""
    for byte in request:
        if client.writer.transport.is_closing() or client.reader.at_eof():
            return
        client.writer.write(bytes([byte]))
        await asyncio.sleep(every_s)
