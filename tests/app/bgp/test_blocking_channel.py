"""Blocking calls against gRPC's own server, and against servers that are none or break off."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import RequestReceived
from h2.exceptions import H2Error

from app.bgp import blocking_channel
from app.bgp.blocking import BlockingGobgp
from app.bgp.blocking_channel import BlockingChannel, CallError
from app.errors import SpeakerError
from tests.patience import PATIENCE_S

MANY = 3_000_000  # bytes: many times the first windows of HTTP/2, less than gRPC's server takes
NO_SETTINGS, DATA_OF_NO_STREAM = b"\0\0\0\4\0\0\0\0\0", b"\0\0\0\0\0\0\0\0\0"  # frames
WRONG = "naïve: 100 % wrong\n"


def join(messages: Iterator[bytes], _: grpc.ServicerContext) -> bytes:
    return b"".join(messages)


def stream(message: bytes, _: grpc.ServicerContext) -> Iterator[bytes]:
    while True:
        yield message


def nothing(_: bytes, __: grpc.ServicerContext) -> Iterator[bytes]:
    return iter(())


def abort(message: bytes, context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode[message.decode()], WRONG)
    raise AssertionError("abort raises")


def refuse_the_second(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
    next(messages)
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no more of this")
    raise AssertionError("abort raises")


def left(_: bytes, context: grpc.ServicerContext) -> bytes:
    return str(context.time_remaining()).encode()


def peer(_: bytes, context: grpc.ServicerContext) -> bytes:
    return str(context.peer()).encode()


def hang(_: bytes, context: grpc.ServicerContext) -> bytes:
    over = threading.Event()
    context.add_callback(over.set)
    over.wait()
    return b""


HANDLERS = {
    "Join": grpc.stream_unary_rpc_method_handler(join),
    "Stream": grpc.unary_stream_rpc_method_handler(stream),
    "Nothing": grpc.unary_stream_rpc_method_handler(nothing),
    "Abort": grpc.unary_unary_rpc_method_handler(abort),
    "RefuseTheSecond": grpc.stream_unary_rpc_method_handler(refuse_the_second),
    "Left": grpc.unary_unary_rpc_method_handler(left),
    "Peer": grpc.unary_unary_rpc_method_handler(peer),
    "Hang": grpc.unary_unary_rpc_method_handler(hang),
}


@contextmanager
def serving(address: str, *options: tuple[str, Any]) -> Iterator[int]:
    """gRPC's own server; yields its port."""
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads, options=options)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test", HANDLERS)])
        port = server.add_insecure_port(address)
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait()


@contextmanager
def calling(target: str) -> Iterator[BlockingChannel]:
    channel = BlockingChannel(target)
    try:
        yield channel
    finally:
        channel.close()


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[BlockingChannel]:
    with serving(f"unix://{tmp_path}/s"), calling(f"unix://{tmp_path}/s") as made:
        yield made


def call(channel: BlockingChannel, name: str, *messages: bytes, timeout_s: float = PATIENCE_S) -> bytes:
    return channel.call(f"/test/{name}", messages, timeout_s)


def first(channel: BlockingChannel, name: str, message: bytes) -> bytes:
    return channel.call(f"/test/{name}", [message], PATIENCE_S, first=True)


