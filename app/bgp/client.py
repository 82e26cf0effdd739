"""A small GoBGP 3 client over gRPC that lists, adds and removes paths. Every call but `watch_best` has a deadline."""

from collections.abc import AsyncIterator, Iterable, Sequence

import grpc
from google.protobuf.empty_pb2 import Empty

from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.wire import FAMILIES
from app.errors import SpeakerError

SERVICE = "/apipb.GobgpApi"
SERVICE_4 = "/api.GoBgpService"
BATCH = 500  # paths in a message; GoBGP takes the lock of its table once per message
OPTIONS = (
    ("grpc.max_receive_message_length", 256 << 20),  # one destination per message, but the default of 4 MiB is tight
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2000),  # how long one attempt may take: a busy host needs more than 100 ms
    ("grpc.max_reconnect_backoff_ms", 1000),  # the default grows to two minutes, too long after a gobgpd restart
)


class GobgpClient:
    """A client of the gobgpd at `target` (`unix:///path` or `host:port`).

    It connects on first use. Every method raises SpeakerError when the call fails.
    """

    def __init__(self, target: str, timeout_s: float = 2.0) -> None:
        self.target = target
        self._timeout_s = timeout_s
        self._channel = grpc.aio.insecure_channel(target, options=OPTIONS)
        self._list = self._channel.unary_stream(
            f"{SERVICE}/ListPath", pb.ListPathRequest.SerializeToString, pb.ListPathResponse.FromString
        )
        self._peers = self._channel.unary_stream(
            f"{SERVICE}/ListPeer", pb.ListPeerRequest.SerializeToString, pb.ListPeerResponse.FromString
        )
        self._watch = self._channel.unary_stream(
            f"{SERVICE}/WatchEvent", pb.WatchEventRequest.SerializeToString, pb.WatchEventResponse.FromString
        )
        self._send = self._channel.stream_unary(
            f"{SERVICE}/AddPathStream", pb.AddPathStreamRequest.SerializeToString, Empty.FromString
        )

    async def global_config(self) -> pb.Global:
        """Return the daemon's AS and router id; SpeakerError says so if it is GoBGP 4."""
        try:
            response: pb.GetBgpResponse = await self._get_bgp(SERVICE)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED and await self._is_version_4():
                raise SpeakerError(
                    f"{self.target}: this is GoBGP 4, but Autopilot speaks GoBGP 3: run gobgpd 3.x here"
                ) from error
            raise self._failed("GetBgp", error) from error
        return response.config

    async def destinations(self) -> list[pb.Destination]:
        """Return the global table of both families with every path; the best path of each prefix is flagged."""
        destinations: list[pb.Destination] = []
        try:
            for family in FAMILIES:
                request = pb.ListPathRequest(table_type=pb.GLOBAL, family=family)
                responses = self._list(request, timeout=self._timeout_s)
                destinations.extend([response.destination async for response in responses])
        except grpc.aio.AioRpcError as error:
            raise self._failed("ListPath", error) from error
        return destinations

    async def peers(self) -> list[pb.Peer]:
        """Return its configured BGP sessions, with their state and the number of routes in each direction."""
        try:
            request = pb.ListPeerRequest(enable_advertised=True)
            return [response.peer async for response in self._peers(request, timeout=self._timeout_s)]
        except grpc.aio.AioRpcError as error:
            raise self._failed("ListPeer", error) from error

    async def watch_best(self) -> AsyncIterator[Sequence[pb.Path]]:
        """Yield the best paths of the global table, then every change of them as it happens, until cancelled."""
        best = pb.WatchEventRequest.Table.Filter(type=pb.WatchEventRequest.Table.Filter.BEST, init=True)
        request = pb.WatchEventRequest(table=pb.WatchEventRequest.Table(filters=[best]))
        try:
            async for event in self._watch(request):
                yield event.table.paths
        except grpc.aio.AioRpcError as error:
            raise self._failed("WatchEvent", error) from error

    async def send(self, paths: Iterable[pb.Path]) -> None:
        """Add paths, or remove those with `is_withdraw`, in order. After a refused path, the rest are not sent."""
        batches = list(requests(list(paths)))
        if not batches:
            return
        try:
            await self._send(_stream(batches), timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise self._failed("AddPathStream", error) from error

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def _get_bgp(self, service: str) -> pb.GetBgpResponse:
        call = self._channel.unary_unary(
            f"{service}/GetBgp", pb.GetBgpRequest.SerializeToString, pb.GetBgpResponse.FromString
        )
        response: pb.GetBgpResponse = await call(pb.GetBgpRequest(), timeout=self._timeout_s)
        return response

    async def _is_version_4(self) -> bool:
        try:
            await self._get_bgp(SERVICE_4)
        except grpc.aio.AioRpcError:
            return False
        return True

    def _failed(self, call: str, error: grpc.aio.AioRpcError) -> SpeakerError:
        return failed(self.target, call, error)


def requests(paths: Sequence[pb.Path]) -> Iterable[pb.AddPathStreamRequest]:
    """Yield AddPathStream requests of at most BATCH paths each, in the order of `paths`."""
    for start in range(0, len(paths), BATCH):
        yield pb.AddPathStreamRequest(table_type=pb.GLOBAL, paths=paths[start : start + BATCH])


def failed(target: str, call: str, error: grpc.RpcError) -> SpeakerError:
    """Return the SpeakerError of a failed gRPC call: what went wrong, and what to do about it."""
    code, details = error.code(), error.details() or "no details"
    cause = details.rpartition(": ")[2].rstrip("]")  # gRPC wraps it in a line of its own state
    reason = {
        grpc.StatusCode.UNAVAILABLE: f"no connection ({cause}); is gobgpd running with --api-hosts at this address?",
        grpc.StatusCode.DEADLINE_EXCEEDED: "no answer in time; gobgpd hangs or is overloaded: restart it if this lasts",
        grpc.StatusCode.UNIMPLEMENTED: "unknown call; another program or major version listens here: run gobgpd 3.x",
    }.get(code, f"{code.name.lower()}: {details}; see gobgpd's log")
    return SpeakerError(f"{target}: {call} failed: {reason}")


async def _stream(batches: list[pb.AddPathStreamRequest]) -> AsyncIterator[pb.AddPathStreamRequest]:
    for batch in batches:
        yield batch
