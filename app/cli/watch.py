"""`autopilot watch`: links and overrides live in the terminal, read from the topics as any consumer could."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import TypeVar

import msgspec
from aiokafka import ConsumerRecord
from rich.console import Console, Group
from rich.live import Live

from app.cli.show import (
    LAST,
    LinkRows,
    episodes,
    latest_links,
    links_table,
    overrides_table,
    read_actuation,
    read_decision,
    read_window,
)
from app.cli.situation import halt_lines, read_last_seen, read_sources, read_status
from app.clock import Clock
from app.config.settings import Deployment
from app.config.trusted_keys import trust_of
from app.contract import topics
from app.contract.decoding import Read, Rejected
from app.contract.schemas import Decision
from app.kafka.orders import Orders
from app.kafka.read import follow
from app.kafka.silence import SilenceWatch, watched
from app.kafka.unreadable import Unreadable
from app.web.conditions import notices, sentence
from app.web.last_seen import LastSeen
from app.web.override_states import ACTUATIONS_READ, OverrideStates

T = TypeVar("T")
OVERRIDES_MAX = 15
PER_POP = 10  # records of its sources, and signs of life


class Screen:
    """What `watch` shows: the newest window of every link, the newest decision of every PoP, and what is wrong.

    It begins with the PoPs and links to show, and what was last seen of each. `topics` is how many of the last records
    to read from each topic; None means all.
    """

    def __init__(self, deployment: Deployment, last: Mapping[str, LastSeen], links: LinkRows, clock: Clock) -> None:
        self._deployment = deployment
        self._clock = clock
        self._last = dict(last)
        self._links = dict(links)
        self._states = OverrideStates()
        self._trust = trust_of(deployment.settings.trust)
        self._orders = Orders(self._trust)
        self._unreadable = Unreadable()
        every_link = sum(len(pop.link) for pop in deployment.pops.values())
        every_pop = PER_POP * len(deployment.pops)
        self.topics: dict[str, int | None] = {topics.DECISIONS.for_pop(name): LAST for name in self._last}
        self.topics |= {topics.LINK_UTILIZATION.name: 3 * every_link, topics.CONTROL.name: None}
        self.topics |= {topics.SOURCES.name: every_pop, topics.ACTUATOR_STATUS.name: every_pop}
        self.topics[topics.ACTUATIONS.name] = ACTUATIONS_READ

    def take(self, topic: str, key: bytes | None, value: bytes | None, at_s: float) -> None:
        """Take one record of one of the `topics`; what cannot be read is logged and skipped."""
        if topic == topics.CONTROL.name:
            self._orders.take(key, value, at_s)
        elif topic == topics.LINK_UTILIZATION.name:
            if (window := self._read(topic, read_window, value)) is not None and window.link in self._links:
                before = self._links[window.link]
                self._last[window.link.partition("/")[0]].take_window(window)
                if before is None or window.window_start > before.window_start:
                    self._links[window.link] = window
        elif topic == topics.SOURCES.name:
            if (sources := self._read(topic, read_sources, value)) is not None and sources.pop in self._last:
                self._last[sources.pop].take_sources(sources)
        elif topic == topics.ACTUATOR_STATUS.name:
            if (status := self._read(topic, read_status, value)) is not None and status.pop in self._last:
                self._last[status.pop].take_status(status)
        elif topic == topics.ACTUATIONS.name:
            if (actuation := self._read(topic, read_actuation, value)) is not None:
                self._states.take(actuation)
        else:
            decision = self._used(topic, self._trust.read(read_decision, topic, key, value, at_s))
            if decision is not None and decision.pop in self._last:
                self._last[decision.pop].take_decision(decision)

    def take_silent(self, silent: frozenset[str]) -> None:
        """Take which topics nobody writes to at the moment."""
        for known in self._last.values():
            known.take_silent(silent)

    def _read(self, topic: str, read: Read[T], value: bytes | None) -> T | None:
        return self._used(topic, read(value))

    def _used(self, topic: str, record: T | Rejected) -> T | None:
        if isinstance(record, Rejected):
            self._unreadable.note(topic, "a record", record.reason)
            return None
        return record

    def view(self) -> Group:
        """Return what to show now: what is wrong, links, then the largest overrides."""
        now_s = self._clock.now_s()
        decisions = [known.decision for known in self._last.values() if known.decision is not None]
        states = {decision.pop: self._states.of_decision(decision) for decision in decisions}
        largest = [
            msgspec.structs.replace(
                decision,
                overrides=tuple(sorted(decision.overrides, key=lambda override: -override.bps)[:OVERRIDES_MAX]),
            )
            for decision in decisions
        ]
        links = links_table(self._links, now_s)
        halts = {name: halt for name in self._last if (halt := self._orders.halt(name)) is not None}
        wrong = [
            sentence(name, notice)
            for name, known in self._last.items()
            for notice in notices(self._deployment.pops[name], known.seen(now_s))
        ]
        return Group(*halt_lines(halts), *wrong, links, *map(_headline, decisions), overrides_table(largest, states))


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
    kafka = deployment.settings.kafka
    last, links = await asyncio.gather(read_last_seen(deployment, pop, clock.now_s()), latest_links(deployment, pop))
    screen = Screen(deployment, last, links, clock)
    silence = SilenceWatch(kafka, watched(deployment.settings, last), clock, screen.take_silent)
    asking, records = asyncio.create_task(silence.run()), follow(kafka, screen.topics)
    try:
        async with aclosing(records):
            with Live(get_renderable=screen.view, console=console, refresh_per_second=2):  # ages grow by themselves
                record: ConsumerRecord
                async for record in records:
                    screen.take(record.topic, record.key, record.value, record.timestamp / 1000)
    finally:
        asking.cancel()
