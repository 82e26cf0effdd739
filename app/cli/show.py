"""What `links`, `overrides` and `congestion` print, read from the output topics as any consumer could."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

import msgspec
from rich.table import Column, Table

from app.config.settings import Deployment
from app.contract import topics
from app.contract.decoding import Read, reader_of
from app.contract.schemas import Actuation, Control, Decision, LinkUtilization
from app.errors import ConfigError
from app.kafka.orders import read_orders
from app.kafka.read import read_topic
from app.kafka.unreadable import decoded

Row = TypeVar("Row", Decision, LinkUtilization)
Halts = Mapping[str, Control]  # the order that halts a PoP, by PoP, for those halted by the control topic
GIGA = 1e9
QUIET_WINDOWS = 3  # a window is published about 5 s after it ends: with more missing, nothing is published any more
RECENT_DECISIONS = 360  # an hour of windows
LAST = 20  # offsets at the end of a topic; some may have no record, or one that cannot be read
read_decision: Read[Decision] = reader_of(Decision)
read_actuation: Read[Actuation] = reader_of(Actuation)
read_window: Read[LinkUtilization] = reader_of(LinkUtilization)
NO_WINDOW = (
    "No window yet. Telemetry publishes each window about 5 s after it ends; is it running, and do flows arrive?"
)
NO_DECISION = "No decision yet. Telemetry makes one per window; is it running?"
NO_OVERRIDE = "No override: every prefix leaves where plain BGP sends it."
UNKNOWN = "unknown"
NO_CONGESTION = "No congestion in the last hour."


class Episode(msgspec.Struct, frozen=True):
    """One congestion from opening to closing, from its events. Loads are shares of capacity.

    `until` is None while it is open; `natural_max` and `dropped_max` are its highest loads, the others its last.
    """

    pop: str
    id: str
    link: str
    since: datetime
    until: datetime | None
    carried: float
    dropped: float
    natural: float
    error: float
    natural_max: float
    dropped_max: float


def chosen(deployment: Deployment, pop: str | None) -> list[str]:
    """Return the PoPs asked for, all if `pop` is None; ConfigError if there is no such PoP."""
    if pop is not None and pop not in deployment.pops:
        raise ConfigError([f"no PoP {pop}; known: {', '.join(deployment.pops)}"])
    return [pop] if pop else list(deployment.pops)


async def with_halts(
    deployment: Deployment, pop: str | None, read: Callable[[Deployment, str | None], Awaitable[list[Row]]]
) -> tuple[list[Row], Halts]:
    """Return the records that `read` finds, and the orders that halt the PoPs asked for."""
    names = chosen(deployment, pop)
    rows, orders = await asyncio.gather(read(deployment, pop), read_orders(deployment.settings.kafka))
    return rows, {name: halt for name in names if (halt := orders.halt(name)) is not None}


def marked(rows: Iterable[Row], halts: Halts) -> list[dict[str, object]]:
    """Return the records with one more field: `halted`, the order that halts their PoP, or None."""
    return [{**msgspec.structs.asdict(row), "halted": halts.get(row.pop)} for row in rows]


def halt_lines(halts: Halts) -> list[str]:
    """Return one line for each halted PoP: who halted it, and when."""
    return [
        f"{pop} was halted by {halt.by} at {halt.at:%Y-%m-%d %H:%M:%S} UTC: no override is announced until `resume`"
        for pop, halt in halts.items()
    ]


async def latest_links(deployment: Deployment, pop: str | None) -> list[LinkUtilization]:
    """Return the newest record of each link, in the order of the inventory."""
    pops = chosen(deployment, pop)
    links = sum(len(deployment.pops[name].link) for name in deployment.pops)
    records = await read_topic(deployment.settings.kafka, topics.LINK_UTILIZATION.name, last=LAST + 3 * links)
    newest = {window.link: window for _, window in decoded(records, read_window) if window.pop in pops}
    return [newest[link] for name in pops for link in deployment.pops[name].links if link in newest]


async def latest_decisions(deployment: Deployment, pop: str | None) -> list[Decision]:
    """Return the newest decision of each PoP that has one."""
    kafka = deployment.settings.kafka
    topic_names = [topics.DECISIONS.for_pop(name) for name in chosen(deployment, pop)]
    last_records = [await read_topic(kafka, topic, last=LAST) for topic in topic_names]
    decisions = [[decision for _, decision in decoded(records, read_decision)] for records in last_records]
    return [of_pop[-1] for of_pop in decisions if of_pop]


async def recent_congestion(deployment: Deployment, pop: str | None) -> list[Episode]:
    """Return the congestion that is open, or was in the last RECENT_DECISIONS windows of each PoP."""
    kafka = deployment.settings.kafka
    recent: list[Episode] = []
    for name in chosen(deployment, pop):
        records = await read_topic(kafka, topics.DECISIONS.for_pop(name), last=RECENT_DECISIONS)
        recent += episodes(decision for _, decision in decoded(records, read_decision))
    return recent


def episodes(decisions: Iterable[Decision]) -> list[Episode]:
    """Return one Episode per congestion, the open ones first, then the last closed; `decisions` are in order."""
    by_id: dict[str, Episode] = {}
    for decision in decisions:
        for event in decision.congestion:
            before = by_id.get(event.id)
            by_id[event.id] = Episode(
                pop=decision.pop,
                id=event.id,
                link=event.link,
                since=event.since,
                until=decision.window_start if event.state == "closed" else None,
                carried=event.carried,
                dropped=event.dropped,
                natural=event.natural,
                error=event.error,
                natural_max=max(event.natural, before.natural_max if before else 0.0),
                dropped_max=max(event.dropped, before.dropped_max if before else 0.0),
            )
    newest_first = sorted(by_id.values(), key=lambda row: (row.until or row.since, row.link), reverse=True)
    return sorted(newest_first, key=lambda row: row.until is not None)


def congestion_table(rows: Iterable[Episode]) -> Table:
    """Return a table with one line per congestion; loads are shares of capacity."""
    table = columns("link", "since", "until", "carried", "dropped", "natural", "natural max", "dropped max")
    for row in rows:
        shares = (row.carried, row.dropped, row.natural, row.natural_max, row.dropped_max)
        until = f"{row.until:%H:%M:%S}" if row.until else "open"
        table.add_row(row.link, f"{row.since:%H:%M:%S}", until, *(f"{share:.1%}" for share in shares))
    return table


def columns(*names: str, title: str | None = None) -> Table:
    """Return an empty table that cuts nothing off in a narrow terminal; prefixes stay on one line, to be copied."""
    unbroken = ("prefix", "released", "refused")
    headers = (Column(name, overflow="fold", no_wrap=name in unbroken) for name in names)
    return Table(*headers, title=title, title_justify="left")


def feed_of(row: LinkUtilization, now_s: float) -> str:
    """Return the state of a link's feed or, if its windows stopped, for how long there was none."""
    quiet_s = now_s - row.window_start.timestamp() - row.window_s
    return f"no window for {quiet_s:.0f} s" if quiet_s > QUIET_WINDOWS * row.window_s else row.feed


