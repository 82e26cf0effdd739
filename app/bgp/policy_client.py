"""Reads the policies of a GoBGP 3 or 4 over gRPC. It changes nothing."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from google.protobuf.message import Message

from app.bgp.calls import Deadline, serialize
from app.bgp.client import GobgpClient, answering
from app.bgp.dialect import Dialect
from app.bgp.proto import policy_pb2 as pb
from app.bgp.tls import Tls


class GobgpPolicies(NamedTuple):
    """What a gobgpd says of itself: its AS, sessions, dynamic neighbours, defined sets and policy assignments."""

    asn: int
    peers: Sequence[pb.Peer]
    dynamic: Sequence[pb.DynamicNeighbor]
    sets: Sequence[pb.DefinedSet]
    assignments: Sequence[pb.PolicyAssignment]


async def read_policies(target: str, timeout_s: float, tls: Tls | None = None) -> GobgpPolicies:
    """The policies of the gobgpd at `target`, in the numbers of GoBGP 3; SpeakerError if they cannot be read."""
    client = GobgpClient(target, Deadline(timeout_s), tls)

    async def every(call: str, request: Message, response: type[Message]) -> list[Any]:
        stream = client.channel().unary_stream(f"{dialect.service}/{call}", serialize, response.FromString)
        with answering(target, call):
            return [each async for each in stream(request, timeout=timeout_s)]

    try:
        config, dialect = await client.global_config(), await client.dialect()
        peers = await every("ListPeer", pb.ListPeerRequest(), pb.ListPeerResponse)
        dynamic = await every("ListDynamicNeighbor", pb.ListDynamicNeighborRequest(), pb.ListDynamicNeighborResponse)
        sets = []
        for kind in (pb.PREFIX, pb.NEIGHBOR, pb.COMMUNITY):
            request = pb.ListDefinedSetRequest(defined_type=dialect.first + kind)
            for answer in await every("ListDefinedSet", request, pb.ListDefinedSetResponse):
                answer.defined_set.defined_type = kind
                sets.append(answer.defined_set)
        assigned = await every(
            "ListPolicyAssignment", pb.ListPolicyAssignmentRequest(), pb.ListPolicyAssignmentResponse
        )
        for each in assigned:
            _count_from_0(each.assignment, dialect)
    finally:
        await client.close()
    return GobgpPolicies(
        config.asn,
        [each.peer for each in peers],
        [each.dynamic_neighbor for each in dynamic],
        sets,
        [each.assignment for each in assigned],
    )


def _count_from_0(assignment: pb.PolicyAssignment, dialect: Dialect) -> None:
    """Give the match types the numbers that they have in GoBGP 3."""
    for policy in assignment.policies:
        for statement in policy.statements:
            for _, condition in statement.conditions.ListFields():
                if isinstance(condition, pb.MatchSet):
                    condition.type = cast(pb.MatchSet.Type, condition.type - dialect.first)
