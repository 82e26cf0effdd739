"""`autopilot watch`: links and overrides live in the terminal, read from the topics as any consumer could."""

from contextlib import aclosing
from typing import TypeVar

import msgspec
from aiokafka import ConsumerRecord
from rich.console import Console, Group
from rich.live import Live

from app.cli.show import (
    ACTUATIONS_READ,
    LAST,
    chosen,
    episodes,
    links_table,
    overrides_table,
    read_actuation,
    read_decision,
    read_window,
)
from app.cli.situation import PER_POP, halt_lines, read_sources, read_status
from app.clock import Clock
from app.config.settings import Deployment
from app.contract import topics
from app.contract.decoding import Read, Rejected
from app.contract.schemas import ActuatorStatus, Decision, LinkUtilization, Notice, Sources
from app.kafka.orders import Orders
from app.kafka.read import follow
from app.kafka.unreadable import Unreadable
from app.web.conditions import Seen, notices, sentence
from app.web.override_states import OverrideStates

T = TypeVar("T")
OVERRIDES_MAX = 15


class Screen:
    """What `watch` shows: the newest window of every link, the newest decision of every PoP, and what is wrong.

    `topics` is how many of the last records to read from each topic; None means all.
    """

    def __init__(self, deployment: Deployment, pop: str | None, clock: Clock) -> None:
        self._names = chosen(deployment, pop)
        self._order = [link for name in self._names for link in deployment.pops[name].links]
        self._deployment = deployment
        self._clock = clock
        self._links: dict[str, LinkUtilization] = {}
        self._decisions: dict[str, Decision] = {}
        self._sources: dict[str, Sources] = {}
        self._statuses: dict[str, ActuatorStatus] = {}
        self._states = OverrideStates()
        self._orders = Orders()
        self._unreadable = Unreadable()
        every_link = sum(len(pop.link) for pop in deployment.pops.values())
        every_pop = PER_POP * len(deployment.pops)
        self.topics: dict[str, int | None] = {topics.DECISIONS.for_pop(name): LAST for name in self._names}
        self.topics |= {topics.LINK_UTILIZATION.name: 3 * every_link, topics.CONTROL.name: None}
        self.topics |= {topics.SOURCES.name: every_pop, topics.ACTUATOR_STATUS.name: every_pop}
        self.topics[topics.ACTUATIONS.name] = ACTUATIONS_READ

    def take(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Take one record of one of the `topics`; what cannot be read is logged and skipped."""
        if topic == topics.CONTROL.name:
            self._orders.take(key, value)
        elif topic == topics.LINK_UTILIZATION.name:
            if (window := self._read(topic, read_window, value)) is not None and window.link in self._order:
                self._links[window.link] = window
        elif topic == topics.SOURCES.name:
            if (sources := self._read(topic, read_sources, value)) is not None:
                self._sources[sources.pop] = sources
        elif topic == topics.ACTUATOR_STATUS.name:
            if (status := self._read(topic, read_status, value)) is not None:
                self._statuses[status.pop] = status
        elif topic == topics.ACTUATIONS.name:
            if (actuation := self._read(topic, read_actuation, value)) is not None:
                self._states.take(actuation)
        elif (decision := self._read(topic, read_decision, value)) is not None and decision.pop in self._names:
            self._decisions[decision.pop] = decision

    def _read(self, topic: str, read: Read[T], value: bytes | None) -> T | None:
        record = read(value)
        if isinstance(record, Rejected):
            self._unreadable.note(topic, "a record", record.reason)
            return None
        return record

    def view(self) -> Group:
        """Return what to show now: what is wrong, links, then the largest overrides."""
        now_s, decisions = self._clock.now_s(), list(self._decisions.values())
        states = {decision.pop: self._states.of_decision(decision) for decision in decisions}
        largest = [
            msgspec.structs.replace(
                decision,
                overrides=tuple(sorted(decision.overrides, key=lambda override: -override.bps)[:OVERRIDES_MAX]),
            )
            for decision in decisions
        ]
        links = links_table([self._links[link] for link in self._order if link in self._links], now_s)
        halts = {name: halt for name in self._names if (halt := self._orders.halt(name)) is not None}
        wrong = [sentence(notice) for name in self._names for notice in self._notices(name, now_s)]
        return Group(*halt_lines(halts), *wrong, links, *map(_headline, decisions), overrides_table(largest, states))

    def _notices(self, name: str, now_s: float) -> tuple[Notice, ...]:
        sources, decision = self._sources.get(name), self._decisions.get(name)
        end_s = sources.window_start.timestamp() + sources.window_s if sources else None
        window_s = self._deployment.settings.windows.length_s
        mode = decision.mode if decision else None
        return notices(
            self._deployment.pops[name], Seen(now_s, window_s, sources, self._statuses.get(name), mode, end_s)
        )


def _headline(decision: Decision) -> str:
    count, congested = len(decision.overrides), [row.link for row in episodes([decision]) if row.until is None]
    shown = f" (the largest {OVERRIDES_MAX} are shown)" if count > OVERRIDES_MAX else ""
    return (
        f"{decision.pop}: decision {decision.epoch}.{decision.seq}, mode {decision.mode}, "
        f"for the window from {decision.window_start:%H:%M:%S}; overrides: {count}{shown}, "
        f"released: {len(decision.released)}, refused: {len(decision.refused)}; "
        f"congested: {', '.join(congested) or 'no link'}"
    )


async def watch(deployment: Deployment, pop: str | None, console: Console, clock: Clock) -> None:
    """Show the screen until cancelled; DaemonError if the broker does not answer."""
    screen = Screen(deployment, pop, clock)
    records = follow(deployment.settings.kafka, screen.topics)
    async with aclosing(records):
        with Live(get_renderable=screen.view, console=console, refresh_per_second=2):  # ages grow even without records
            record: ConsumerRecord
            async for record in records:
                screen.take(record.topic, record.key, record.value)
