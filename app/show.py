"""What `autopilot links` and `autopilot overrides` print, read from the output topics like any consumer would."""

from collections.abc import Iterable

import msgspec
from rich.table import Table

from app import topics
from app.errors import ConfigError
from app.kafkaread import read_topic
from app.schemas import Decision, LinkUtilization
from app.settings import Deployment

GIGA = 1e9


def chosen(deployment: Deployment, pop: str | None) -> list[str]:
    """The PoPs that were asked for; ConfigError when there is no such PoP."""
    if pop is not None and pop not in deployment.pops:
        raise ConfigError([f"no PoP {pop}; known: {', '.join(deployment.pops)}"])
    return [pop] if pop else list(deployment.pops)


async def latest_links(deployment: Deployment, pop: str | None) -> list[LinkUtilization]:
    """The newest record of every link."""
    pops = chosen(deployment, pop)
    links = sum(len(deployment.pops[name].link) for name in deployment.pops)
    records = await read_topic(deployment.settings.kafka.broker, topics.LINK_UTILIZATION.name, last=3 * links)
    decoded = (msgspec.json.decode(record.value, type=LinkUtilization) for record in records)
    newest = {record.link: record for record in decoded if record.pop in pops}
    return [newest[link] for name in pops for link in deployment.pops[name].links if link in newest]


async def latest_decisions(deployment: Deployment, pop: str | None) -> list[Decision]:
    """The newest decision of every PoP that has one."""
    broker = deployment.settings.kafka.broker
    found = [await read_topic(broker, topics.DECISIONS.for_pop(name), last=1) for name in chosen(deployment, pop)]
    return [msgspec.json.decode(records[-1].value, type=Decision) for records in found if records]


def links_table(rows: Iterable[LinkUtilization]) -> Table:
    """One line per link; shares of capacity, moved traffic in Gb/s."""
    table = Table("link", "Gb/s", "carried", "dropped", "natural", "moved in", "moved out", "window")
    for row in rows:
        loads = (row.carried_bps, row.dropped_bps, row.natural_bps)
        shares = (f"{load / row.capacity_bps:.1%}" for load in loads)
        moved = (f"{load / GIGA:.1f}" for load in (row.moved_in_bps, row.moved_out_bps))
        table.add_row(row.link, f"{row.capacity_bps / GIGA:.0f}", *shares, *moved, f"{row.window_start:%H:%M:%S}")
    return table


def overrides_table(decisions: Iterable[Decision]) -> Table:
    """One line per override."""
    table = Table("pop", "prefix", "Gb/s", "exit", "next hop", "instead of", "reason")
    for decision in decisions:
        for override in decision.overrides:
            instead = ", ".join(sorted({exit_.link for exit_ in override.natural}))
            gbps = f"{override.bps / GIGA:.2f}"
            where = override.exit.link, override.exit.next_hop
            table.add_row(decision.pop, override.prefix, gbps, *where, instead, override.reason)
    return table
