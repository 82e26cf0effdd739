"""The decisions agent: passes `decisions-<pop>` to the actuator. Each record is the whole set, so it has no table."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from app.contract import topics
from app.contract.decoding import Read, Rejected, reader_of, rejected
from app.contract.schemas import Decision
from app.stream.app import ExactApp
from app.stream.fetching import Hole, Record
from app.stream.publish import Publisher
from app.stream.worker import source

AHEAD_MAX_S = 3600.0

log = logging.getLogger(__name__)
OnDecision = Callable[[Decision], None]

_read: Read[Decision] = reader_of(Decision)


def decode(pop: str, message: bytes, at_s: float) -> Decision | Rejected:
    """Decode a decision of this PoP, published at Kafka time `at_s`, that can be acted on, or say why it cannot.

    An epoch is the time at which its telemetry began. One of the far future would lock out every real one.
    """
    decision = _read(message)
    if isinstance(decision, Decision):
        if decision.pop != pop:
            return rejected(message, ValueError(f"a decision of {decision.pop} in the topic of {pop}"))
        if decision.epoch > at_s + AHEAD_MAX_S:
            return rejected(message, ValueError(f"epoch {decision.epoch} is more than an hour ahead of its record"))
    return decision


class Following:
    """Passes on every decision of these PoPs in order; `on_decision` must keep that of the highest (epoch, seq)."""

    def __init__(self, pops: Sequence[str], on_decision: OnDecision, publisher: Publisher) -> None:
        self._pop_of = {topics.DECISIONS.for_pop(pop): pop for pop in pops}
        self.topics = list(self._pop_of)
        self.on_decision = on_decision
        self._publisher = publisher

    async def run(self, stream: Any) -> None:
        """Pass on every decision in the stream; what cannot be decoded goes to the dead letters."""
        async for event in stream.events():
            tp = event.message.tp
            for record in [event.value] if isinstance(event.value, Hole) else event.value:
                if (unusable := self._take(tp.topic, record)) is not None:
                    self._publisher.dead_letter(tp, record, unusable)
            for send in self._publisher.take():
                await asyncio.shield(await send())  # at a stop Faust still sets the result

    def _take(self, topic: str, record: Record | Hole) -> Rejected | None:
        """Follow the decision in a record. Return why that is not possible, None if it is or if there is no record."""
        if isinstance(record, Hole):
            return record.rejected
        parsed = decode(self._pop_of[topic], record.value, record.timestamp_s)
        if isinstance(parsed, Rejected):
            return parsed
        try:
            self.on_decision(parsed)
        except Exception as error:  # ending the process would bring the same record again, for ever
            log.exception("%s: the decision at offset %d cannot be followed", topic, record.offset)
            return rejected(record.value, ValueError(f"it cannot be followed: {type(error).__name__}: {error}"))
        return None


def attach(app: ExactApp, end: Callable[[str], None], following: Following) -> None:
    """Attach the decisions agent to an app; `end` is called when it cannot go on."""

    @app.agent(source(app, *following.topics), name="decisions")
    async def decisions(stream: Any) -> None:
        try:
            await following.run(stream)
        except Exception as error:  # Faust would acknowledge the event and go on without this agent
            end(f"decisions: {type(error).__name__}: {error}")
            await asyncio.Event().wait()
