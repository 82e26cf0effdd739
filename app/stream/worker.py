"""The one way we make and run a Faust app: the settings that held under faults, and nothing that listens in public."""

import asyncio
import gc
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faust
import mode
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from app.errors import DaemonError
from app.settings import Settings
from app.stream.consumer import BatchConsumer
from app.stream.makings import Inputs, inputs
from app.stream.recovery import LoudTable, LoudTables
from app.stream.topicids import topic_ids

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
# A worker that was frozen may write an old row after its successor's newer one. Compaction must not drop the newer one
# before both were read: which is newer the rows tell (tables/store.py).
CHANGELOG_CONFIG = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(DAY_MS)}
# Records are millions of short-lived objects, and none is part of a cycle: Python's own 700 costs a fifth of the speed.
COLLECT_AFTER = (50_000, 20, 50)
LOOK_AGAIN_S = 10.0
ANSWER_S = 5.0  # a supervisor tries again; a worker that hangs silently tells nobody anything


def create_app(app_id: str, settings: Settings) -> faust.App:
    """A Faust app whose source events are batches; broker and data directory from the settings."""
    kafka = settings.kafka
    app = faust.App(
        app_id,
        broker=f"kafka://{kafka.broker}",
        store="rocksdb://?driver=rocksdict",
        datadir=str(Path(settings.data_dir) / app_id),
        Table=LoudTable,
        TableManager=LoudTables,
        processing_guarantee="at_least_once",
        topic_replication_factor=kafka.replication_factor,
        topic_partitions=1,
        topic_disable_leader=True,
        topic_allow_declare=False,  # changelogs are made below, everything else by `autopilot check --create-topics`
        table_standby_replicas=kafka.standby_replicas,
        broker_session_timeout=kafka.session_timeout_s,
        broker_heartbeat_interval=1.0,
        broker_request_timeout=60.0,
        broker_commit_interval=1.0,
        broker_max_poll_interval=120.0,
        producer_request_timeout=4.5,
        producer_linger=0.005,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1024 * 1024,
        stream_buffer_maxsize=64,  # events are whole batches
        stream_wait_empty=False,
        stream_publish_on_commit=False,
        web_enabled=False,
        web_in_thread=False,
        value_serializer="raw",
        key_serializer="raw",
        debug=False,
    )
    transport: Any = app.transport
    transport.Consumer = BatchConsumer
    ours: Any = app
    ours.inputs = Inputs(lambda topic: ask_id(kafka.broker, topic))
    return app


def source(app: faust.App, *topics: str) -> faust.TopicT:
    """Input topics, undecoded: bad input is ours to judge, not the stream's to die of."""
    return app.topic(*topics, key_serializer="raw", value_serializer="raw", allow_empty=True)


def run(app: faust.App, *services: mode.Service, patient: bool = False) -> None:
    """Run until a signal; `services` start before the app. Raises SystemExit with the worker's code.

    DaemonError, before anything starts, where no broker answers or an input topic is missing: Faust would go on trying
    to make the topic, with its own idea of what that is. Who is `patient` has services that are needed all the same;
    the app waits for its broker and its topics.
    """
    app.conf.datadir.mkdir(parents=True, exist_ok=True)
    gc.set_threshold(*COLLECT_AFTER)
    if patient:
        services = (*services, Waiting(app))
    else:
        loop = asyncio.new_event_loop()  # not asyncio.run, which would leave Faust without its loop
        try:
            loop.run_until_complete(prepare(app))
        finally:
            loop.close()
    # Logging is set up by then (app/logs.py), and nothing else is printed.
    worker = faust.Worker(app, *services, override_logging=False, redirect_stdouts=False, quiet=True)
    worker.spinner = None
    worker.execute_from_commandline()


class Waiting(mode.Service):
    """The last of the services: it has started when the app can."""

    def __init__(self, app: faust.App) -> None:
        super().__init__()
        self._app = app

    async def on_start(self) -> None:
        while not self.should_stop:
            try:
                return await prepare(self._app)
            except (DaemonError, KafkaError) as error:
                log.error("waiting: %s", error)
                await self.sleep(LOOK_AGAIN_S)


async def prepare(app: faust.App) -> None:
    """What must be known and made before the app starts; DaemonError where that cannot be."""
    inputs(app).ids = await input_ids(brokers_of(app), inputs_of(app))
    await make_changelogs(app)


def brokers_of(app: faust.App) -> str:
    """The bootstrap addresses of an app, as aiokafka takes them."""
    return ",".join(f"{url.host}:{url.port}" for url in app.conf.broker)


def inputs_of(app: faust.App) -> list[str]:
    """The topics that the agents of an app read."""
    channels: list[Any] = [agent.channel for agent in app.agents.values()]
    return sorted({topic for channel in channels for topic in channel.topics})


async def ask_id(broker: str, topic: str) -> str | None:
    """Kafka's id of a topic, None of one that is not there; KafkaError or TimeoutError within ANSWER_S."""
    return (await _ask_ids(broker, [topic])).get(topic)


async def _ask_ids(broker: str, wanted: Sequence[str]) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker, request_timeout_ms=int(ANSWER_S * 1000))
    try:
        async with asyncio.timeout(ANSWER_S):
            await admin.start()
            return await topic_ids(admin, wanted)
    finally:
        await admin.close()


async def input_ids(broker: str, wanted: Sequence[str]) -> dict[str, str]:
    """The ids of these topics; DaemonError where the broker does not answer, or does not have all of them."""
    try:
        ids = await _ask_ids(broker, wanted)
    except (KafkaError, TimeoutError) as error:
        raise DaemonError(
            f"broker {broker}: {error or 'no answer'}; is it running there, is kafka.broker right?"
        ) from error
    if missing := set(wanted) - set(ids):
        raise DaemonError(
            f"broker {broker}: no topic {', '.join(sorted(missing))}; `autopilot check` says how to make it"
        )
    return ids


async def make_changelogs(app: faust.App) -> None:
    """Make the changelogs that do not exist, before Faust does: it may join its group before it knows a new one.

    Seen once in a dozen first starts: recovery without the partition, then PartitionsMismatch at the first write.
    """
    names = {str(table.changelog_topic_name) for table in app.tables.values()}
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers_of(app), request_timeout_ms=int(ANSWER_S * 1000))
    try:
        await admin.start()
        new = sorted(names - set(await admin.list_topics()))
        factor = app.conf.topic_replication_factor
        await admin.create_topics([NewTopic(name, 1, factor, topic_configs=CHANGELOG_CONFIG) for name in new])
    finally:
        await admin.close()
