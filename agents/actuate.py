"""Decisions: `decisions-<pop>` to the actuator. Level-triggered, each record is the whole set: no table is needed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from app.contract import topics
from app.contract.schemas import Decision
from app.feeds.rejected import Bad, bad
from app.stream.app import ExactApp
from app.stream.fence import die
from app.stream.publish import Publisher
from app.stream.worker import source

UINT32_MAX = 2**32 - 1  # epoch and seq travel in a large community

_decoder = msgspec.json.Decoder(Decision)


def decode(pop: str, message: bytes) -> Decision | Bad:
    """A decision of this PoP that can be acted on, or why it is none."""
    try:
        decision = _decoder.decode(message)
    except (msgspec.MsgspecError, RecursionError) as error:
        return bad(message, error)
    if decision.pop != pop:
        return bad(message, ValueError(f"a decision of {decision.pop} in the topic of {pop}"))
    if not (0 <= decision.epoch <= UINT32_MAX and 0 <= decision.seq <= UINT32_MAX):
        return bad(message, ValueError("epoch or seq does not fit 32 bits"))
    if any(at.tzinfo is None for at in (decision.made_at, decision.add_until, decision.hold_until)):
        return bad(message, ValueError("a time without its zone"))
    return decision


def attach(app: ExactApp, pops: Sequence[str], on_decision: Callable[[Decision], None], publisher: Publisher) -> None:
    """Attach the decisions agent: every record in order; who takes them keeps the highest (epoch, seq)."""
    pop_of = {topics.DECISIONS.for_pop(pop): pop for pop in pops}

    @app.agent(source(app, *pop_of), name="decisions")
    async def decisions(stream: Any) -> None:
        try:
            await follow(stream, pop_of, on_decision, publisher)
        except Exception as error:  # Faust would acknowledge the event and go on without this agent
            die(f"decisions: {type(error).__name__}: {error}")


async def follow(
    stream: Any, pop_of: Mapping[str, str], on_decision: Callable[[Decision], None], publisher: Publisher
) -> None:
    """Hand on every decision of the stream's batches; what is none goes to the dead letters."""
    async for event in stream.events():
        tp = event.message.tp
        for record in event.value:
            parsed = decode(pop_of[tp.topic], record.value)
            if isinstance(parsed, Decision):
                on_decision(parsed)
            else:
                publisher.dead_letter(tp, record, parsed)
        for send in publisher.take():
            await (await send())
