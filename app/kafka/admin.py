"""Creates topics on a broker as app/contract/topics.py defines them."""

from collections.abc import Mapping, Sequence

from aiokafka.admin import NewTopic
from aiokafka.errors import InvalidReplicationFactorError, KafkaError, TopicAlreadyExistsError, for_code

from app.config.settings import Kafka
from app.contract.topics import Topic
from app.errors import DaemonError
from app.kafka import client


async def create_topics(kafka: Kafka, topics: Mapping[str, Topic]) -> None:
    """Create these topics with their configuration; DaemonError names those that could not be created."""
    factor = kafka.replication_factor
    await create(
        kafka, [NewTopic(name, one.partitions, factor, topic_configs=one.config) for name, one in topics.items()]
    )


async def create(kafka: Kafka, wanted: Sequence[NewTopic]) -> None:
    """Create these topics; one that somebody else has just created will do. DaemonError names the others."""
    try:
        async with client.started(client.admin(kafka)) as admin:
            response = await admin.create_topics(wanted)
    except KafkaError as error:
        raise DaemonError(f"broker {kafka.broker}: cannot create topics: {client.describe(error)}") from error
    if any(code == InvalidReplicationFactorError.errno for _, code, _ in response.topic_errors):
        raise DaemonError(
            f"broker {kafka.broker}: cannot create topics: kafka.replication_factor is {kafka.replication_factor}, and"
            " the cluster has fewer brokers; set it to 1 for a cluster of one"
        )
    refused = [
        f"{name}: {for_code(code).__name__} {text or ''}"
        for name, code, text in response.topic_errors
        if code not in (0, TopicAlreadyExistsError.errno)
    ]
    if refused:
        raise DaemonError(f"broker {kafka.broker}: cannot create topics: " + "; ".join(refused))


async def missing_topics(kafka: Kafka, topics: Mapping[str, Topic]) -> dict[str, Topic]:
    """The topics that the broker lacks; DaemonError if it does not answer."""
    try:
        async with client.started(client.admin(kafka)) as admin:
            existing = {entry["topic"] for entry in await admin.describe_topics()}
    except KafkaError as error:
        raise DaemonError(
            f"broker {kafka.broker}: {client.describe(error)}; is it running there, is kafka.broker right?"
        ) from error
    return {name: topic for name, topic in topics.items() if name not in existing}
