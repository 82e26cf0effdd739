"""Creates topics on a broker as app/contract/topics.py defines them, and deletes topics and groups of ours."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence

from aiokafka.admin import NewTopic
from aiokafka.errors import (
    GroupIdNotFound,
    InvalidReplicationFactorError,
    KafkaError,
    NonEmptyGroup,
    TopicAlreadyExistsError,
    for_code,
)
from aiokafka.protocol.admin import DeleteGroupsRequest

from app import private_names
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
        raise DaemonError(f"broker {kafka.broker}: cannot create topics: {client.why(kafka, error)}") from error
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
        raise DaemonError(client.unreachable(kafka, error)) from error
    return {name: topic for name, topic in topics.items() if name not in existing}


async def delete_group(kafka: Kafka, group: str) -> bool:
    """Delete a consumer group with its commits; return whether there was one. DaemonError while it has members."""
    try:
        async with client.started(client.admin(kafka)) as admin:
            coordinator = await admin.find_coordinator(group)
            response = await private_names.send_request_to_node(admin, coordinator, DeleteGroupsRequest([group]))
    except (KafkaError, TimeoutError) as error:
        raise DaemonError(client.unreachable(kafka, error)) from error
    code: int = response.results[0][1]
    if code == NonEmptyGroup.errno:
        raise DaemonError(
            f"group {group} has members: stop its workers first; one that was killed is a member for"
            f" {kafka.session_timeout_s:g} s more"
        )
    if code not in (0, GroupIdNotFound.errno):
        raise DaemonError(f"broker {kafka.broker}: cannot delete the group {group}: {for_code(code).__name__}")
    return not code


def changelogs_among(names: Iterable[str], app_id: str) -> list[str]:
    """The changelogs of an app's tables, whose names have no hyphen, among these topics; sorted."""
    is_changelog = re.compile(f"{re.escape(app_id)}-[a-z_]+-changelog").fullmatch
    return sorted(filter(is_changelog, names))


async def delete_changelogs(kafka: Kafka, app_id: str, within_s: float = 30.0) -> list[str]:
    """Delete an app's changelogs, wait until they are gone, and return their names; DaemonError if that fails."""
    try:
        async with asyncio.timeout(within_s), client.started(client.admin(kafka)) as admin:
            names = changelogs_among(await admin.list_topics(), app_id)
            answers = (await admin.delete_topics(names)).topic_error_codes if names else []
            refused = [f"{name}: {for_code(code).__name__}" for name, code in answers if code]
            while not refused and set(names) & set(await admin.list_topics()):
                await asyncio.sleep(0.2)
    except (KafkaError, TimeoutError) as error:
        raise DaemonError(f"broker {kafka.broker}: cannot delete topics: {client.why(kafka, error)}") from error
    if refused:
        raise DaemonError(f"broker {kafka.broker}: cannot delete topics: " + "; ".join(refused))
    return names
