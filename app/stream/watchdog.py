"""A worker that stands still is ended, from a plain thread: Faust's own timers start only after the first recovery.

The event loop says twice a second where it stands. The thread asks the broker, by clients of its own, how the inputs
and the group's commits stand, for what the process believes of both may be wrong (Faust's F7 and F24).
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import mode
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from app.clock import Clock
from app.config.settings import Kafka
from app.kafka import client
from app.kafka.topic_ids import topic_ids
from app.stream.app import ExactApp
from app.stream.fence import StallFence, die
from app.stream.stall import GroupStatus, StallDetector, WorkerStatus
from app.stream.startup import inputs_of

log = logging.getLogger(__name__)

BEAT_EVERY_S = 0.5
LOOK_EVERY_S = 5.0
ASK_S = 10.0
# Above the session timeout, a rebalance with a dead member and thirty tries to open a locked RocksDB; below the minutes
# after which overrides run out of their hold.
PATIENCE_S = 60.0
TELL_EVERY_S = 60.0
READY_WITHIN_S = 10.0  # what came before that is committed by now

ProbeAnswer = tuple[bool, Mapping[str, object]]


class Watchdog(mode.Service):
    """Starts before the Faust app. Its thread outlives its stop, so that a stop that hangs has an end, too."""

    def __init__(
        self,
        app: ExactApp,
        fence: StallFence,
        clock: Clock,
        end: Callable[[str], None] = die,
        patience_s: float = PATIENCE_S,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        super().__init__()
        self._app = app
        self._fence = fence
        self._clock = clock
        self._end = end
        self._look_every_s = look_every_s
        self._detector = StallDetector(patience_s)
        self._worker_status: WorkerStatus | None = None
        self._group_status: GroupStatus | None = None
        self._ends: deque[Mapping[str, int]] = deque(maxlen=1 + round(READY_WITHIN_S / look_every_s))
        self._looked_s = self._answered_s = self._told_s = clock.monotonic_s()
        self._missing: set[str] = set()
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
            except (KafkaError, TimeoutError, OSError):
                self.look(None)
                await asyncio.sleep(self._look_every_s)

    async def _ask(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> GroupStatus | None:
        """Nothing needs asking at a stop, whose last moments allow no lookup of a name."""
        if self._app.should_stop:
            return None
        return await ask(consumer, admin, self._app.conf.id, inputs_of(self._app))

    def look(self, group_status: GroupStatus | None) -> None:
        """Judge what is seen now; `outside` is None where no broker answers, which is nobody's standstill."""
        now_s = self._looked_s = self._clock.monotonic_s()
        self._group_status = group_status
        if group_status is not None:
            self._answered_s = self._told_s = now_s
            self._ends.append(group_status.ends)
            self._tell_missing(set(inputs_of(self._app)) - group_status.ends.keys())
        elif now_s - self._told_s >= TELL_EVERY_S:
            self._told_s = now_s
            log.warning("no broker answers, for %.0f s: waiting for it", now_s - self._answered_s)
        if reason := self._detector.look(now_s, self._worker_status, group_status):
            self._end(reason)

    def _tell_missing(self, missing: set[str]) -> None:
        if new := missing - self._missing:
            log.error("no topic %s any more: waiting for it", ", ".join(sorted(new)))
        self._missing = missing

    def alive(self) -> ProbeAnswer:
        """For `/healthz`: whoever answers has an event loop; the two threads must look, too."""
        problems = []
        if not self._fence.runs:
            problems.append("the stall fence does not run")
        if self._clock.monotonic_s() - self._looked_s > self._look_every_s + 3 * ASK_S:
            problems.append("the watchdog does not run")
        return not problems, {"ok": not problems, "problems": problems}

    def ready(self) -> ProbeAnswer:
        """For `/readyz`: recovered, and not behind. A standby is ready: its tables are there."""
        state, seen, group_status = self._state(), self._worker_status, self._group_status
        waiting = (
            {topic: group_status.waiting(topic) for topic in _readable(seen, group_status)}
            if seen and group_status
            else {}
        )
        ok = state in ("running", "standby")
        return ok, {"ready": ok, "state": state, "waiting_records": waiting}

    def _state(self) -> str:
        seen, group_status = self._worker_status, self._group_status
        if seen is None or seen.waiting or not self._ends:
            return "starting"
        if seen.stopping:
            return "stopping"
        if group_status is None:
            return "no-broker"
        if self._missing:
            return "no-input"
        if seen.recovering:
            return "recovering"
        if not seen.owned:
            return "standby"
        behind = any(group_status.next(topic) < self._ends[0].get(topic, 0) for topic in _readable(seen, group_status))
        return "behind" if behind else "running"


def _readable(seen: WorkerStatus, group_status: GroupStatus) -> list[str]:
    return sorted(seen.owned & group_status.ends.keys())


def worker_status(app: ExactApp, now_s: float) -> WorkerStatus:
    """Where the application stands; called from its event loop."""
    tables: Any = app.tables
    recovery, assignor = tables.recovery, app.assignor
    offsets = sum(offset or 0 for offset in recovery.active_offsets.values())
    return WorkerStatus(
        at_s=now_s,
        waiting=not app.inputs.ids,
        recovering=app.rebalancing or not recovery.completed.is_set(),
        stopping=app.should_stop,
        step=(app.rebalancing_count, app.consumer_generation_id, recovery.in_recovery, offsets),
        owned=frozenset(tp.topic for tp in assignor.assigned_actives()) & frozenset(inputs_of(app)),
        ids=app.inputs.ids,
    )


@asynccontextmanager
async def clients(kafka: Kafka) -> AsyncIterator[tuple[AIOKafkaConsumer, AIOKafkaAdminClient]]:
    """Clients without a group; KafkaError or TimeoutError where the broker does not answer within ASK_S."""
    consumer, admin = client.consumer(kafka, request_timeout_ms=int(ASK_S * 1000)), client.admin(kafka, ASK_S)
    try:
        async with asyncio.timeout(ASK_S):
            await consumer.start()
            await admin.start()
        yield consumer, admin
    finally:
        await consumer.stop()
        await admin.close()


async def ask(consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient, group: str, topics: Sequence[str]) -> GroupStatus:
    """How the inputs and the group's commits stand; raises as `clients` does."""
    async with asyncio.timeout(ASK_S):
        ids = await topic_ids(admin, topics)
        partitions = {topic: TopicPartition(topic, 0) for topic in ids}
        offsets = await admin.list_consumer_group_offsets(group)  # first: a commit is never above a later end
        begins = await consumer.beginning_offsets(list(partitions.values()))
        ends = await consumer.end_offsets(list(partitions.values()))
    return GroupStatus(
        begins={topic: begins[tp] for topic, tp in partitions.items()},
        ends={topic: ends[tp] for topic, tp in partitions.items()},
        committed={topic: offsets[tp].offset for topic, tp in partitions.items() if tp in offsets},
        ids=ids,
    )
