"""`autopilot watch`: links and overrides live in the terminal, from the topics like any consumer would."""

from contextlib import aclosing

import msgspec
from aiokafka import ConsumerRecord
from rich.console import Console, Group
from rich.live import Live

from app import topics
from app.kafkaread import follow
from app.schemas import Decision, LinkUtilization
from app.settings import Deployment
from app.show import chosen, episodes, links_table, overrides_table

OVERRIDES_MAX = 15


class Screen:
    """The newest record of every link and the newest decision of every PoP."""

    def __init__(self, deployment: Deployment, pop: str | None) -> None:
        names = chosen(deployment, pop)
        self._order = [link for name in names for link in deployment.pops[name].links]
        self._links: dict[str, LinkUtilization] = {}
        self._decisions: dict[str, Decision] = {}
        every_link = sum(len(one.link) for one in deployment.pops.values())
        self.topics = {topics.DECISIONS.for_pop(name): 1 for name in names}
        self.topics[topics.LINK_UTILIZATION.name] = 3 * every_link

    def take(self, topic: str, value: bytes) -> None:
        """One record of one of the `topics`."""
        if topic == topics.LINK_UTILIZATION.name:
            window = msgspec.json.decode(value, type=LinkUtilization)
            self._links[window.link] = window
        else:
            decision = msgspec.json.decode(value, type=Decision)
            self._decisions[decision.pop] = decision

    def view(self) -> Group:
        """What is shown now: links, then the largest overrides."""
        decisions = list(self._decisions.values())
        largest = [
            msgspec.structs.replace(
                one, overrides=tuple(sorted(one.overrides, key=lambda override: -override.bps)[:OVERRIDES_MAX])
            )
            for one in decisions
        ]
        links = links_table(self._links[name] for name in self._order if name in self._links)
        return Group(links, *map(_headline, decisions), overrides_table(largest))


def _headline(decision: Decision) -> str:
    count, congested = len(decision.overrides), [one.link for one in episodes([decision]) if one.until is None]
    more = f", the largest {OVERRIDES_MAX} are shown" if count > OVERRIDES_MAX else ""
    return (
        f"{decision.pop} {decision.mode} {decision.epoch}.{decision.seq} of {decision.window_start:%H:%M:%S}: "
        f"{count} overrides{more}, {len(decision.released)} released, {len(decision.refused)} refused; "
        f"congested: {', '.join(congested) or 'nothing'}"
    )


async def watch(deployment: Deployment, pop: str | None, console: Console) -> None:
    """Until cancelled; DaemonError where the broker does not answer."""
    screen = Screen(deployment, pop)
    records = follow(deployment.settings.kafka.broker, screen.topics)
    async with aclosing(records):
        with Live(screen.view(), console=console, refresh_per_second=2) as live:
            record: ConsumerRecord
            async for record in records:
                screen.take(record.topic, record.value)
                live.update(screen.view())
