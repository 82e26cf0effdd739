"""The one way we make and run a Faust app: the settings that held under faults, and nothing that listens in public."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faust
import mode

from app.settings import Settings
from app.stream.consumer import BatchConsumer
from tables.store import ExactTable


def create_app(app_id: str, settings: Settings) -> faust.App:
    """A Faust app whose source events are batches; broker and data directory from the settings."""
    kafka = settings.kafka
    app = faust.App(
        app_id,
        broker=f"kafka://{kafka.broker}",
        store="rocksdb://?driver=rocksdict",
        datadir=str(Path(settings.data_dir) / app_id),
        Table=ExactTable,
        processing_guarantee="at_least_once",
        topic_replication_factor=kafka.replication_factor,
        topic_partitions=1,
        topic_disable_leader=True,
        table_standby_replicas=0,
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
    return app


def source(app: faust.App, *topics: str) -> faust.TopicT:
    """Input topics, undecoded: bad input is ours to judge, not the stream's to die of."""
    return app.topic(*topics, key_serializer="raw", value_serializer="raw", allow_empty=True)


def stop_flow_at_recovery(app: faust.App, table: ExactTable, load: Callable[[], None]) -> None:
    """Suspend the flow before Faust seeks at the end of recovery, else single messages are dropped or repeated.

    `load` rebuilds the agent's memory from its recovered tables meanwhile. Faust itself resumes the flow.
    """

    @table.on_recover
    async def stop() -> None:
        consumer: Any = app.consumer
        consumer.stop_flow()
        app.flow_control.suspend()
        await consumer.wait_for_stopped_flow()
        load()


def run(app: faust.App, *services: mode.Service) -> None:
    """Run until a signal; `services` start before the app. Raises SystemExit with the worker's code."""
    app.conf.datadir.mkdir(parents=True, exist_ok=True)
    faust.Worker(app, *services, loglevel=logging.INFO, redirect_stdouts=False).execute_from_commandline()