def test_messages_of_any_number_and_size_go_there_and_back(channel: BlockingChannel) -> None:
    large = bytes(range(256)) * (MANY // 256)
    for messages in ([], [b""], [b"one"], [b"many"] * 5000, [large], [large[:1_000_000]] * 3):
        assert call(channel, "Join", *messages) == b"".join(messages)


def test_the_first_of_an_endless_stream_is_taken_and_costs_later_calls_nothing(channel: BlockingChannel) -> None:
    large = b"x" * MANY
    for _ in range(5):
        assert first(channel, "Stream", large) == large
    assert call(channel, "Join", large) == large


def test_a_stream_may_end_before_its_first_message(channel: BlockingChannel) -> None:
    with pytest.raises(CallError, match="INTERNAL: the answer has no message"):
        first(channel, "Nothing", b"")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_status_comes_with_its_message(channel: BlockingChannel, code: grpc.StatusCode) -> None:
    with pytest.raises(CallError) as caught:
        call(channel, "Abort", code.name.encode())
    assert (caught.value.status, caught.value.details) == (code.name, WRONG)
    assert call(channel, "Join", b"goes on") == b"goes on"


def test_an_unknown_call_is_unimplemented(channel: BlockingChannel) -> None:
    with pytest.raises(CallError) as caught:
        call(channel, "Unknown", b"")
    assert caught.value.status == "UNIMPLEMENTED"


def test_a_server_that_refuses_midway_is_heard_before_everything_is_sent(channel: BlockingChannel) -> None:
    sent = []

    def messages() -> Iterator[bytes]:
        for number in range(10_000):
            sent.append(number)
            yield b"x" * 100_000

    with pytest.raises(CallError, match="INVALID_ARGUMENT: no more of this"):
        channel.call("/test/RefuseTheSecond", messages(), PATIENCE_S)
    assert len(sent) < 1000
    assert call(channel, "Join", b"goes on") == b"goes on"


def test_a_server_that_hangs_costs_the_deadline_and_no_more(channel: BlockingChannel) -> None:
    began_s = time.perf_counter()
    with pytest.raises(CallError, match="DEADLINE_EXCEEDED"):
        call(channel, "Hang", b"", timeout_s=0.3)
    assert 0.3 <= time.perf_counter() - began_s < 5
    assert call(channel, "Join", b"goes on") == b"goes on"


def test_the_server_knows_the_deadline(channel: BlockingChannel) -> None:
    assert 0 < float(call(channel, "Left", b"", timeout_s=77.7)) <= 77.8


def test_the_connection_is_kept() -> None:
    with serving("127.0.0.1:0") as port, calling(f"127.0.0.1:{port}") as channel:
        assert len({call(channel, "Peer", b"") for _ in range(20)}) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_tcp(host: str) -> None:
    with serving(f"{host}:0") as port, calling(f"{host}:{port}") as channel:
        assert call(channel, "Join", b"x" * MANY) == b"x" * MANY


def test_a_server_that_was_restarted_is_reached_by_the_next_call(tmp_path: Path) -> None:
    target = f"unix://{tmp_path}/s"
    with calling(target) as channel:
        for _ in range(3):
            with serving(target):
                assert call(channel, "Join", b"there") == b"there"
            with pytest.raises(CallError) as caught:
                call(channel, "Join", b"away")
            assert caught.value.status == "UNAVAILABLE"
            (tmp_path / "s").unlink(missing_ok=True)


def test_a_message_has_a_bound(channel: BlockingChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking_channel, "MESSAGE_MAX_BYTES", 1000)
    with pytest.raises(CallError, match="RESOURCE_EXHAUSTED: a message of 1001 bytes, at most 1000"):
        call(channel, "Join", b"x" * 1001)
    assert call(channel, "Join", b"x" * 1000) == b"x" * 1000


def test_old_streams_are_forgotten(channel: BlockingChannel) -> None:
    for _ in range(500):
        call(channel, "Join", b"")
    assert channel._connection is not None
    assert len(channel._connection.h2._closed_streams) <= 100


Script = Callable[[socket.socket], None]


@contextmanager
def answering(folder: Path, script: Script) -> Iterator[BlockingChannel]:
    """A server that runs this script with each connection in turn."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/s")
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(ConnectionError, H2Error):
                    script(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with calling(f"unix://{folder}/s") as channel:
                yield channel
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def says(data: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(data)
        while connection.recv(1000):
            pass

    return script


def http2(answer: Callable[[H2Connection, int], None]) -> Script:
    """An HTTP/2 server that answers a request so."""

    def script(connection: socket.socket) -> None:
        h2 = H2Connection(H2Configuration(client_side=False))
        h2.initiate_connection()
        connection.sendall(h2.data_to_send())
        while data := connection.recv(65536):
            for event in h2.receive_data(data):
                if isinstance(event, RequestReceived):
                    answer(h2, event.stream_id)
            connection.sendall(h2.data_to_send())

    return script


def page(h2: H2Connection, stream_id: int) -> None:
    h2.send_headers(stream_id, [(":status", "200"), ("content-type", "text/html")])
    h2.send_data(stream_id, b"<html>you are welcome</html>")


def no_status(h2: H2Connection, stream_id: int) -> None:
    h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")], end_stream=True)


def odd_status(h2: H2Connection, stream_id: int) -> None:
    headers = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "-99")]
    h2.send_headers(stream_id, headers, end_stream=True)


def compressed(h2: H2Connection, stream_id: int) -> None:
    h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")])
    h2.send_data(stream_id, b"\1\0\0\0\1x")
    h2.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)


def half(h2: H2Connection, stream_id: int) -> None:
    h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")])
    h2.send_data(stream_id, b"\0\0\0\0\2x")
    h2.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)


def refused(h2: H2Connection, stream_id: int) -> None:
    h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)


def cancelled(h2: H2Connection, stream_id: int) -> None:
    h2.reset_stream(stream_id, ErrorCodes.CANCEL)


def broken(h2: H2Connection, stream_id: int) -> None:
    h2.reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)


def goes_away(h2: H2Connection, stream_id: int) -> None:
    h2.close_connection()


@pytest.mark.parametrize(
    ("script", "status", "details"),
    [
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "UNAVAILABLE", "what listens here does not speak HTTP/2"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "UNAVAILABLE", "what listens here does not speak HTTP/2"),
        (says(NO_SETTINGS + DATA_OF_NO_STREAM), "UNAVAILABLE", "HTTP/2: "),
        (lambda connection: None, "UNAVAILABLE", ""),
        (http2(page), "UNIMPLEMENTED", "the server speaks HTTP/2 without gRPC"),
        (http2(no_status), "UNKNOWN", ""),
        (http2(odd_status), "UNKNOWN", ""),
        (http2(compressed), "INTERNAL", "the answer has no message that is complete and not compressed"),
        (http2(half), "INTERNAL", "the answer has no message that is complete and not compressed"),
        (http2(refused), "UNAVAILABLE", "the server reset the stream"),
        (http2(cancelled), "DEADLINE_EXCEEDED", "the server reset the stream"),
        (http2(broken), "INTERNAL", "the server reset the stream"),
        (http2(goes_away), "UNAVAILABLE", "the server ends the connection"),
    ],
)
def test_what_another_program_does_is_an_error_each_time(
    tmp_path: Path, script: Script, status: str, details: str
) -> None:
    with answering(tmp_path, script) as channel:
        for _ in range(3):
            with pytest.raises(CallError) as caught:
                call(channel, "Join", b"hello")
            assert caught.value.status == status
            assert caught.value.details.startswith(details)


def test_a_program_that_says_nothing_costs_the_deadline(tmp_path: Path) -> None:
    def silent(connection: socket.socket) -> None:
        while connection.recv(1000):
            pass

    with answering(tmp_path, silent) as channel, pytest.raises(CallError, match="DEADLINE_EXCEEDED"):
        call(channel, "Join", b"hello", timeout_s=0.2)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (
            says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            r"no connection \(what listens here does not speak HTTP/2\); is gobgpd",
        ),
        (http2(page), "another program or version listens here: run gobgpd 3 or 4"),
    ],
)
def test_a_speaker_names_another_program(tmp_path: Path, script: Script, text: str) -> None:
    with answering(tmp_path, script):
        speaker = BlockingGobgp(f"unix://{tmp_path}/s", "64512:911")
        with pytest.raises(SpeakerError, match=text):
            speaker.routes()
        speaker.close()
