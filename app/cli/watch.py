"""`autopilot watch`: links and overrides live in the terminal, read from the topics as any consumer could."""

from contextlib import aclosing

import msgspec
from aiokafka import ConsumerRecord
from rich.console import Console, Group
from rich.live import Live

from app.cli.show import ACTUATIONS_READ, chosen, episodes, links_table, overrides_table
from app.cli.situation import PER_POP, halt_lines
from app.clock import Clock
from app.config.settings import Deployment
from app.contract import topics
from app.contract.schemas import Actuation, ActuatorStatus, Decision, LinkUtilization, Notice, Sources
from app.kafka.orders import Orders
from app.kafka.read import follow
from app.web.conditions import Seen, notices, sentence
from app.web.override_states import OverrideStates

OVERRIDES_MAX = 15


class Screen:
    """What `watch` shows: the newest window of every link, the newest decision of every PoP, and what is wrong.

    `topics` is how many of the last records to read from each topic; None means all.
    """

    def __init__(self, deployment: Deployment, pop: str | None, clock: Clock) -> None:
        self._names = chosen(deployment, pop)
        self._deployment = deployment
        self._clock = clock
        self._links: dict[str, LinkUtilization] = {}
        self._decisions: dict[str, Decision] = {}
        self._sources: dict[str, Sources] = {}
        self._statuses: dict[str, ActuatorStatus] = {}
        self._states = OverrideStates()
        self._orders = Orders()
        every_link = sum(len(pop.link) for pop in deployment.pops.values())
        every_pop = PER_POP * len(deployment.pops)
        self.topics: dict[str, int | None] = {topics.DECISIONS.for_pop(name): 1 for name in self._names}
        self.topics |= {topics.LINK_UTILIZATION.name: 3 * every_link, topics.CONTROL.name: None}
        self.topics |= {topics.SOURCES.name: every_pop, topics.ACTUATOR_STATUS.name: every_pop}
        self.topics[topics.ACTUATIONS.name] = ACTUATIONS_READ

    def take(self, topic: str, key: bytes | None, value: bytes) -> None:
        """Take one record of one of the `topics`."""
        if topic == topics.CONTROL.name:
            self._orders.take(key, value)
        elif topic == topics.LINK_UTILIZATION.name:
            window = msgspec.json.decode(value, type=LinkUtilization)
            self._links[window.link] = window
        elif topic == topics.SOURCES.name:
            sources = msgspec.json.decode(value, type=Sources)
            self._sources[sources.pop] = sources
        elif topic == topics.ACTUATOR_STATUS.name:
            status = msgspec.json.decode(value, type=ActuatorStatus)
            self._statuses[status.pop] = status
        elif topic == topics.ACTUATIONS.name:
            self._states.take(msgspec.json.decode(value, type=Actuation))
        else:
            decision = msgspec.json.decode(value, type=Decision)
            self._decisions[decision.pop] = decision

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
        order = [link for name in self._names for link in self._deployment.pops[name].links]
        links = links_table([self._links[link] for link in order if link in self._links], now_s)
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