def links_table(rows: Iterable[LinkUtilization], now_s: float) -> Table:
    """Return a table with one line per link: loads as shares of capacity, moved traffic in Gb/s."""
    names = (
        "link",
        "feed",
        "capacity Gb/s",
        "carried",
        "dropped",
        "natural",
        "moved in Gb/s",
        "moved out Gb/s",
        "window start",
    )
    table = columns(*names)
    for row in rows:
        shares = [_share(load, row.capacity_bps) for load in (row.carried_bps, row.dropped_bps, row.natural_bps)]
        if row.feed == "silent":  # earlier records of silent links have zeros
            shares[:2] = UNKNOWN, UNKNOWN
        moved = (f"{load / GIGA:.1f}" for load in (row.moved_in_bps, row.moved_out_bps))
        capacity = UNKNOWN if row.capacity_bps is None else f"{row.capacity_bps / GIGA:.0f}"
        start = f"{row.window_start:%H:%M:%S}"
        table.add_row(row.link, feed_of(row, now_s), capacity, *shares, *moved, start)
    return table


def _share(load_bps: float | None, capacity_bps: float | None) -> str:
    return UNKNOWN if load_bps is None or capacity_bps is None else f"{load_bps / capacity_bps:.1%}"


def overrides_table(decisions: Iterable[Decision]) -> Table:
    """Return a table with one line per override."""
    table = columns("prefix", "Gb/s", "exit", "next hop", "instead of", "reason for the move")
    for decision in decisions:
        for override in decision.overrides:
            instead = ", ".join(sorted({exit_.link for exit_ in override.natural}))
            gbps = f"{override.bps / GIGA:.2f}"
            egress = override.exit
            table.add_row(override.prefix, gbps, egress.link, egress.next_hop, instead, override.reason)
    return table
