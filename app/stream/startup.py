"""What an app asks its broker, and changes there, before it starts: topic ids, commits, changelogs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from app.config.settings import Kafka
from app.errors import DaemonError
from app.kafka import client
from app.kafka.admin import create
from app.kafka.topic_ids import topic_ids
from app.stream.answers import answered
from app.stream.app import ExactApp
from app.stream.incarnations import Found

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
# A worker that was frozen may write an old row after its successor's newer one. Compaction must not drop the newer one
# before both have been read: the rows show which is newer (tables/store.py).
CHANGELOG_CONFIG = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(DAY_MS)}
RETRY_S = 0.5


async def prepare(app: ExactApp) -> None:
    """Learn the inputs' ids, drop old commits, create changelogs; DaemonError or KafkaError if the app cannot start."""
    app.inputs.ids = await input_ids(app.kafka, inputs_of(app))
    await forget_old_commits(app)
    await make_changelogs(app)


def inputs_of(app: ExactApp) -> list[str]:
    """The topics that the agents of an app read, sorted."""
    channels: list[Any] = [agent.channel for agent in app.agents.values()]
    return sorted({topic for channel in channels for topic in channel.topics})


async def ask(kafka: Kafka, group: str, topic: str) -> Found:
    """Ask the brokers for a topic's id and the mark of the group's commit; ExactnessError if none answers in time.

    A broker that restarts refuses connections, or is not the coordinator any more: another one is asked.
    """
    [found] = await answered(f"the id and the commit of {topic}", kafka.answer_s, [_asked(kafka, group, topic)])
    return found


async def _asked(kafka: Kafka, group: str, topic: str) -> Found:
    while True:
        try:
            async with asking(kafka) as admin:
                ids = await topic_ids(admin, [topic])
                commits = await commits_of(admin, group)
        except (KafkaError, TimeoutError) as error:
            if isinstance(error, KafkaError) and not error.retriable:
                raise
            log.warning("the id and the commit of %s: %s; asking again", topic, client.describe(error))
            await asyncio.sleep(RETRY_S)
        else:
            mark = next((commit.metadata for tp, commit in commits.items() if tp.topic == topic), "")
            return Found(ids.get(topic), mark)


async def commits_of(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """What a group has committed. On a new broker, wait until it has created its topic of commits."""
    while True:
        try:
            commits: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(group)
            return commits
        except GroupCoordinatorNotAvailableError:
            await asyncio.sleep(0.2)


@asynccontextmanager
async def asking(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client; KafkaError or TimeoutError unless all is answered within `kafka.answer_s`."""
    async with asyncio.timeout(kafka.answer_s), client.started(client.admin(kafka, kafka.answer_s)) as admin:
        yield admin


async def input_ids(kafka: Kafka, wanted: Sequence[str]) -> dict[str, str]:
    """The ids of these topics; DaemonError if the broker does not answer or lacks one of them."""
    try:
        async with asking(kafka) as admin:
            ids = await topic_ids(admin, wanted)
    except (KafkaError, TimeoutError) as error:
        raise DaemonError(
            f"broker {kafka.broker}: {client.describe(error)}; is it running there, is kafka.broker right?"
        ) from error
    if missing := set(wanted) - set(ids):
        raise DaemonError(
            f"broker {kafka.broker}: no topic {', '.join(sorted(missing))}; `autopilot check` shows how to create it"
        )
    return ids


async def forget_old_commits(app: ExactApp) -> None:
    """Set the group's commits for earlier incarnations of its inputs back to the beginning.

    DaemonError while the group has members, because they could commit again; they find out, too, and end.
    """
    group, known = app.conf.id, app.inputs
    try:
        async with asking(app.kafka) as admin:
            commits = await commits_of(admin, group)
    except (KafkaError, TimeoutError) as error:
        raise DaemonError(f"broker {app.kafka.broker}: {client.describe(error)}; is it running there?") from error
    old = [tp for tp, commit in commits.items() if tp.topic in known.ids and known.is_old(tp.topic, commit.metadata)]
    if not old:
        return
    try:
        async with client.started(client.consumer(app.kafka, group_id=group)) as consumer:
            consumer.assign(old)
            begins = await consumer.beginning_offsets(old)
            await consumer.commit({tp: OffsetAndMetadata(begins[tp], known.ids[tp.topic]) for tp in old})
    except KafkaError as error:
        raise DaemonError(
            f"{group}: commits of a recreated topic cannot be set back, {client.describe(error)}; is a worker running?"
        ) from error
    log.warning("recreated, so read from the beginning: %s", ", ".join(tp.topic for tp in old))


async def make_changelogs(app: ExactApp) -> None:
    """Create missing changelogs before Faust does: it may join its group before it knows a new topic.

    Seen once in a dozen first starts: recovery without the partition, then PartitionsMismatch at the first write.
    """
    names = {str(table.changelog_topic_name) for table in app.tables.values()}
    factor = app.kafka.replication_factor
    try:
        async with asking(app.kafka) as admin:
            new = sorted(names - set(await admin.list_topics()))
    except (KafkaError, TimeoutError) as error:
        raise DaemonError(f"broker {app.kafka.broker}: {client.describe(error)}; is it running there?") from error
    await create(app.kafka, [NewTopic(name, 1, factor, topic_configs=CHANGELOG_CONFIG) for name in new])
