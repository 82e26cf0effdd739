"""Reads the policies of a GoBGP 3 over gRPC. It changes nothing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import Message

from app.bgp.calls import Deadline
from app.bgp.client import GobgpClient, failed
from app.bgp.dialect import Gobgp3
from app.bgp.proto import policy_pb2 as pb


class GobgpPolicies(NamedTuple):
    """What a gobgpd says of itself: its AS, sessions, dynamic neighbours, defined sets and policy assignments."""

    asn: int
    peers: Sequence[pb.Peer]
    dynamic: Sequence[pb.DynamicNeighbor]
    sets: Sequence[pb.DefinedSet]
    assignments: Sequence[pb.PolicyAssignment]


async def read_policies(target: str, timeout_s: float) -> GobgpPolicies:
    """The policies of the gobgpd at `target`; SpeakerError if they cannot be read, for example from GoBGP 4."""
    client = GobgpClient(target, Deadline(timeout_s))
    channel = grpc.aio.insecure_channel(target)

    async def every(call: str, request: Message, response: type[Message]) -> list[Any]:
        stream = channel.unary_stream(f"{Gobgp3.service}/{call}", type(request).SerializeToString, response.FromString)
        try:
            return [each async for each in stream(request, timeout=timeout_s)]
        except grpc.aio.AioRpcError as error:
            raise failed(target, call, error) from error

    try:
        config = await client.global_config()
        peers = await every("ListPeer", pb.ListPeerRequest(), pb.ListPeerResponse)
        dynamic = await every("ListDynamicNeighbor", pb.ListDynamicNeighborRequest(), pb.ListDynamicNeighborResponse)
        sets = [
            each.defined_set
            for kind in (pb.PREFIX, pb.NEIGHBOR, pb.COMMUNITY)
            for each in await every(
                "ListDefinedSet", pb.ListDefinedSetRequest(defined_type=kind), pb.ListDefinedSetResponse
            )
        ]
        assigned = await every(
            "ListPolicyAssignment", pb.ListPolicyAssignmentRequest(), pb.ListPolicyAssignmentResponse
        )
    finally:
        await channel.close()
        await client.close()
    return GobgpPolicies(
        config.asn,
        [each.peer for each in peers],
        [each.dynamic_neighbor for each in dynamic],
        sets,
        [each.assignment for each in assigned],
    )
