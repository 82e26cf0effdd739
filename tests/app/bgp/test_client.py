"""What the client says when the other side is not a GoBGP 3 that answers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from app.bgp.client import SERVICE, SERVICE_4, GobgpClient
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
    made = GobgpClient(f"unix://{tmp_path}/s", timeout_s=0.5)
    yield made
    await made.close()


async def answer_global(_: object, __: object) -> pb.GetBgpResponse:
    return pb.GetBgpResponse(config=pb.Global(asn=64512))


def answers_global(service: str) -> grpc.GenericRpcHandler:
    method = grpc.unary_unary_rpc_method_handler(
        answer_global, pb.GetBgpRequest.FromString, pb.GetBgpResponse.SerializeToString
    )
    return grpc.method_handlers_generic_handler(service.removeprefix("/"), {"GetBgp": method})


async def test_gobgp_4_is_named(tmp_path: Path, client: GobgpClient) -> None:
    server = await serve(tmp_path / "s", answers_global(SERVICE_4))
    with pytest.raises(SpeakerError, match=r"this is GoBGP 4, but Autopilot speaks GoBGP 3: run gobgpd 3"):
        await client.global_config()
    await server.stop(None)


async def test_another_program_is_told_from_gobgp_4(tmp_path: Path, client: GobgpClient) -> None:
    server = await serve(tmp_path / "s")
    with pytest.raises(SpeakerError, match="another program"):
        await client.global_config()
    await server.stop(None)


async def test_nobody_there(client: GobgpClient) -> None:
    with pytest.raises(SpeakerError, match="is gobgpd running"):
        await client.destinations()


async def test_a_busy_gobgpd_may_take_its_time_to_connect(tmp_path: Path) -> None:
    server = await serve(tmp_path / "s", answers_global(SERVICE))
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
    client = GobgpClient(f"unix://{tmp_path}/busy", timeout_s=PATIENCE_S)
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
    server = await serve(
        tmp_path / "s", grpc.method_handlers_generic_handler(SERVICE.removeprefix("/"), {"ListPath": method})
    )
    with pytest.raises(SpeakerError, match=r"ListPath failed: no answer in time; gobgpd hangs"):
        await client.destinations()
    await server.stop(None)
