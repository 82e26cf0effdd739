"""gRPC calls that block, over HTTP/2 by h2: importing grpcio takes 12 MB, too much for a small process.

A call is a stream of its own on one connection. Each message has five bytes before it: whether it is compressed, and
its length. The status comes in the trailers.
"""

import socket
from collections.abc import Callable, Iterable
from math import ceil
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error

from app.bgp.calls import MESSAGE_MAX_BYTES
from app.clock import SystemClock
from app.config.endpoints import THIS_HOST, UNIX

if TYPE_CHECKING:
    from ssl import SSLContext

CLOCK: Final = SystemClock()
READ_BYTES: Final = 1 << 16
PREFIX_BYTES: Final = 5
WANTS_MORE: Final = 2  # SSL_ERROR_WANT_READ: a connection with TLS has nothing to read
SETTINGS_FRAME: Final = 4  # type of the first frame of every HTTP/2 server

STATUS_NAMES: Final = (  # by number
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
STATUSES: Final = {str(number).encode(): name for number, name in enumerate(STATUS_NAMES)}
# CANCEL: the deadline has passed at the server.
RESETS: Final[dict[int, str]] = {ErrorCodes.CANCEL: "DEADLINE_EXCEEDED", ErrorCodes.REFUSED_STREAM: "UNAVAILABLE"}


class CallError(Exception):
    """A call failed: `status` is the name of its gRPC status, `details` what is known of the cause."""

    def __init__(self, status: str, details: str) -> None:
        super().__init__(f"{status}: {details}")
        self.status = status
        self.details = details


class BlockingChannel:
    """Calls to the gRPC server at `target` (`unix:///PATH` or `HOST:PORT`), by one thread at a time.

    With `tls` it asks for the context of each connection; behind a unix socket the server's name is localhost.
    It connects at the first call, keeps the connection, and connects again at the next call after it broke. A call
    names its method by path (`/package.Service/Method`). It raises CallError, at the latest when its timeout is over.
    """

    def __init__(self, target: str, tls: Callable[[], "SSLContext"] | None = None) -> None:
        self._target = target
        self._tls = tls
        self._connection: _Connection | None = None

    def call(self, path: str, messages: Iterable[bytes], timeout_s: float, first: bool = False) -> bytes:
        """Send these messages, and return the one that answers them.

        With `first`, return the first message of a stream that answers them, and cancel the rest.
        """
        end_s = CLOCK.monotonic_s() + timeout_s
        try:
            call = _Call(self._connected(end_s), end_s)
            call.send(path, messages)
            call.wait(first)
        except TimeoutError as error:
            self.close()
            raise CallError("DEADLINE_EXCEEDED", "no answer in time") from error
        except OSError as error:
            self.close()
            raise CallError("UNAVAILABLE", error.strerror or str(error)) from error
        except H2Error as error:
            self.close()
            raise CallError("UNAVAILABLE", f"HTTP/2: {error}") from error
        return call.answer()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self, end_s: float) -> "_Connection":
        if self._connection is not None and self._connection.is_broken(end_s):
            self.close()
        if self._connection is None:
            self._connection = _Connection(self._target, end_s, self._tls() if self._tls else None)
            self._connection.begin(end_s)
        return self._connection


class _H2(H2Connection):
    MAX_CLOSED_STREAMS = 100  # h2 keeps 65,536 of them, to know late frames: 9 MB after some hours


