"""The collectors of one PoP: flow messages between purge markers and counters every refresh, steadily, into Kafka."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from app.clock import Clock
from app.config.inventory import Pop
from app.config.thresholds import WindowSettings
from app.contract import topics
from app.errors import DaemonError
from app.te.traffic.writers import OPEN_PURGE_MAX_S, SILENT_REFRESHES
from tests.faults.pmbmpd import Sent
from tests.faults.traffic import Traffic, counter_sample, marker
from tests.pops import capacity_bps

MESSAGES, RECORDS = 60, 5  # messages a refresh, records a message
PACE = 0.8  # share of the refresh in which a purge is written
# Longer than any fault: a batch that is given up would be in the ledger and not in the topic.
PRODUCER_PATIENCE_MS = 180_000


@contextlib.asynccontextmanager
async def exact_producer(broker: str) -> AsyncIterator[AIOKafkaProducer]:
    """One that neither loses nor repeats: the ledger rests on it."""
    producer = AIOKafkaProducer(
        bootstrap_servers=broker, enable_idempotence=True, acks="all", request_timeout_ms=PRODUCER_PATIENCE_MS
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


class Feed:
    """Stands for the sfacctd and pmbmpd of a PoP; `run` until `stop`."""

    def __init__(self, pop: Pop, windows: WindowSettings, producer: AIOKafkaProducer, clock: Clock, seed: str) -> None:
        self.pop = pop
        self.traffic = Traffic(pop, windows, seed)
        self.records = RECORDS  # a message; 0 is a PoP without traffic, whose markers go on
        self.speed_share = 1.0  # of every link's capacity, as the counters tell it
        self.copies = 1  # of every message; more as from a sender that repeats itself
        self._killed = False
        self._alive = asyncio.Event()
        self._alive.set()
        self._waiting = asyncio.Event()
        self.topic = topics.FLOWS.for_pop(pop.name)
        self.last_position = -1
        self._first_position = 0
        self._windows = windows
        self.producer = producer
        self._clock = clock
        self._stopping = False
        self._writers = 0
        self._purged_s: deque[float] = deque(maxlen=3 + SILENT_REFRESHES + 2)  # it may wait for who was silent
        self._orphan_s = 0.0
        self._unclosed: bytes | None = None
        self._refused: BaseException | None = None
        self._answers: set[asyncio.Future[Any]] = set()

    async def announce(self, records: Iterable[Sent]) -> None:
        """The routes, once."""
        for at_s, message in records:
            raw = json.dumps(message).encode()
            await self.producer.send(topics.BMP.for_pop(self.pop.name), raw, timestamp_ms=round(at_s * 1000))
        await self.producer.flush()

    async def run(self) -> None:
        """Purge after purge."""
        while not self._stopping and self._refused is None:
            self._waiting.set()
            await self._alive.wait()
            self._waiting.clear()
            await self._purge()

    def stop(self) -> None:
        self._stopping = True

    def kill(self) -> None:
        """As SIGKILL of sfacctd: no more markers, and the purge that is open is never closed."""
        self._killed = True
        self._orphan_s = self._purged_s[-1]
        self._alive.clear()

    async def pause(self) -> None:
        """Nothing more, not even markers, after the purge that is being written."""
        self._alive.clear()
        await self._waiting.wait()

    def resume(self) -> None:
        """After `kill` or `pause`."""
        self._killed = False
        self._alive.set()

    def recreated(self, included: int) -> None:
        """The flow topic begins at offset 0 again; positions go on behind those that rows include.

        The one between stands for what may be lost.
        """
        self._first_position = included + 2

    async def send(self, messages: Sequence[bytes]) -> None:
        """Messages into the flow topic, past the ledger."""
        for message in messages:
            await self._send(self.topic, message)

    async def settled(self) -> int:
        """Wait until the broker has all that was sent; the position of the newest flow message.

        DaemonError when it refused any, for then the ledger is wrong.
        """
        while self._answers:
            await asyncio.wait(self._answers)
        if self._refused is not None:
            raise DaemonError(f"{self.topic}: the broker refused a message: {self._refused!r}")
        return self.last_position

    async def _purge(self) -> None:
        began_s = self._clock.monotonic_s()
        purged_s = round(self._clock.now_s(), 3)
        self._writers += 1
        writer = f"flows/{self._writers}"
        await self._mark(marker("purge_init", writer), purged_s)
        if self._unclosed is not None:  # the writer before was slow: two were open at once
            await self._mark(self._unclosed, purged_s)
            self._unclosed = None
        self._purged_s.append(purged_s)
        closed_s = self._held_s() - self._windows.refresh_s - self._windows.grace_s
        await self._counters(purged_s)
        for number in range(MESSAGES):
            if self._killed:
                return
            if self.records:
                await self._message(writer, purged_s, closed_s)
            await self._until(began_s + self._windows.refresh_s * PACE * (number + 1) / MESSAGES)
        close = marker("purge_close", writer, MESSAGES * self.records)
        if self._writers % 5:
            await self._mark(close, purged_s)
        else:
            self._unclosed = close
        await self._until(began_s + self._windows.refresh_s)

    async def _message(self, writer: str, purged_s: float, closed_s: float) -> None:
        message = self.traffic.message(writer, purged_s, closed_s, self.records, self.copies)
        for _ in range(self.copies):
            await self._send(self.topic, message)

    def _held_s(self) -> float:
        """The oldest purge that may be open in the worker's eyes: a killed one is for OPEN_PURGE_MAX_S."""
        oldest_s = self._purged_s[0]
        return self._orphan_s if self._orphan_s >= oldest_s - OPEN_PURGE_MAX_S else oldest_s

    async def _counters(self, at_s: float) -> None:
        topic = topics.COUNTERS.for_pop(self.pop.name)
        for name, link in self.pop.links.items():
            agent, speed_bps = self.pop.routers[link.router].agent_address, int(capacity_bps(link) * self.speed_share)
            sample = counter_sample(agent, link.ifindexes[0], at_s, self.traffic.carried[name], speed_bps)
            await self._send(topic, sample)

    async def _until(self, moment_s: float) -> None:
        await asyncio.sleep(max(0.0, moment_s - self._clock.monotonic_s()))

    async def _mark(self, message: bytes, at_s: float) -> None:
        await self._send(self.topic, message, at_s)

    async def _send(self, topic: str, message: bytes, at_s: float | None = None) -> None:
        stamp = round((self._clock.now_s() if at_s is None else at_s) * 1000)
        answer = await self.producer.send(topic, message, timestamp_ms=stamp)
        self._answers.add(answer)
        answer.add_done_callback(self._answered)

    def _answered(self, answer: asyncio.Future[Any]) -> None:
        self._answers.discard(answer)
        if (error := answer.exception()) is not None:
            self._refused = error
        elif answer.result().topic == self.topic:
            self.last_position = max(self.last_position, self._first_position + answer.result().offset)
