"""What brokers say of topics: their partitions, and the ids (KIP-516) that tell a topic from one recreated.

aiokafka 0.14 requests metadata only up to version 5, which has no ids; brokers return them since 3.0 (version 12).
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any, NamedTuple
from uuid import UUID

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, NodeNotReadyError, TopicAuthorizationFailedError
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from app import private_names

NONE = UUID(int=0)  # in a request "by name", in a response the id of a topic that does not exist
TEXT = CompactString("utf-8")


class Uuid(AbstractType[UUID]):  # type: ignore[misc]  # aiokafka has no types
    """A UUID, which is 16 bytes on the wire."""

    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


BROKER = (("node_id", Int32), ("host", TEXT), ("port", Int32), ("rack", TEXT), ("tags", TaggedFields))
PARTITION = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", CompactArray(Int32)),
    ("isr", CompactArray(Int32)),
    ("offline_replicas", CompactArray(Int32)),
    ("tags", TaggedFields),
)
TOPIC = (
    ("error_code", Int16),
    ("topic", TEXT),
    ("topic_id", Uuid),
    ("is_internal", Boolean),
    ("partitions", CompactArray(*PARTITION)),
    ("authorized_operations", Int32),
    ("tags", TaggedFields),
)


class MetadataResponseV12(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(*BROKER)),
        ("cluster_id", TEXT),
        ("controller_id", Int32),
        ("topics", CompactArray(*TOPIC)),
        ("tags", TaggedFields),
    )


class MetadataRequestV12(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = MetadataResponseV12
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", Uuid), ("topic", TEXT), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicsRequest(Request[MetadataRequestV12]):  # type: ignore[misc]
    """A request for the metadata of these topics, which creates none of them."""

    API_KEY = 3

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def build(self, request_struct_class: type[MetadataRequestV12]) -> MetadataRequestV12:
        return request_struct_class([(NONE, name, {}) for name in self._names], False, False, {})


class TopicState(NamedTuple):
    """A topic as one broker knows it; without `has_leaders` it cannot be read or written everywhere yet."""

    topic_id: str
    partitions: int
    has_leaders: bool


async def topic_states(
    admin: AIOKafkaAdminClient, names: Sequence[str], node_id: int | None = None
) -> dict[str, TopicState]:
    """The state of each of these topics that exists, by name; KafkaError if the broker does not answer or allow it.

    Any broker is asked, or that of this id: the others may not know yet what has just been created.
    """
    response: Any = await private_names.send_request(admin, TopicsRequest(names), node_id)
    if any(error == TopicAuthorizationFailedError.errno for error, *_ in response.topics):
        raise TopicAuthorizationFailedError  # without a right to it, a topic looks as if it were not there
    return {
        name: TopicState(str(topic_id), len(partitions), all(not error for error, *_ in partitions))
        for error, name, topic_id, _, partitions, *_ in response.topics
        if not error and topic_id != NONE
    }


async def states_by_broker(admin: AIOKafkaAdminClient, names: Sequence[str]) -> list[dict[str, TopicState]]:
    """The same as each broker says that answers; KafkaError if none does."""
    cluster: Any = private_names.connections_of(admin).cluster
    states: list[dict[str, TopicState]] = []
    failure: KafkaError = NodeNotReadyError()
    for node_id in sorted(broker.nodeId for broker in cluster.brokers()):
        try:
            states.append(await topic_states(admin, names, node_id))
        except KafkaError as error:
            failure = error
    if not states:
        raise failure
    return states


class Described(NamedTuple):
    """The id of a Kafka cluster, and by name the id of each topic that exists."""

    cluster_id: str
    ids: dict[str, str]


async def describe_topics(admin: AIOKafkaAdminClient, names: Sequence[str]) -> Described:
    """What the broker says of these topics and of itself; KafkaError if it does not answer."""
    response: Any = await private_names.send_request(admin, TopicsRequest(names))
    existing = [entry for entry in response.topics if not entry[0] and entry[2] != NONE]
    return Described(
        response.cluster_id,
        {entry[1]: str(entry[2]) for entry in existing},
    )


async def topic_ids(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, str]:
    """The id of each of these topics that exists, by name; KafkaError if the broker does not answer."""
    return {name: state.topic_id for name, state in (await topic_states(admin, names)).items()}
