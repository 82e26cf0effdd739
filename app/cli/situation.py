"""What is known of each PoP at the moment, for every command that shows something: who halted it, and what is wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from app.cli.show import Halts, chosen, latest_decisions
from app.config.settings import Deployment
from app.contract import topics
from app.contract.decoding import Read, reader_of
from app.contract.schemas import ActuatorStatus, Decision, LinkUtilization, Notice, Sources
from app.kafka.orders import read_orders
from app.kafka.read import read_topic
from app.kafka.silence import silent_topics, watched
from app.kafka.unreadable import decoded
from app.web.conditions import Seen, clock_time, notices, sentence
from app.web.override_states import OverrideState

T = TypeVar("T")
S = TypeVar("S", Sources, ActuatorStatus)
STATUSES_READ, SOURCES_READ = 1000, 200
PER_POP = 10
read_sources: Read[Sources] = reader_of(Sources)
read_status: Read[ActuatorStatus] = reader_of(ActuatorStatus)


def halt_lines(halts: Halts) -> list[str]:
    """Return one line for each halted PoP: who halted it, and when."""
    return [
        f"{pop} was halted by {halt.by} at {clock_time(halt.at)}: no override is announced until `resume`"
        for pop, halt in halts.items()
    ]


class Situation(NamedTuple):
    """The order that halts a PoP, what was last seen of it, and what is wrong with it, each by PoP."""

    halts: Halts
    seen: dict[str, Seen]
    notices: dict[str, tuple[Notice, ...]]

    def lines(self) -> list[str]:
        """What must be known before anything else, a line each."""
        return halt_lines(self.halts) + [sentence(notice) for of_pop in self.notices.values() for notice in of_pop]


async def situation(deployment: Deployment, pop: str | None, now_s: float) -> Situation:
    """Read the situation of the PoPs asked for; DaemonError if the broker does not answer or lacks a topic."""
    names = chosen(deployment, pop)
    kafka, settings = deployment.settings.kafka, deployment.settings
    orders, sources, statuses, decisions, silent = await asyncio.gather(
        read_orders(kafka),
        _newest(deployment, topics.SOURCES.name, SOURCES_READ, read_sources),
        _newest(deployment, topics.ACTUATOR_STATUS.name, STATUSES_READ, read_status),
        latest_decisions(deployment, pop),
        silent_topics(kafka, watched(settings, names), now_s),
    )
    modes = {decision.pop: decision.mode for decision in decisions}
    seen = {}
    for name in names:
        known = sources.get(name)
        end_s = known.window_start.timestamp() + known.window_s if known else None
        window_s = settings.windows.length_s
        seen[name] = Seen(now_s, window_s, known, statuses.get(name), modes.get(name), end_s, silent)
    halts = {name: halt for name in names if (halt := orders.halt(name)) is not None}
    return Situation(halts, seen, {name: notices(deployment.pops[name], seen[name]) for name in names})


async def with_situation(
    deployment: Deployment, pop: str | None, now_s: float, read: Callable[[Deployment, str | None], Awaitable[T]]
) -> tuple[T, Situation]:
    """What `read` finds of the PoPs asked for, and their situation."""
    found, now = await asyncio.gather(read(deployment, pop), situation(deployment, pop, now_s))
    return found, now


async def _newest(deployment: Deployment, topic: str, at_least: int, read: Read[S]) -> dict[str, S]:
    """The newest of the last records of a topic, by PoP."""
    last = max(at_least, PER_POP * len(deployment.pops))
    records = await read_topic(deployment.settings.kafka, topic, last=last)
    return {value.pop: value for _, value in decoded(records, read)}


def link_documents(rows: Iterable[LinkUtilization], situation: Situation) -> list[dict[str, object]]:
    """The records with what halts their PoP (`halted`), and the notices on the link, its router or the whole PoP."""
    documents = []
    for row in rows:
        where = {row.pop, row.link, row.link.split("/", 2)[1]}
        of_link = [notice for notice in situation.notices[row.pop] if notice.where in where]
        documents.append({**msgspec.structs.asdict(row), "halted": situation.halts.get(row.pop), "notices": of_link})
    return documents


def decision_documents(
    decisions: Iterable[Decision], states: Mapping[str, Mapping[str, OverrideState]], situation: Situation
) -> list[dict[str, object]]:
    """The records with what halts their PoP (`halted`), its notices, and how far each override has come (`states`)."""
    return [
        {
            **msgspec.structs.asdict(decision),
            "halted": situation.halts.get(decision.pop),
            "notices": situation.notices[decision.pop],
            "states": states[decision.pop],
        }
        for decision in decisions
    ]
