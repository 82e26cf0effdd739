"""What an app asks its broker and its disk, and changes there, before it starts: topics, commits, changelogs, rows."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from app.clock import SystemClock
from app.config.settings import Kafka
from app.errors import DaemonError
from app.kafka import client
from app.kafka.admin import create
from app.kafka.topic_ids import Described, describe_topics, topic_ids
from app.stream.app import ExactApp
from app.stream.incarnations import Found
from app.stream.local_state import ChangelogFound, InUse, Local, believe_or_set_aside

T = TypeVar("T")

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
# A worker that was frozen may write an old row after its successor's newer one. Compaction must not drop the newer one
# before both have been read: the rows show which is newer (tables/store.py).
CHANGELOG_CONFIG = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(DAY_MS)}
FIRST_GROUP_S = 30.0
IN_USE_TRIES = 30  # a second apart, as Faust's own
ANSWER_S = 5.0  # then the process ends and its supervisor tries again; a worker that hangs would go unnoticed


async def prepare(app: ExactApp) -> None:
    """Learn the inputs' ids, drop old commits, create changelogs, set aside local rows that cannot be believed.

    DaemonError, EnvironmentProblem or KafkaError if the app cannot start.
    """
    app.inputs.ids = await input_ids(app.kafka, inputs_of(app))
    await forget_old_commits(app)
    await make_changelogs(app)
    await check_local_state(app)


def inputs_of(app: ExactApp) -> list[str]:
    """The topics that the agents of an app read, sorted."""
    channels: list[Any] = [agent.channel for agent in app.agents.values()]
    return sorted({topic for channel in channels for topic in channel.topics})


async def ask(kafka: Kafka, group: str, topic: str) -> Found:
    """Ask the broker for a topic's id and the mark of the group's commit; raises KafkaError or TimeoutError."""
    async with asking(kafka) as admin:
        ids = await topic_ids(admin, [topic])
        commits = await commits_of(admin, group)
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
async def asking(kafka: Kafka, within_s: float = ANSWER_S) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client; KafkaError or TimeoutError unless all is answered within `within_s` seconds."""
    async with asyncio.timeout(within_s), client.started(client.admin(kafka, within_s)) as admin:
        yield admin


async def input_ids(kafka: Kafka, wanted: Sequence[str]) -> dict[str, str]:
    """The ids of these topics; DaemonError if the broker does not answer, lacks one, or has more than one partition."""
    try:
        async with asking(kafka) as admin:
            described = await describe_topics(admin, wanted)
    except (KafkaError, TimeoutError) as error:
        raise DaemonError(
            f"broker {kafka.broker}: {client.describe(error)}; is it running there, is kafka.broker right?"
        ) from error
    if missing := set(wanted) - set(described.ids):
        raise DaemonError(
            f"broker {kafka.broker}: no topic {', '.join(sorted(missing))}; `autopilot check` shows how to create it"
        )
    refuse_partitions(kafka, described)
    return described.ids


def refuse_partitions(kafka: Kafka, described: Described) -> None:
    """DaemonError if a topic has more than the one partition that is read; Faust would ask for larger changelogs."""
    if many := [f"{name} has {count}" for name, count in sorted(described.partitions.items()) if count != 1]:
        raise DaemonError(
            f"broker {kafka.broker}: topics need one partition: {', '.join(many)}; delete them and create them again"
        )


async def forget_old_commits(app: ExactApp) -> None:
    """Set the group's commits for earlier incarnations of its inputs back to the beginning.

    DaemonError while the group has members, because they could commit again; they find out, too, and end.
    """
    group, known = app.conf.id, app.inputs
    try:
        async with asking(app.kafka, FIRST_GROUP_S) as admin:
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


async def check_local_state(app: ExactApp) -> None:
    """Set aside the local rows that cannot be believed (app/stream/local_state.py), before Faust opens them.

    DaemonError if the broker does not answer, EnvironmentProblem if the disk or another process is in the way.
    """
    changelogs = await changelogs_of(app) if app.tables else {}
    for name, table in app.tables.items():
        # Not by the table's own store, which would belong to the event loop that runs this.
        local = Local(name, Path(app.conf.tabledir) / f"{name}-0.db")
        changelog = changelogs[str(table.changelog_topic_name)]
        await patiently(partial(believe_or_set_aside, local, changelog, SystemClock().now_s()))


async def patiently(look: Callable[[], T], tries: int = IN_USE_TRIES, every_s: float = 1.0) -> T:
    """Call `look` in a thread, again while another process, perhaps a worker that ends, has the database open."""
    while True:
        try:
            return await asyncio.to_thread(look)
        except InUse:
            if (tries := tries - 1) <= 0:
                raise
        await asyncio.sleep(every_s)


async def changelogs_of(app: ExactApp) -> dict[str, ChangelogFound]:
    """The changelogs of an app's tables by name, as the broker has them now; DaemonError if it does not answer."""
    names = sorted(str(table.changelog_topic_name) for table in app.tables.values())
    partitions = [TopicPartition(name, 0) for name in names]
    try:
        async with asking(app.kafka, FIRST_GROUP_S) as admin, client.started(client.consumer(app.kafka)) as consumer:
            while set(names) != (described := await describe_topics(admin, names)).ids.keys():
                await asyncio.sleep(0.2)  # a broker learns of a new topic a moment after the controller
            ends = await consumer.end_offsets(partitions)
    except (KafkaError, TimeoutError) as error:
        raise DaemonError(f"broker {app.kafka.broker}: {client.describe(error)}; is it running there?") from error
    refuse_partitions(app.kafka, described)
    return {
        name: ChangelogFound(name, described.ids[name], described.cluster_id, ends[tp])
        for name, tp in zip(names, partitions, strict=True)
    }
