"""The decisions agent: passes `decisions-<pop>` to the actuator. Each record is the whole set, so it has no table."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from app.contract import topics
from app.contract.schemas import Decision
from app.feeds.rejected import Rejected, rejected
from app.stream.app import ExactApp
from app.stream.fence import die
from app.stream.publish import Publisher
from app.stream.worker import source

UINT32_MAX = 2**32 - 1  # epoch and seq travel in a large community

OnDecision = Callable[[Decision], None]

_decoder = msgspec.json.Decoder(Decision)


def decode(pop: str, message: bytes) -> Decision | Rejected:
    """Decode a decision of this PoP that can be acted on, or return why it cannot."""
    try:
        decision = _decoder.decode(message)
    except (msgspec.MsgspecError, RecursionError) as error:
        return rejected(message, error)
    if decision.pop != pop:
        return rejected(message, ValueError(f"a decision of {decision.pop} in the topic of {pop}"))
    if not (0 <= decision.epoch <= UINT32_MAX and 0 <= decision.seq <= UINT32_MAX):
        return rejected(message, ValueError("epoch or seq does not fit 32 bits"))
    if any(at.tzinfo is None for at in (decision.made_at, decision.add_until, decision.hold_until)):
        return rejected(message, ValueError("a time without its zone"))
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
            for record in event.value:
                parsed = decode(self._pop_of[tp.topic], record.value)
                if isinstance(parsed, Decision):
                    self.on_decision(parsed)
                else:
                    self._publisher.dead_letter(tp, record, parsed)
            for send in self._publisher.take():
                await (await send())


def attach(app: ExactApp, following: Following) -> None:
    """Attach the decisions agent to an app."""

    @app.agent(source(app, *following.topics), name="decisions")
    async def decisions(stream: Any) -> None:
        try:
            await following.run(stream)
        except Exception as error:  # Faust would acknowledge the event and go on without this agent
            die(f"decisions: {type(error).__name__}: {error}")
