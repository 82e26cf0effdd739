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
from app.contract.topics import CHANGELOG_CONFIG
from app.errors import DaemonError
from app.kafka import client
from app.kafka.admin import create
from app.kafka.topic_ids import TopicState, describe_topics, states_by_broker, topic_ids
from app.logs import OFTEN
from app.stream.answers import answered
from app.stream.app import ExactApp
from app.stream.incarnations import Found
from app.stream.local_state import ChangelogFound, InUse, Local, believe_or_set_aside, folder_of

T = TypeVar("T")

log = logging.getLogger(__name__)

RETRY_S = 0.5
LAG_S = 5.0  # how long a topic that has just been created may be unknown to a broker
IN_USE_TRIES = 30  # a second apart, as Faust's own


async def prepare(app: ExactApp) -> None:
    """Learn the inputs' ids, drop old commits, create changelogs, set aside local rows that cannot be believed.

    DaemonError, EnvironmentProblem or KafkaError if the app cannot start.
    """
    app.inputs.ids = await input_ids(app.kafka, inputs_of(app))
    await forget_old_commits(app)
    await make_changelogs(app)
    await known_topics(app.kafka, changelogs_of(app))
    await check_local_state(app)


def inputs_of(app: ExactApp) -> list[str]:
    """The topics that the agents of an app read, sorted."""
    channels: list[Any] = [agent.channel for agent in app.agents.values()]
    return sorted({topic for channel in channels for topic in channel.topics})


def changelogs_of(app: ExactApp) -> list[str]:
    """The changelogs of an app's tables, sorted."""
    return sorted(str(table.changelog_topic_name) for table in app.tables.values())


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
            log.warning("the id and the commit of %s: %s; asking again", topic, client.why(kafka, error), extra=OFTEN)
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
    """The ids of these topics; DaemonError if no broker answers, or if one is missing or has other partitions."""
    return {name: state.topic_id for name, state in (await known_topics(kafka, wanted)).items()}


async def known_topics(kafka: Kafka, wanted: Sequence[str]) -> dict[str, TopicState]:
    """These topics, as soon as every broker knows them and their leaders; DaemonError if that does not come.

    The group may be joined through any broker. One that lacks a topic would have Faust go on without it, until its
    first write fails with a PartitionsMismatch (seen once in a dozen first starts).
    """
    unknown: set[str] = set()
    try:
        async with asking(kafka) as admin:
            begun_s = asyncio.get_running_loop().time()
            while True:
                brokers = await states_by_broker(admin, wanted)
                missing = {name for name in wanted if not any(name in states for states in brokers)}
                unknown = {name for name in wanted if not all(_is_usable(states.get(name)) for states in brokers)}
                if not unknown or (missing and asyncio.get_running_loop().time() - begun_s >= LAG_S):
                    break
                await asyncio.sleep(RETRY_S)
    except (KafkaError, TimeoutError) as error:
        if unknown:
            raise DaemonError(f"broker {kafka.broker}: {', '.join(sorted(unknown))}: no leader yet") from error
        raise DaemonError(client.unreachable(kafka, error)) from error
    if missing:
        raise DaemonError(
            f"broker {kafka.broker}: no topic {', '.join(sorted(missing))}; `autopilot check` shows how to create it"
        )
    for name, state in brokers[0].items():
        if state.partitions != 1:
            raise DaemonError(
                f"topic {name} has {state.partitions} partitions, and only the first of them would be read: what is in"
                " the others would not be counted; `autopilot check` shows what to do"
            )
    return brokers[0]


def _is_usable(state: TopicState | None) -> bool:
    return state is not None and state.has_leaders


async def forget_old_commits(app: ExactApp) -> None:
    """Set the group's commits back: for recreated inputs to their beginning, for those that lost their end to it.

    DaemonError while the group has members, because they could commit again; they find out, too, and end.
    """
    group, known = app.conf.id, app.inputs
    try:
        async with asking(app.kafka) as admin:
            commits = await commits_of(admin, group)
    except (KafkaError, TimeoutError) as error:
        raise DaemonError(client.unreachable(app.kafka, error)) from error
    of_inputs = {tp: commit for tp, commit in commits.items() if tp.topic in known.ids}
    if not of_inputs:
        return
    old = [tp for tp, commit in of_inputs.items() if known.is_old(tp.topic, commit.metadata)]
    try:
        async with client.started(client.consumer(app.kafka)) as consumer:
            begins, ends = await consumer.beginning_offsets(old), await consumer.end_offsets(list(of_inputs))
        cut = [tp for tp, commit in of_inputs.items() if tp not in old and commit.offset > ends[tp]]
        if back := {tp: begins[tp] for tp in old} | {tp: ends[tp] for tp in cut}:
            async with client.started(client.consumer(app.kafka, group_id=group)) as consumer:
                consumer.assign(list(back))
                await consumer.commit({tp: OffsetAndMetadata(at, known.ids[tp.topic]) for tp, at in back.items()})
    except KafkaError as error:
        what = "commits of a topic that was recreated, or has lost its end,"
        raise DaemonError(
            f"{group}: {what} cannot be set back, {client.why(app.kafka, error)}; is a worker running?"
        ) from error
    for topics, says in ((old, "recreated, so read from the beginning"), (cut, "has lost its end, so read from there")):
        if topics:
            log.warning("%s: %s", says, ", ".join(tp.topic for tp in topics))


async def make_changelogs(app: ExactApp) -> None:
    """Create missing changelogs before Faust does: it may join its group before it knows a new topic."""
    names = set(changelogs_of(app))
    factor = app.kafka.replication_factor
    try:
        async with asking(app.kafka) as admin:
            new = sorted(names - set(await admin.list_topics()))
    except (KafkaError, TimeoutError) as error:
        raise DaemonError(client.unreachable(app.kafka, error)) from error
    await create(app.kafka, [NewTopic(name, 1, factor, topic_configs=CHANGELOG_CONFIG) for name in new])


async def check_local_state(app: ExactApp) -> None:
    """Set aside the local rows that cannot be believed (app/stream/local_state.py), before Faust opens them.

    DaemonError if the broker does not answer, EnvironmentProblem if the disk or another process is in the way.
    """
    changelogs = await found_changelogs(app) if app.tables else {}
    for name, table in app.tables.items():
        # Not by the table's own store, which would belong to the event loop that runs this.
        local = Local(name, folder_of(Path(app.conf.tabledir), name))
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


async def found_changelogs(app: ExactApp) -> dict[str, ChangelogFound]:
    """The changelogs of an app's tables by name, as the broker has them now; DaemonError if it does not answer."""
    names = changelogs_of(app)
    partitions = [TopicPartition(name, 0) for name in names]
    try:
        async with asking(app.kafka) as admin, client.started(client.consumer(app.kafka)) as consumer:
            described = await describe_topics(admin, names)
            begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    except (KafkaError, TimeoutError) as error:
        raise DaemonError(client.unreachable(app.kafka, error)) from error
    return {
        name: ChangelogFound(name, described.ids[name], described.cluster_id, ends[tp], begins[tp])
        for name, tp in zip(names, partitions, strict=True)
    }
