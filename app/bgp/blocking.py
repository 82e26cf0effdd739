"""A BGP speaker for processes and threads without an event loop: it reads and removes our routes, and writes notes."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from google.protobuf.message import Message

from app.bgp import calls
from app.bgp.blocking_channel import BlockingChannel, CallError
from app.bgp.calls import Deadline
from app.bgp.dialect import DIALECTS, Dialect
from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.speaker import InjectedRoute, check_note
from app.bgp.wire import RouteReader, note, withdrawal

if TYPE_CHECKING:
    from app.bgp.tls import Tls  # slow to import, and seldom needed


class BlockingSpeaker(Protocol):
    """A BGP speaker for use without an event loop; its methods block, and raise SpeakerError when they fail."""

    def routes(self) -> dict[str, InjectedRoute]:
        """Return the routes that carry our marker, by prefix."""

    def withdraw(self, prefixes: list[str]) -> None:
        """Remove our routes for these prefixes."""

    def reset(self, reason: str) -> None:
        """End every session, as BgpSpeaker does."""

    def put_note(self, key: str, value: bytes) -> None:
        """Write a note into the daemon, or replace the one with this key."""

    def close(self) -> None:
        """Close the connection; the routes stay in the daemon."""


class BlockingGobgp:
    """The gobgpd at `target`, GoBGP 3 or 4, over blocking gRPC calls with deadlines, and mutual TLS if `tls` says how.

    With `in_host_time` leases end by the clock of the daemon's host (see RouteReader).
    """

    def __init__(
        self,
        target: str,
        marker: str,
        deadline: Deadline = calls.DEADLINE,
        in_host_time: bool = False,
        tls: "Tls | None" = None,
    ) -> None:
        self._target = target
        self._reader = RouteReader(marker, in_host_time)
        self._deadline = deadline
        self._channel = BlockingChannel(target, None if tls is None else lambda: tls.current().context)
        self._known: Dialect | None = None

    def routes(self) -> dict[str, InjectedRoute]:
        """Return the routes that carry our marker, by prefix; SpeakerError if gobgpd does not answer."""
        dialect = self._dialect()
        paths = sum(self._call(dialect, "GetTable", [size]).num_path for size in calls.size_requests(dialect))
        best = self._call(dialect, "WatchEvent", [calls.best_request(dialect)], paths)
        return self._reader.read(dialect, best.table.paths)

    def withdraw(self, prefixes: list[str]) -> None:
        """Remove our routes for these prefixes; SpeakerError if gobgpd does not answer."""
        dialect = self._dialect()
        self._send(dialect, [withdrawal(dialect, prefix) for prefix in prefixes])

    def reset(self, reason: str) -> None:
        """End every session; each comes back by itself. SpeakerError if gobgpd does not answer."""
        self._call(self._dialect(), "ResetPeer", [calls.reset_request(reason)])

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
            path, serialize, _ = calls.method(dialect, "GetBgp")
            try:
                self._channel.call(path, [serialize(pb.GetBgpRequest())], self._deadline.of())
            except CallError as error:
                if error.status != calls.UNKNOWN_CALL or dialect is DIALECTS[-1]:
                    raise calls.failed(self._target, "GetBgp", error.status, error.details) from error
            else:
                self._known = dialect
                break
        assert self._known is not None
        return self._known

    def _send(self, dialect: Dialect, paths: Sequence[pb.Path]) -> None:
        self._call(dialect, "AddPathStream", calls.batches(dialect, paths), len(paths))

    def _call(self, dialect: Dialect, name: str, requests: Iterable[Message], paths: int = 0) -> Any:
        path, serialize, parse = calls.method(dialect, name)
        with self._errors(name):
            timeout_s, is_endless = self._deadline.of(paths), name == "WatchEvent"
            return parse(self._channel.call(path, map(serialize, requests), timeout_s, first=is_endless))

    @contextlib.contextmanager
    def _errors(self, call: str) -> Iterator[None]:
        try:
            yield
        except CallError as error:
            if error.status == calls.UNKNOWN_CALL:
                self._known = None  # another version may have been started since
            raise calls.failed(self._target, call, error.status, error.details) from error
