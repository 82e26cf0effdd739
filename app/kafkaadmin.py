"""Topics as the one table has them, made on a broker."""

from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code

from app.contract.topics import Topic
from app.errors import DaemonError


async def create_topics(broker: str, topics: Mapping[str, Topic], replication_factor: int = 1) -> None:
    """Create all of them with their configuration; DaemonError names what failed."""
    wanted = [
        NewTopic(name, topic.partitions, replication_factor, topic_configs=topic.config)
        for name, topic in topics.items()
    ]
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    try:
        await admin.start()
        response = await admin.create_topics(wanted)
    except KafkaError as error:
        raise DaemonError(f"broker {broker}: cannot create topics: {error!r}") from error
    finally:
        await admin.close()
    refused = [f"{name}: {for_code(code).__name__} {text or ''}" for name, code, text in response.topic_errors if code]
    if refused:
        raise DaemonError(f"broker {broker}: cannot create topics: " + "; ".join(refused))


async def missing_topics(broker: str, topics: Mapping[str, Topic]) -> dict[str, Topic]:
    """Those of the topics that the broker does not have; DaemonError when it does not answer."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    try:
        await admin.start()
        found = {entry["topic"] for entry in await admin.describe_topics()}
    except KafkaError as error:
        raise DaemonError(f"broker {broker}: {error!r}; is it running there, is kafka.broker right?") from error
    finally:
        await admin.close()
    return {name: topic for name, topic in topics.items() if name not in found}
