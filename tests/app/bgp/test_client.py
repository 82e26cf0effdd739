"""What the client says when the other side is no GoBGP, or one that does not answer as it should."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from app.bgp.calls import Deadline
from app.bgp.client import GobgpClient
from app.bgp.dialect import DIALECTS, Dialect
from app.bgp.proto import gobgp_pb2 as pb
from app.errors import SpeakerError
from tests.patience import PATIENCE_S

LATE_S = 0.5


async def serve(socket: Path, *handlers: grpc.GenericRpcHandler) -> grpc.aio.Server:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(handlers)
    server.add_insecure_port(f"unix://{socket}")
    await server.start()
    return server


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[GobgpClient]:
    made = GobgpClient(f"unix://{tmp_path}/s", Deadline(base_s=0.5))
    yield made
    await made.close()


async def answer_global(_: object, __: object) -> pb.GetBgpResponse:
    return pb.GetBgpResponse(config=pb.Global(asn=64512))


def answers(dialect: Dialect, **handlers: grpc.RpcMethodHandler) -> grpc.GenericRpcHandler:
    """A daemon that speaks this dialect, and answers GetBgp and these calls."""
    get = grpc.unary_unary_rpc_method_handler(
        answer_global, pb.GetBgpRequest.FromString, pb.GetBgpResponse.SerializeToString
    )
    return grpc.method_handlers_generic_handler(dialect.service.removeprefix("/"), {"GetBgp": get, **handlers})


@pytest.mark.parametrize("dialect", DIALECTS, ids=("3", "4"))
async def test_the_version_is_asked_for(tmp_path: Path, client: GobgpClient, dialect: Dialect) -> None:
    server = await serve(tmp_path / "s", answers(dialect))
    assert await client.dialect() is dialect
    await server.stop(None)


async def test_another_version_may_be_started_there(tmp_path: Path, client: GobgpClient) -> None:
    server = await serve(tmp_path / "s", answers(DIALECTS[0]))
    await client.dialect()
    await server.stop(None)
    (tmp_path / "s").unlink(missing_ok=True)
    server = await serve(tmp_path / "s", answers(DIALECTS[1]))
    async with asyncio.timeout(PATIENCE_S):
        while await client.dialect() is not DIALECTS[1]:
            with contextlib.suppress(SpeakerError):
                await client.peers()
    await server.stop(None)


async def test_another_program_is_named(tmp_path: Path, client: GobgpClient) -> None:
    server = await serve(tmp_path / "s")
    with pytest.raises(SpeakerError, match="another program or version listens here: run gobgpd 3 or 4"):
        await client.global_config()
    await server.stop(None)


async def test_a_call_that_grpc_cancels_by_itself_is_a_call_that_failed(
    client: GobgpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on a busy machine: the driver of one router ended without a word, and the others went on."""

    class Cancelled:
        def __call__(self, *_: object, timeout: float) -> asyncio.Future[None]:
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            answer.cancel()
            return answer

    monkeypatch.setattr(client, "_dialect", DIALECTS[0])
    for kind in ("unary_unary", "stream_unary"):
        monkeypatch.setattr(client._channel, kind, lambda *_: Cancelled())
    with pytest.raises(SpeakerError, match="no answer in time"):
        await client.withdraw(["20.0.0.0/24"])
    with pytest.raises(SpeakerError, match="no answer in time"):
        await client.global_config()


async def test_streams_whose_deadline_passes_on_a_busy_loop_never_end_their_task(tmp_path: Path) -> None:
    """With grpcio alone, one or two of a hundred end with CancelledError."""

    async def take(requests: AsyncIterator[pb.AddPathStreamRequest], _: object) -> pb.AddPathStreamResponse:
        async for _ in requests:
            pass
        return pb.AddPathStreamResponse()

    add = grpc.stream_unary_rpc_method_handler(
        take, pb.AddPathStreamRequest.FromString, pb.AddPathStreamResponse.SerializeToString
    )
    server = await serve(tmp_path / "s", answers(DIALECTS[0], AddPathStream=add))
    client = GobgpClient(f"unix://{tmp_path}/s", Deadline(base_s=0.002, per_1000_s=0.0))
    paths = [pb.Path() for _ in range(2000)]
    client._dialect = DIALECTS[0]
    failed = 0
    for number in range(400):
        asyncio.get_running_loop().call_soon(time.sleep, number % 8 / 1000)
        try:
            await client.send(paths)
        except SpeakerError:
            failed += 1
    assert failed > 0
    await client.close()
    await server.stop(None)


async def test_nobody_there(client: GobgpClient) -> None:
    with pytest.raises(SpeakerError, match="is gobgpd running"):
        await client.paths()


async def test_a_busy_gobgpd_may_take_its_time_to_connect(tmp_path: Path) -> None:
    server = await serve(tmp_path / "s", answers(DIALECTS[0]))
    opened: list[asyncio.StreamWriter] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        while some := await reader.read(65536):
            writer.write(some)

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(LATE_S)
        there, away = await asyncio.open_unix_connection(tmp_path / "s")
        await asyncio.gather(pipe(reader, away), pipe(there, writer))

    busy = await asyncio.start_unix_server(late, tmp_path / "busy")
    client = GobgpClient(f"unix://{tmp_path}/busy", Deadline(PATIENCE_S))
    assert (await client.global_config()).asn == 64512
    await client.close()
    busy.close()
    for writer in opened:
        writer.close()
        await writer.wait_closed()
    await server.stop(None)


async def hang(_: object, __: object) -> AsyncIterator[pb.ListPathResponse]:
    await asyncio.Event().wait()
    yield pb.ListPathResponse()


async def test_a_daemon_that_hangs_costs_the_deadline_and_no_more(tmp_path: Path, client: GobgpClient) -> None:
    method = grpc.unary_stream_rpc_method_handler(
        hang, pb.ListPathRequest.FromString, pb.ListPathResponse.SerializeToString
    )
    server = await serve(tmp_path / "s", answers(DIALECTS[0], ListPath=method))
    with pytest.raises(SpeakerError, match=r"ListPath failed: no answer in time; gobgpd hangs"):
        await client.paths()
    await server.stop(None)


def test_deadlines_grow_with_the_work() -> None:
    assert Deadline().of() == 2
    assert Deadline().of(10_000) == 12
