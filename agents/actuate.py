"""The decisions agent: passes `decisions-<pop>` to the actuator. Each record is the whole set, so it has no table."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from app.contract import topics
from app.contract.decoding import Read, Rejected, reader_of, rejected
from app.contract.schemas import Decision
from app.contract.signing import Keyring, Untrusted, untrusted
from app.stream.app import ExactApp
from app.stream.fetching import Hole, Record
from app.stream.publish import Publisher
from app.stream.worker import source

AHEAD_MAX_S = 3600.0

log = logging.getLogger(__name__)
OnDecision = Callable[[Decision], None]
OnRefused = Callable[[str, Untrusted, float], None]  # topic, record, Kafka time

_read: Read[Decision] = reader_of(Decision)


def decode(pop: str, trust: Keyring, record: Record) -> Decision | Rejected:
    """Decode a decision of this PoP that can be acted on, or say why it cannot.

    An epoch is the time at which its telemetry began. One of the far future would lock out every real one.
    """
    message, at_s = record.value, record.timestamp_s
    decision = trust.read(_read, topics.DECISIONS.for_pop(pop), record.key, message, at_s)
    if isinstance(decision, Decision):
        if decision.pop != pop:
            return rejected(message, ValueError(f"a decision of {decision.pop} in the topic of {pop}"))
        if decision.epoch > at_s + AHEAD_MAX_S:
            return rejected(message, ValueError(f"epoch {decision.epoch} is more than an hour ahead of its record"))
    return decision


class Following:
    """Passes on every trusted decision of these PoPs in order; `on_decision` must keep the highest (epoch, seq)."""

    def __init__(
        self,
        pops: Sequence[str],
        trust: Keyring,
        on_decision: OnDecision,
        on_refused: OnRefused,
        publisher: Publisher,
    ) -> None:
        self._pop_of = {topics.DECISIONS.for_pop(pop): pop for pop in pops}
        self.topics = list(self._pop_of)
        self.trust = trust
        self.on_decision = on_decision
        self._newest: dict[str, tuple[int, int]] = {}  # number of the newest decision, by PoP
        self._on_refused = on_refused
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
        parsed = decode(self._pop_of[topic], self.trust, record)
        if isinstance(parsed, Decision):
            parsed = self._in_turn(parsed, record)
        if isinstance(parsed, Untrusted):
            self._on_refused(topic, parsed, record.timestamp_s)
        if isinstance(parsed, Rejected):
            return parsed
        try:
            self.on_decision(parsed)
        except Exception as error:  # ending the process would bring the same record again, for ever
            log.exception("%s: the decision at offset %d cannot be followed", topic, record.offset)
            return rejected(record.value, ValueError(f"it cannot be followed: {type(error).__name__}: {error}"))
        return None

    def _in_turn(self, decision: Decision, record: Record) -> Decision | Untrusted:
        """The decision, unless it is an old one that somebody sends again: then an actuator that has just started
        would follow its releases. What telemetry could not send before is late, too, but newer than all before it.
        """
        number, newest = (decision.epoch, decision.seq), self._newest.get(decision.pop)
        is_over = decision.hold_until.timestamp() < record.timestamp_s
        if self.trust.demands and is_over and (newest is None or number < newest):
            return untrusted(record.value, "replayed", "its time was over when it came")
        self._newest[decision.pop] = number if newest is None else max(number, newest)
        return decision


def attach(app: ExactApp, end: Callable[[str], None], following: Following) -> None:
    """Attach the decisions agent to an app; `end` is called when it cannot go on."""

    @app.agent(source(app, *following.topics), name="decisions")
    async def decisions(stream: Any) -> None:
        try:
            await following.run(stream)
        except Exception as error:  # Faust would acknowledge the event and go on without this agent
            end(f"decisions: {type(error).__name__}: {error}")
            await asyncio.Event().wait()
