"""A small client of GoBGP 3 and 4 over gRPC. Every call but a watch has a deadline, which grows with its work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from app.bgp import calls
from app.bgp.calls import Deadline
from app.bgp.dialect import DIALECTS, Dialect
from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.speaker import InjectedRoute
from app.bgp.tls import Secured, Tls
from app.bgp.wire import FAMILIES, BestPath, RouteReader, SeenPath, announcement, changes, seen, withdrawal
from app.errors import SpeakerError
from app.tasks import is_cancelled

OPTIONS = (
    ("grpc.max_receive_message_length", calls.MESSAGE_MAX_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2000),  # how long one attempt may take: a busy host needs more than 100 ms
    ("grpc.max_reconnect_backoff_ms", 1000),  # the default grows to two minutes, too long after a gobgpd restart
)
GRACE_S = 5.0


class GobgpClient:
    """A client of the gobgpd at `target` (`unix:///path` or `host:port`), by mutual TLS if `tls` says how.

    It connects on first use, and asks the daemon which major version it is. Every method raises SpeakerError when its
    call fails. When a file of `tls` has changed, the next call makes another connection. What runs on the one before
    has GRACE_S to end; a watch is ended then, and has to be begun again.
    """

    def __init__(self, target: str, deadline: Deadline = calls.DEADLINE, tls: Tls | None = None) -> None:
        self.target = target
        self._deadline = deadline
        self._tls = tls
        self._secured: Secured | None = None
        self._channel = None if tls else grpc.aio.insecure_channel(target, options=OPTIONS)
        self._closing: set[asyncio.Task[None]] = set()
        self._dialect: Dialect | None = None

    def channel(self) -> grpc.aio.Channel:
        """The connection for the next call."""
        if self._tls is not None and (secured := self._tls.current()) is not self._secured:
            if self._channel is not None:
                closing = asyncio.create_task(self._channel.close(GRACE_S))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
            self._channel = grpc.aio.secure_channel(self.target, _credentials(secured), options=OPTIONS)
            self._secured = secured
        assert self._channel is not None, "made above or at first"
        return self._channel

    async def global_config(self) -> pb.Global:
        """Return the daemon's AS and router id; SpeakerError if it is neither GoBGP 3 nor 4."""
        for dialect in DIALECTS:
            get = self.channel().unary_unary(*calls.method(dialect, "GetBgp"))
            try:
                with answering(self.target, "GetBgp"):
                    answer: pb.GetBgpResponse = await get(pb.GetBgpRequest(), timeout=self._deadline.of())
            except SpeakerError as error:
                if not _is_unknown_call(error) or dialect is DIALECTS[-1]:
                    raise
            else:
                self._dialect = dialect
                break
        return answer.config

    async def dialect(self) -> Dialect:
        """Return how this daemon speaks: it is asked at first, and again after a call that it did not know."""
        if self._dialect is None:
            await self.global_config()
        assert self._dialect is not None
        return self._dialect

    async def routes(self, reader: RouteReader) -> dict[str, InjectedRoute]:
        """Return the routes that the reader finds, by prefix."""
        dialect = await self.dialect()
        paths = 0
        for request in calls.size_requests(dialect):
            paths += (await self._ask("GetTable", request)).num_path
        with self._errors("WatchEvent"):
            watch = self.channel().unary_stream(*calls.method(dialect, "WatchEvent"))
            event = watch(calls.best_request(dialect), timeout=self._deadline.of(paths))
            try:
                best = await event.read()
            finally:
                event.cancel()
        if not isinstance(best, pb.WatchEventResponse):
            raise SpeakerError(f"{self.target}: WatchEvent failed: gobgpd ended it without an answer")
        return reader.read(dialect, best.table.paths)

    async def paths(self, *families: pb.Family) -> list[SeenPath]:
        """Return every path of the global table, of both unicast families or of those given."""
        dialect = await self.dialect()
        found: list[SeenPath] = []
        for family in families or FAMILIES:
            async for answer in self._list("ListPath", calls.table_request(dialect, family)):
                found.extend(seen(dialect, answer.destination))
        return found

    async def received_paths(self, neighbour: str, family: pb.Family, prefixes: Sequence[str]) -> list[SeenPath]:
        """Return the paths of exactly these prefixes that a neighbour has sent, accepted or not."""
        dialect = await self.dialect()
        request = calls.received_paths_request(dialect, neighbour, family, prefixes)
        answers = self._list("ListPath", request, len(prefixes))
        return [path async for answer in answers for path in seen(dialect, answer.destination)]

    async def peers(self, advertised: bool = True) -> list[pb.Peer]:
        """Return the BGP sessions, their states and numbers of routes; gobgpd has to compute the `advertised` ones."""
        answers = self._list("ListPeer", pb.ListPeerRequest(enable_advertised=advertised))
        return [answer.peer async for answer in answers]

    async def watch_best(self) -> AsyncIterator[dict[str, BestPath | None]]:
        """Yield the best path of every prefix, then every change as it happens, until cancelled."""
        dialect = await self.dialect()
        async for event in self._watch(calls.best_request(dialect)):
            yield changes(dialect, event.table.paths)

    async def watch_received(self) -> AsyncIterator[pb.WatchEventResponse]:
        """Yield the state of every session, then its changes and those of the paths received, until cancelled."""
        async for event in self._watch(calls.received_request(await self.dialect())):
            yield event

    async def announce(self, routes: Iterable[InjectedRoute], sent_s: int = 0) -> None:
        """Add routes in order; after one that the daemon refuses, the rest are not sent. `sent_s` as in wire."""
        dialect = await self.dialect()
        await self.send([announcement(dialect, route, sent_s) for route in routes])

    async def withdraw(self, prefixes: Iterable[str]) -> None:
        """Remove the routes that were added over gRPC for these prefixes."""
        # Path by path, never DeletePath: without a path, DeletePath removes every local route.
        dialect = await self.dialect()
        await self.send([withdrawal(dialect, prefix) for prefix in prefixes])

    async def reset(self, reason: str) -> None:
        """End every session; each comes back by itself."""
        await self._ask("ResetPeer", calls.reset_request(reason))

    async def send(self, paths: Sequence[pb.Path]) -> None:
        """Add paths, or remove those with `is_withdraw`, in order."""
        if not paths:
            return
        dialect = await self.dialect()

        async def stream() -> AsyncIterator[pb.AddPathStreamRequest]:
            for batch in calls.batches(dialect, paths):
                yield batch

        with self._errors("AddPathStream"):
            add = self.channel().stream_unary(*calls.method(dialect, "AddPathStream"))
            await add(stream(), timeout=self._deadline.of(len(paths)))

    async def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close()
        for closing in self._closing:
            closing.cancel()

    async def _ask(self, name: str, request: Message) -> Any:
        method = calls.method(await self.dialect(), name)
        with self._errors(name):
            ask = self.channel().unary_unary(*method)
            return await ask(request, timeout=self._deadline.of())

    async def _list(self, name: str, request: Message, paths: int = 0) -> AsyncIterator[Any]:
        method = calls.method(await self.dialect(), name)
        with self._errors(name):
            async for answer in self.channel().unary_stream(*method)(request, timeout=self._deadline.of(paths)):
                yield answer

    async def _watch(self, request: pb.WatchEventRequest) -> AsyncIterator[pb.WatchEventResponse]:
        method = calls.method(await self.dialect(), "WatchEvent")
        with self._errors("WatchEvent"):
            channel = self.channel()
            try:
                async for event in channel.unary_stream(*method)(request):
                    yield event
            except asyncio.CancelledError:
                if channel is self._channel or is_cancelled():
                    raise
                raise SpeakerError(f"{self.target}: WatchEvent ended, because the files of [gobgp] changed") from None

    @contextlib.contextmanager
    def _errors(self, call: str) -> Iterator[None]:
        try:
            with answering(self.target, call):
                yield
        except SpeakerError as error:
            if _is_unknown_call(error):
                self._dialect = None  # another version may have been started since
            raise


@contextlib.contextmanager
def answering(target: str, call: str) -> Iterator[None]:
    """The block that makes a call and reads its answer: SpeakerError if it fails.

    One in a hundred calls with a stream of requests whose deadline passes ends with CancelledError, although nobody
    cancelled it (grpcio 1.8x). It would end the task without a word.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise calls.failed(target, call, error.code().name, error.details()) from error
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise calls.failed(target, call, grpc.StatusCode.DEADLINE_EXCEEDED.name, None) from error


def _credentials(secured: Secured) -> grpc.ChannelCredentials:
    of = secured.contents
    return grpc.ssl_channel_credentials(of["ca_file"], of["key_file"], of["cert_file"])


def _is_unknown_call(error: SpeakerError) -> bool:
    cause = error.__cause__
    return isinstance(cause, grpc.aio.AioRpcError) and cause.code() is grpc.StatusCode.UNIMPLEMENTED
