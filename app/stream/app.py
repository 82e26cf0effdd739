"""The Faust app of our workers, which also knows how to reach its broker and which incarnations its inputs have."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, cast

import faust
from faust.exceptions import ConsumerNotStarted
from faust.types import TP, AppT

from app.config.settings import Kafka
from app.stream.incarnations import Ask, Inputs
from app.stream.joined import Joined
from app.stream.membership import Membership


class Reader(Protocol):
    """An agent with state, as its app sees it. Whoever holds its lock has it between two events."""

    lock: asyncio.Lock

    def forget(self) -> None:
        """Clear the memory: the partitions are revoked."""

    def full(self) -> set[TP]:
        """The partitions that must not be fetched now: enough of them waits to be applied."""


class ExactApp(faust.App):
    """A Faust app that carries the settings of its Kafka clients and the state of its input topics."""

    def __init__(self, app_id: str, kafka: Kafka, ask: Ask, **options: Any) -> None:
        self.kafka = kafka
        self.inputs = Inputs(ask)
        self.joined = Joined(self.end)
        self.membership = Membership(kafka.session_timeout_s)
        self.readers: list[Reader] = []
        super().__init__(app_id, broker=f"kafka://{kafka.broker}", **options)
        self.on_partitions_revoked.connect(self._forget)

    def end(self, topic: str) -> int | None:
        """The offset at which the topic ended at the last fetch; None before the first fetch."""
        consumer: Any = self.consumer
        try:
            return cast(int | None, consumer.highwater(TP(topic, 0)))
        except (ConsumerNotStarted, AssertionError):  # aiokafka asserts that the partition is assigned
            return None

    async def _forget(self, *_: Any, **__: Any) -> None:
        await forget_together(self.readers)


def full(readers: Sequence[Reader]) -> set[TP]:
    """The partitions that none of the readers lets be fetched now."""
    return {tp for reader in readers for tp in reader.full()}


@asynccontextmanager
async def between_events(readers: Sequence[Reader]) -> AsyncIterator[None]:
    """No agent works on an event meanwhile."""
    async with AsyncExitStack() as held:
        for reader in readers:
            await held.enter_async_context(reader.lock)
        yield


async def forget_together(readers: Sequence[Reader]) -> None:
    """Clear all memories at once. Flows that met the routes of a memory already cleared would count as unroutable."""
    async with between_events(readers):
        for reader in readers:
            reader.forget()


def exact(app: AppT) -> ExactApp:
    """The app of a Faust component as an ExactApp; `create_app` makes no other kind."""
    return cast(ExactApp, app)
