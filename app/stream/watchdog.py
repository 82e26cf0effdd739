"""Ends a worker that has stalled, from a plain thread: Faust's own timers start only after the first recovery.

The event loop publishes its status twice a second. The thread asks the broker for the inputs' ends and the group's
commits with clients of its own, because what the process believes about both may be wrong (Faust's F7 and F24).
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import mode
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from app import metrics
from app.clock import Clock
from app.config.settings import Kafka
from app.kafka import client
from app.kafka.topic_ids import topic_states
from app.stream.app import ExactApp
from app.stream.consumer import READ_COMMITTED
from app.stream.fence import StallFence, die
from app.stream.stall import GroupStatus, StallDetector, WorkerStatus
from app.stream.startup import inputs_of

log = logging.getLogger(__name__)

BEAT_EVERY_S = 0.5
LOOK_EVERY_S = 5.0
ASK_S = 10.0
# With an answer of the broker, longer than a rebalance with a dead member and thirty tries to open a locked RocksDB;
# shorter than the lease of overrides.
PATIENCE_S = 30.0
LOG_EVERY_S = 60.0
READY_WITHIN_S = 10.0  # a ready worker has committed everything that is older

ProbeAnswer = tuple[bool, Mapping[str, object]]


class Watchdog(mode.Service):
    """Starts before the Faust app. Its thread outlives the service, so that a stop that hangs is ended, too."""

    def __init__(
        self,
        app: ExactApp,
        fence: StallFence,
        clock: Clock,
        end: Callable[[str], None] = die,
        patience_s: float | None = None,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        super().__init__()
        self._app = app
        self._fence = fence
        self._clock = clock
        self._end = end
        self._look_every_s = look_every_s
        self._detector = StallDetector(PATIENCE_S + app.kafka.answer_s if patience_s is None else patience_s)
        self._worker_status: WorkerStatus | None = None
        self._group_status: GroupStatus | None = None
        self._ends: deque[Mapping[str, int]] = deque(maxlen=1 + round(READY_WITHIN_S / look_every_s))
        self._looked_s = self._answered_s = self._logged_s = clock.monotonic_s()
        self._why = ""
        self._missing: set[str] = set()
        self._unread: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    async def on_start(self) -> None:
        self._thread.start()

    @mode.Service.task
    async def _beat(self) -> None:
        while not self.should_stop:
            self._worker_status = worker_status(self._app, self._clock.monotonic_s())
            await self.sleep(BEAT_EVERY_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except Exception as error:
            self._end(f"watchdog: {type(error).__name__}: {error}")

    async def _watch(self) -> None:
        while True:
            try:
                async with clients(self._app.kafka) as (consumer, admin):
                    while True:
                        self.look(await self._ask(consumer, admin))
                        await asyncio.sleep(self._look_every_s)
            except (KafkaError, TimeoutError, OSError) as error:
                self._why = client.why(self._app.kafka, error)
                self.look(None)
                await asyncio.sleep(self._look_every_s)

    async def _ask(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> GroupStatus | None:
        """Ask the broker, but not during a stop, whose last moments allow no name lookup."""
        if self._app.should_stop:
            return None
        return await ask(consumer, admin, self._app.conf.id, inputs_of(self._app))

    def look(self, group_status: GroupStatus | None) -> None:
        """Judge the status now; `group_status` is None while no broker answers, which is not the worker's stall."""
        now_s = self._looked_s = self._clock.monotonic_s()
        self._group_status = group_status
        if group_status is not None:
            self._answered_s = self._logged_s = now_s
            self._ends.append(group_status.ends)
            self._log_missing(set(inputs_of(self._app)) - group_status.ends.keys())
            self._log_unread(group_status.unread())
        elif now_s - self._logged_s >= LOG_EVERY_S:
            self._logged_s = now_s
            why = f" ({self._why})" if self._why else ""
            log.warning("no broker has answered for %.0f s%s; still waiting", now_s - self._answered_s, why)
        if reason := self._detector.look(now_s, self._worker_status, group_status):
            self._end(reason)

    def _log_missing(self, missing: set[str]) -> None:
        if new := missing - self._missing:
            log.error("topic %s does not exist any more; waiting for it", ", ".join(sorted(new)))
        self._missing = missing

    def _log_unread(self, unread: dict[str, int]) -> None:
        for topic, count in unread.items():
            if self._unread.get(topic) != count:
                log.error(
                    "topic %s has %d partitions, and only the first of them is read: what is in the others is not"
                    " counted; delete the topic and create it again with one, `autopilot check` shows how",
                    topic,
                    count + 1,
                )
        for topic in unread | self._unread:
            metrics.UNREAD_PARTITIONS.labels(topic).set(unread.get(topic, 0))
        self._unread = unread

    def alive(self) -> ProbeAnswer:
        """The answer of `/healthz`. That it comes proves a live event loop; fence and watchdog must be alive, too."""
        problems = []
        if not self._fence.runs:
            problems.append("the stall fence does not run")
        if self._clock.monotonic_s() - self._looked_s > self._look_every_s + 3 * ASK_S:
            problems.append("the watchdog does not run")
        return not problems, {"ok": not problems, "problems": problems}

    def ready(self) -> ProbeAnswer:
        """The answer of `/readyz`: ready when recovered and not behind. A standby is ready, since it has its tables."""
        state, worker, group_status = self._state(), self._worker_status, self._group_status
        waiting = (
            {topic: group_status.waiting(topic) for topic in _readable(worker, group_status)}
            if worker and group_status
            else {}
        )
        ok = state in ("running", "standby")
        found = {"ready": ok, "state": state, "waiting_records": waiting}
        return ok, found | ({"unread_partitions": self._unread} if self._unread else {})

    def _state(self) -> str:
        worker, group_status = self._worker_status, self._group_status
        if worker is None or worker.waiting or not self._ends:
            return "starting"
        if worker.stopping:
            return "stopping"
        if group_status is None:
            return "no-broker"
        if self._missing:
            return "no-input"
        if self._unread:
            return "unread-partitions"
        if worker.recovering:
            return "recovering"
        if not worker.owned:
            return "standby"
        topics = _readable(worker, group_status)
        behind = any(group_status.next(topic) < self._ends[0].get(topic, 0) for topic in topics)
        return "behind" if behind else "running"