class _Connection:
    """A connection. What waits raises TimeoutError at `end_s`, in monotonic seconds, and OSError when it is broken."""

    def __init__(self, target: str, end_s: float, tls: "SSLContext | None") -> None:
        self._socket = _connect(target, end_s)
        self.authority = THIS_HOST if target.startswith(UNIX) else target
        self._is_secured = tls is not None
        if tls is not None:
            host = THIS_HOST if target.startswith(UNIX) else _host_port(target)[0]
            self._socket.settimeout(_left_s(end_s))
            self._socket = tls.wrap_socket(self._socket, server_hostname=host)
        self.h2 = _H2()
        self._is_ending = False

    def begin(self, end_s: float) -> None:
        """Greet the server, and wait for its greeting."""
        self.h2.initiate_connection()
        self.flush(end_s)
        self._socket.settimeout(_left_s(end_s))
        if not self._is_secured:  # else the handshake has agreed on HTTP/2
            head = self._socket.recv(4, socket.MSG_PEEK)
            # h2 would take another protocol's first bytes for the length of a frame, and wait for that.
            if len(head) == 4 and head[3] != SETTINGS_FRAME:
                raise ConnectionError("what listens here does not speak HTTP/2")
        self._read()

    def flush(self, end_s: float) -> None:
        """Send what h2 has for the server."""
        if data := self.h2.data_to_send():
            self._socket.settimeout(_left_s(end_s))
            self._socket.sendall(data)

    def receive(self, end_s: float) -> list[Event]:
        """Wait for the server, and return what comes."""
        self.flush(end_s)
        if self._is_ending:
            raise ConnectionResetError("the server ends the connection")
        self._socket.settimeout(_left_s(end_s))
        return self._read()

    def is_broken(self, end_s: float) -> bool:
        """Whether no other call is possible. Takes in what the server has sent since the last one."""
        self._socket.setblocking(False)
        try:
            while not self._is_ending and _left_s(end_s):
                self._read()
        except BlockingIOError:
            return False
        except (OSError, H2Error) as error:
            return not (self._is_secured and getattr(error, "errno", None) == WANTS_MORE)
        return True

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> list[Event]:
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError("the server has closed the connection")
        events = self.h2.receive_data(data)
        for event in events:
            if isinstance(event, DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self._is_ending |= isinstance(event, ConnectionTerminated)
        return events


class _Call:
    """One call, and what has come back so far."""

    def __init__(self, connection: _Connection, end_s: float) -> None:
        self._connection = connection
        self._h2 = connection.h2
        self._end_s = end_s
        self._stream_id = self._h2.get_next_available_stream_id()
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()
        self._has_ended = False  # at the server
        self._reset: int | None = None

    def send(self, path: str, messages: Iterable[bytes]) -> None:
        """Send the request as fast as the server takes it, or until it answers that it wants no more."""
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", self._connection.authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("grpc-timeout", f"{ceil(_left_s(self._end_s) * 1000)}m"),
        ]
        self._h2.send_headers(self._stream_id, headers)
        for message in messages:
            self._send(memoryview(b"\0" + len(message).to_bytes(PREFIX_BYTES - 1) + message))
            if self._has_ended:
                return
        self._h2.end_stream(self._stream_id)

    def wait(self, first: bool) -> None:
        """Return when the call has ended, or with `first` when a message has come. What is not over is cancelled."""
        while not (self._has_ended or (first and self._has_message()) or self._is_hopeless()):
            self._receive()
        if not self._h2.streams[self._stream_id].closed:
            self._h2.reset_stream(self._stream_id, ErrorCodes.CANCEL)
        self._connection.flush(self._end_s)

    def answer(self) -> bytes:
        """Return the message that has come; CallError if the call failed."""
        if self._reset is not None and b"grpc-status" not in self._headers:
            raise CallError(RESETS.get(self._reset, "INTERNAL"), f"the server reset the stream: {self._reset!r}")
        if not self._is_grpc():
            raise CallError("UNIMPLEMENTED", "the server speaks HTTP/2 without gRPC")
        status = STATUSES.get(self._headers.get(b"grpc-status", b""), "UNKNOWN")
        if self._has_ended and status != "OK":
            raise CallError(status, unquote(self._headers.get(b"grpc-message", b"")))
        if self._length() > MESSAGE_MAX_BYTES:
            raise CallError("RESOURCE_EXHAUSTED", f"a message of {self._length()} bytes, at most {MESSAGE_MAX_BYTES}")
        if not self._has_message() or self._body[0]:
            raise CallError("INTERNAL", "the answer has no message that is complete and not compressed")
        return bytes(memoryview(self._body)[PREFIX_BYTES : PREFIX_BYTES + self._length()])

    def _send(self, data: memoryview) -> None:
        while data and not self._has_ended:
            room = min(self._h2.local_flow_control_window(self._stream_id), self._h2.max_outbound_frame_size)
            if room > 0:
                self._h2.send_data(self._stream_id, data[:room])
                data = data[room:]
            else:
                self._receive()
        self._connection.flush(self._end_s)

    def _receive(self) -> None:
        for event in self._connection.receive(self._end_s):
            if getattr(event, "stream_id", None) == self._stream_id:
                self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case ResponseReceived() | TrailersReceived():
                self._headers.update(event.headers)
            case DataReceived():
                self._body += event.data
            case StreamEnded():
                self._has_ended = True
            case StreamReset():
                self._has_ended, self._reset = True, event.error_code

    def _length(self) -> int:
        """The length of the first message as its prefix has it, 0 before that has come."""
        return int.from_bytes(self._body[1:PREFIX_BYTES]) if len(self._body) >= PREFIX_BYTES else 0

    def _has_message(self) -> bool:
        return len(self._body) >= PREFIX_BYTES + self._length()

    def _is_grpc(self) -> bool:
        return self._headers.get(b"content-type", b"").startswith(b"application/grpc")

    def _is_hopeless(self) -> bool:
        return bool(self._headers and not self._is_grpc()) or self._length() > MESSAGE_MAX_BYTES


def _connect(target: str, end_s: float) -> socket.socket:
    if not target.startswith(UNIX):
        connection = socket.create_connection(_host_port(target), _left_s(end_s))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_left_s(end_s))
        connection.connect(target.removeprefix(UNIX))
    except BaseException:
        connection.close()
        raise
    return connection


def _host_port(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


def _left_s(end_s: float) -> float:
    left_s = end_s - CLOCK.monotonic_s()
    if left_s <= 0:
        raise TimeoutError
    return left_s
