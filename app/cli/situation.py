"""What is known of each PoP at the moment, for every command that shows something: who halted it, and what is wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from app.cli.show import Halts, LinkRows, PopCongestion, chosen, latest_decisions
from app.config.settings import Deployment
from app.config.trusted_keys import trust_of
from app.contract import topics
from app.contract.decoding import Read, reader_of
from app.contract.schemas import ActuatorStatus, Decision, LinkUtilization, Notice, Sources
from app.kafka.orders import because, read_orders
from app.kafka.read import read_newest
from app.kafka.silence import silent_topics, watched
from app.web.conditions import Seen, clock_time, notices, sentence
from app.web.last_seen import LastSeen
from app.web.override_states import OverrideState

T = TypeVar("T")
read_sources: Read[Sources] = reader_of(Sources)
read_status: Read[ActuatorStatus] = reader_of(ActuatorStatus)


def halt_lines(halts: Halts) -> list[str]:
    """Return one line for each halted PoP: who halted it, when, and why."""
    return [
        f"{pop} was halted by {halt.by} at {clock_time(halt.at)}{because(halt)}: no override is announced until"
        " `resume`"
        for pop, halt in halts.items()
    ]


class Situation(NamedTuple):
    """The order that halts a PoP, what was last seen of it, and what is wrong with it, each by PoP."""

    halts: Halts
    seen: dict[str, Seen]
    notices: dict[str, tuple[Notice, ...]]

    def lines(self) -> list[str]:
        """What must be known before anything else, a line each."""
        return halt_lines(self.halts) + [
            sentence(pop, notice) for pop, of_pop in self.notices.items() for notice in of_pop
        ]


async def situation(deployment: Deployment, pop: str | None, now_s: float) -> Situation:
    """Read the situation of the PoPs asked for; DaemonError if the broker does not answer or lacks a topic."""
    settings = deployment.settings
    orders, last = await asyncio.gather(
        read_orders(settings.kafka, trust_of(settings.trust)), read_last_seen(deployment, pop, now_s)
    )
    seen = {name: known.seen(now_s) for name, known in last.items()}
    halts = {name: halt for name in last if (halt := orders.halt(name)) is not None}
    return Situation(halts, seen, {name: notices(deployment.pops[name], seen[name]) for name in last})


async def read_last_seen(deployment: Deployment, pop: str | None, now_s: float) -> dict[str, LastSeen]:
    """Read what was last seen of each PoP asked for; DaemonError as for `situation`."""
    names = chosen(deployment, pop)
    kafka, settings = deployment.settings.kafka, deployment.settings
    sources, statuses, decisions, silent = await asyncio.gather(
        read_newest(kafka, topics.SOURCES.name, read_sources, _pop, names),
        read_newest(kafka, topics.ACTUATOR_STATUS.name, read_status, _pop, names),
        latest_decisions(deployment, pop),
        silent_topics(kafka, watched(settings, names), now_s),
    )
    last = {name: LastSeen(settings.windows.length_s) for name in names}
    for name, known in last.items():
        known.take_silent(silent)
        if name in sources:
            known.take_sources(sources[name])
        if name in statuses:
            known.take_status(statuses[name])
    for decision in decisions:
        last[decision.pop].take_decision(decision)
    return last


async def with_situation(
    deployment: Deployment, pop: str | None, now_s: float, read: Callable[[Deployment, str | None], Awaitable[T]]
) -> tuple[T, Situation]:
    """What `read` finds of the PoPs asked for, and their situation."""
    found, now = await asyncio.gather(read(deployment, pop), situation(deployment, pop, now_s))
    return found, now


def _pop(record: Sources | ActuatorStatus) -> str:
    return record.pop


def link_documents(rows: LinkRows, situation: Situation) -> list[dict[str, object]]:
    """The records with what halts their PoP (`halted`), and the notices on the link, its router or the whole PoP.

    Where no record of a link was found, its values are None.
    """
    documents = []
    for link, row in rows.items():
        pop, router, _ = link.split("/", 2)
        of_link = [notice for notice in situation.notices[pop] if notice.where in (pop, link, router)]
        values = msgspec.structs.asdict(row) if row else dict.fromkeys(LinkUtilization.__struct_fields__)
        of_pop = {"pop": pop, "link": link, "halted": situation.halts.get(pop), "notices": of_link}
        documents.append({**values, **of_pop})
    return documents


def congestion_documents(pops: Iterable[PopCongestion], situation: Situation) -> list[dict[str, object]]:
    """The congestion of each PoP with what halts it (`halted`), and its notices."""
    return [
        {
            **msgspec.structs.asdict(of_pop),
            "halted": situation.halts.get(of_pop.pop),
            "notices": situation.notices[of_pop.pop],
        }
        for of_pop in pops
    ]


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
