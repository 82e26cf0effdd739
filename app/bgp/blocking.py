"""A BGP speaker for processes and threads without an event loop: it lists and withdraws our routes, nothing else."""

from typing import Any, Protocol

import grpc
from google.protobuf.empty_pb2 import Empty

from app.bgp.client import OPTIONS, SERVICE, failed, requests
from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.speaker import InjectedRoute
from app.bgp.wire import FAMILIES, our_routes, withdrawal

TIMEOUT_S = 2.0


class BlockingSpeaker(Protocol):
    """A BGP speaker for use without an event loop; its methods block, and raise SpeakerError when they fail."""

    def routes(self) -> dict[str, InjectedRoute]:
        """Return the routes that carry our marker, by prefix."""

    def withdraw(self, prefixes: list[str]) -> None:
        """Remove our routes for these prefixes."""

    def close(self) -> None:
        """Close the connection; the routes stay in the daemon."""


class BlockingGobgp:
    """The gobgpd at `target`, over blocking gRPC calls with a deadline of TIMEOUT_S.

    With `in_host_time` leases end by the clock of the daemon's host (see wire.our_routes).
    """

    def __init__(self, target: str, marker: str, in_host_time: bool = False) -> None:
        self._target = target
        self._in_host_time = in_host_time
        self._marker = marker
        self._channel = grpc.insecure_channel(target, options=OPTIONS)
        self._list = self._channel.unary_stream(
            f"{SERVICE}/ListPath", pb.ListPathRequest.SerializeToString, pb.ListPathResponse.FromString
        )
        self._send = self._channel.stream_unary(
            f"{SERVICE}/AddPathStream", pb.AddPathStreamRequest.SerializeToString, Empty.FromString
        )

    def routes(self) -> dict[str, InjectedRoute]:
        """Return the routes that carry our marker, by prefix; SpeakerError if gobgpd does not answer."""
        list_requests = [pb.ListPathRequest(table_type=pb.GLOBAL, family=family) for family in FAMILIES]
        try:
            responses: list[Any] = [
                response for request in list_requests for response in self._list(request, timeout=TIMEOUT_S)
            ]
        except grpc.RpcError as error:
            raise failed(self._target, "ListPath", error) from error
        destinations = (response.destination for response in responses)
        return our_routes(destinations, self._marker, self._in_host_time)

    def withdraw(self, prefixes: list[str]) -> None:
        """Remove our routes for these prefixes; SpeakerError if gobgpd does not answer."""
        try:
            self._send(requests([withdrawal(prefix) for prefix in prefixes]), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise failed(self._target, "AddPathStream", error) from error

    def close(self) -> None:
        """Close the connection; the routes stay in gobgpd."""
        self._channel.close()