def _readable(worker: WorkerStatus, group_status: GroupStatus) -> list[str]:
    return sorted(worker.owned & group_status.ends.keys())


def worker_status(app: ExactApp, now_s: float) -> WorkerStatus:
    """The status of an app; call from its event loop."""
    tables: Any = app.tables
    recovery, assignor = tables.recovery, app.assignor
    offsets = sum(offset or 0 for offset in recovery.active_offsets.values())
    return WorkerStatus(
        at_s=now_s,
        waiting=not app.inputs.ids,
        recovering=app.rebalancing or not recovery.completed.is_set(),
        stopping=app.should_stop,
        step=(app.rebalancing_count, app.consumer_generation_id, recovery.in_recovery, offsets),
        joined=app.joined.waiting(),
        owned=frozenset(tp.topic for tp in assignor.assigned_actives()) & frozenset(inputs_of(app)),
        ids=app.inputs.ids,
    )


@asynccontextmanager
async def clients(kafka: Kafka) -> AsyncIterator[tuple[AIOKafkaConsumer, AIOKafkaAdminClient]]:
    """Started clients without a group; KafkaError or TimeoutError if the broker does not answer within ASK_S."""
    options = {"request_timeout_ms": int(ASK_S * 1000), "isolation_level": READ_COMMITTED}  # ends as workers see them
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(ASK_S):
            consumer = await stack.enter_async_context(client.started(client.consumer(kafka, **options)))
            admin = await stack.enter_async_context(client.started(client.admin(kafka, ASK_S)))
        yield consumer, admin


async def ask(consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient, group: str, topics: Sequence[str]) -> GroupStatus:
    """Ask for the inputs' offsets and the group's commits; KafkaError or TimeoutError without an answer in ASK_S."""
    async with asyncio.timeout(ASK_S):
        states = await topic_states(admin, topics)
        partitions = {topic: TopicPartition(topic, 0) for topic in states}
        offsets = await admin.list_consumer_group_offsets(group)  # first: a commit is never above a later end
        begins = await consumer.beginning_offsets(list(partitions.values()))
        ends = await consumer.end_offsets(list(partitions.values()))
    return GroupStatus(
        begins={topic: begins[tp] for topic, tp in partitions.items()},
        ends={topic: ends[tp] for topic, tp in partitions.items()},
        committed={topic: offsets[tp].offset for topic, tp in partitions.items() if tp in offsets},
        ids={topic: state.topic_id for topic, state in states.items()},
        partitions={topic: state.partitions for topic, state in states.items()},
    )
