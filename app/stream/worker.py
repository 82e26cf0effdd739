"""The one place that makes and runs our Faust apps: settings that held under faults, and nothing listens in public."""

import asyncio
import ctypes
import gc
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import faust
import mode
from aiokafka.errors import KafkaError

from app.config.settings import Settings
from app.contract import topics
from app.errors import CRASHED, DaemonError, EnvironmentProblem
from app.kafka import client
from app.logs import OFTEN
from app.stream.app import ExactApp
from app.stream.checksums import BY_INSTRUCTION
from app.stream.consumer import MAX_FETCH_BYTES, BatchConsumer
from app.stream.fence import die
from app.stream.producer import ClientProducer
from app.stream.recovery import FailFastTable, FailFastTables
from app.stream.startup import ask, prepare
from app.tasks import Job, lasting
from tables.store import STORE_URL

log = logging.getLogger(__name__)

# Records are millions of short-lived objects without cycles: Python's default of 700 costs a fifth of the speed.
COLLECT_AFTER = (50_000, 20, 50)
# Faust fetches in a thread of its own, which needs the interpreter for each 64 KiB of a 4 MiB fetch. With Python's
# default turn of 5 ms the other thread runs out of work meanwhile.
SWITCH_S = 0.0005
# How much freed memory glibc keeps. By default it returns the pages of each fetch and requests them again, and the
# kernel clears and maps them each time. The numbers are M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of mallopt(3).
KEPT_BYTES = {-3: 16 * 1024 * 1024, -1: 32 * 1024 * 1024}
# aiokafka sends one batch per partition at a time: with 16 KiB each row of a flush would be a round trip of its own.
PRODUCER_BATCH_BYTES = 512 * 1024
RETRY_S = 10.0


def create_app(app_id: str, settings: Settings) -> ExactApp:
    """Make a Faust app whose source events are batches; the settings name its broker and data directory."""
    kafka = settings.kafka
    app = ExactApp(
        app_id,
        kafka,
        lambda topic: ask(kafka, app_id, topic),
        store=STORE_URL,
        datadir=str(Path(settings.data_dir) / app_id),
        Table=FailFastTable,
        TableManager=FailFastTables,
        processing_guarantee="at_least_once",
        topic_replication_factor=kafka.replication_factor,
        topic_partitions=1,
        topic_disable_leader=True,
        topic_allow_declare=False,  # startup.py creates changelogs, `autopilot check --create-topics` the rest
        table_standby_replicas=kafka.standby_replicas,
        broker_session_timeout=kafka.session_timeout_s,
        broker_heartbeat_interval=1.0,
        broker_request_timeout=60.0,
        broker_rebalance_timeout=4 * kafka.answer_s,  # the partitions stay until a flush of as many answers has ended
        broker_commit_interval=1.0,
        broker_max_poll_interval=120.0,
        broker_check_crcs=not BY_INSTRUCTION,  # checksums.py does it faster
        # Longer than app/stream/answers.py waits, which does not count time in which this process had no CPU.
        producer_request_timeout=4 * kafka.answer_s,
        producer_linger=0.005,
        producer_max_batch_size=PRODUCER_BATCH_BYTES,
        producer_max_request_size=topics.DECISION_BYTES_MAX + topics.ENVELOPE_BYTES,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MAX_FETCH_BYTES,
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
    transport.Consumer, transport.Producer = BatchConsumer, ClientProducer
    return app


def source(app: faust.App, *topics: str) -> faust.TopicT:
    """Input topics, undecoded: the agents judge bad input, so that it cannot end the stream."""
    return app.topic(*topics, key_serializer="raw", value_serializer="raw", allow_empty=True)


def run(app: ExactApp, *services: mode.Service, wait_for_broker: bool = False) -> None:
    """Run until a signal; `services` start before the app. Raises SystemExit with the worker's code.

    EnvironmentProblem if the data directory cannot be written to or another process uses it. DaemonError, before
    anything starts, if no broker answers or an input topic is missing: Faust would go on trying to create the topic,
    with a configuration of its own. A crash of the app ends the process; the last line of its log says why.
    With `wait_for_broker` the services start all the same, and the app waits for its broker and its topics.
    """
    make_writable(app.conf.datadir)
    gc.set_threshold(*COLLECT_AFTER)
    sys.setswitchinterval(SWITCH_S)
    keep_freed_memory()
    if wait_for_broker:
        services = (*services, Waiting(app))
    else:
        loop = asyncio.new_event_loop()  # not asyncio.run, which would leave Faust without its loop
        try:
            loop.run_until_complete(prepare(app))
        finally:
            loop.close()
    # Logging is set up already (app/logs.py), and nothing else is printed.
    worker = LoudWorker(app, *services, override_logging=False, redirect_stdouts=False, quiet=True)
    worker.spinner = None
    worker.execute_from_commandline()


class LoudWorker(faust.Worker):
    """Faust's worker, but the last line of its log says why it crashed, and not what the shutdown made of it."""

    def stop_and_shutdown(self) -> None:
        """Stop all services; after a crash, or a start that failed, the process ends here, with exit code 1."""
        failed = sys.exception()  # of the start, which is being raised
        try:
            super().stop_and_shutdown()
        finally:
            if isinstance(reason := self.crash_reason or failed, Exception):
                die(f"{type(reason).__name__}: {reason}", CRASHED)


def make_writable(folder: Path) -> None:
    """Make the data directory if it is missing; EnvironmentProblem, which names the key, if it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        text = f"data_dir: {folder} cannot be written to: {reason}"
        raise EnvironmentProblem(f"{text}; choose another folder, or let this user write there") from error


def keep_freed_memory() -> None:
    """Let the C library keep freed memory, if it is glibc; others have no such setting."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        for setting, size_bytes in KEPT_BYTES.items():
            mallopt(setting, size_bytes)


class Waiting(mode.Service):
    """The last of the services: its start lasts until the app can start."""

    def __init__(self, app: ExactApp) -> None:
        super().__init__()
        self._app = app

    async def on_start(self) -> None:
        while not self.should_stop:
            try:
                return await prepare(self._app)
            except (DaemonError, EnvironmentProblem, KafkaError) as error:
                log.error("waiting: %s", client.why(self._app.kafka, error), extra=OFTEN)
                await self.sleep(RETRY_S)


class Background(mode.Service):
    """Coroutines that start before the Faust app and run as long as it does; if one ends, the process ends."""

    def __init__(self, *jobs: Job) -> None:
        super().__init__()
        self._jobs = jobs
        self._running: list[asyncio.Task[None]] = []

    async def on_start(self) -> None:
        self._running = [asyncio.create_task(lasting(job)) for job in self._jobs]
        for task in self._running:
            task.add_done_callback(_died)

    async def on_stop(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


def _died(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.error("a background job ended", exc_info=task.exception())
        die("a background job ended")
