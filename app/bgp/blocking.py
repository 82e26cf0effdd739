"""A BGP speaker for processes and threads without an event loop: it reads and removes our routes, and writes notes."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import grpc

from app.bgp import calls
from app.bgp.calls import Deadline
from app.bgp.dialect import DIALECTS, Dialect
from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.speaker import InjectedRoute, check_note
from app.bgp.wire import RouteReader, note, withdrawal


class BlockingSpeaker(Protocol):
    """A BGP speaker for use without an event loop; its methods block, and raise SpeakerError when they fail."""

    def routes(self) -> dict[str, InjectedRoute]:
        """Return the routes that carry our marker, by prefix."""

    def withdraw(self, prefixes: list[str]) -> None:
        """Remove our routes for these prefixes."""

    def put_note(self, key: str, value: bytes) -> None:
        """Write a note into the daemon, or replace the one with this key."""

    def close(self) -> None:
        """Close the connection; the routes stay in the daemon."""


class BlockingGobgp:
    """The gobgpd at `target`, GoBGP 3 or 4, over blocking gRPC calls with deadlines.

    With `in_host_time` leases end by the clock of the daemon's host (see RouteReader).
    """

    def __init__(
        self, target: str, marker: str, deadline: Deadline = calls.DEADLINE, in_host_time: bool = False
    ) -> None:
        self._target = target
        self._reader = RouteReader(marker, in_host_time)
        self._deadline = deadline
        self._channel = grpc.insecure_channel(target, options=calls.OPTIONS)
        self._known: Dialect | None = None

    def routes(self) -> dict[str, InjectedRoute]:
        """Return the routes that carry our marker, by prefix; SpeakerError if gobgpd does not answer."""
        dialect = self._dialect()
        paths = 0
        for request in calls.size_requests(dialect):
            with self._errors("GetTable"):
                size = self._channel.unary_unary(*calls.method(dialect, "GetTable"))
                paths += size(request, timeout=self._deadline.of()).num_path
        with self._errors("WatchEvent"):
            watch = self._channel.unary_stream(*calls.method(dialect, "WatchEvent"))
            event = watch(calls.best_request(dialect), timeout=self._deadline.of(paths))
            try:
                best: pb.WatchEventResponse = next(event)
            finally:
                event.cancel()
        return self._reader.read(dialect, best.table.paths)

    def withdraw(self, prefixes: list[str]) -> None:
        """Remove our routes for these prefixes; SpeakerError if gobgpd does not answer."""
        dialect = self._dialect()
        self._send(dialect, [withdrawal(dialect, prefix) for prefix in prefixes])

    def put_note(self, key: str, value: bytes) -> None:
        """Write a note, or replace the one with this key; SpeakerError if gobgpd does not answer."""
        check_note(key, value)
        dialect = self._dialect()
        self._send(dialect, [note(dialect, key, value)])

    def close(self) -> None:
        """Close the connection; the routes stay in gobgpd."""
        self._channel.close()

    def _dialect(self) -> Dialect:
        """How this daemon speaks: it is asked at first, and again after a call that it did not know."""
        for dialect in () if self._known else DIALECTS:
            get = self._channel.unary_unary(*calls.method(dialect, "GetBgp"))
            try:
                get(pb.GetBgpRequest(), timeout=self._deadline.of())
            except grpc.RpcError as error:
                if not calls.unknown(error) or dialect is DIALECTS[-1]:
                    raise calls.failed(self._target, "GetBgp", error) from error
            else:
                self._known = dialect
                break
        assert self._known is not None
        return self._known

    def _send(self, dialect: Dialect, paths: Sequence[pb.Path]) -> None:
        with self._errors("AddPathStream"):
            add = self._channel.stream_unary(*calls.method(dialect, "AddPathStream"))
            add(calls.batches(dialect, paths), timeout=self._deadline.of(len(paths)))

    @contextlib.contextmanager
    def _errors(self, call: str) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            if calls.unknown(error):
                self._known = None  # another version may have been started since
            raise calls.failed(self._target, call, error) from error
