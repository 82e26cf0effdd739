"""What `links`, `overrides` and `congestion` print, read from the output topics as any consumer could."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from app.cli.tables import Listing
from app.config.settings import Deployment
from app.contract import topics
from app.contract.decoding import Read, reader_of
from app.contract.schemas import Actuation, Control, Decision, LinkUtilization
from app.errors import ConfigError
from app.kafka.read import read_topic
from app.kafka.unreadable import decoded
from app.te.explain.units import bits, of_capacity
from app.web.conditions import QUIET_WINDOWS
from app.web.override_states import OverrideState, OverrideStates

Halts = Mapping[str, Control]  # the order that halts a PoP, by PoP, for those halted by the control topic
States = Mapping[str, Mapping[str, OverrideState]]  # by PoP and prefix
RECENT_DECISIONS = 360  # an hour of windows
LAST = 20  # offsets at the end of a topic; some may have no record, or one that cannot be read
read_decision: Read[Decision] = reader_of(Decision)
read_actuation: Read[Actuation] = reader_of(Actuation)
read_window: Read[LinkUtilization] = reader_of(LinkUtilization)
ACTUATIONS_READ = 20_000
NO_WINDOW = (
    "No window yet. Telemetry publishes each window about 5 s after it ends; is it running, and do flows arrive?"
)
NO_DECISION = "No decision yet. Telemetry makes one per window; is it running?"
NO_OVERRIDE = "No override: every prefix leaves where plain BGP sends it."
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


async def latest_links(deployment: Deployment, pop: str | None) -> list[LinkUtilization]:
    """Return the newest record of each link, in the order of the inventory."""
    pops = chosen(deployment, pop)
    links = sum(len(deployment.pops[name].link) for name in deployment.pops)
    records = await read_topic(deployment.settings.kafka, topics.LINK_UTILIZATION.name, last=LAST + 3 * links)
    newest = {window.link: window for _, window in decoded(records, read_window) if window.pop in pops}
    return [newest[link] for name in pops for link in deployment.pops[name].links if link in newest]


async def latest_decisions(deployment: Deployment, pop: str | None) -> list[Decision]:
    """Return the newest decision of each PoP that has one."""
    of_pops = [await decisions_of(deployment, name, LAST) for name in chosen(deployment, pop)]
    return [decisions[-1] for decisions in of_pops if decisions]


async def decisions_of(deployment: Deployment, name: str, last: int) -> list[Decision]:
    """Return the last decisions in the topic of a PoP; what is of another one does not belong there."""
    records = await read_topic(deployment.settings.kafka, topics.DECISIONS.for_pop(name), last=last)
    return [decision for _, decision in decoded(records, read_decision) if decision.pop == name]


async def decisions_with_states(deployment: Deployment, pop: str | None) -> tuple[list[Decision], States]:
    """Return the newest decision of each PoP that has one, and how far each of its overrides has come."""
    decisions, records = await asyncio.gather(
        latest_decisions(deployment, pop),
        read_topic(deployment.settings.kafka, topics.ACTUATIONS.name, last=ACTUATIONS_READ),
    )
    states = OverrideStates()
    for _, actuation in decoded(records, read_actuation):
        states.take(actuation)
    return decisions, {decision.pop: states.of_decision(decision) for decision in decisions}


async def recent_congestion(deployment: Deployment, pop: str | None) -> list[Episode]:
    """Return the congestion that is open, or was in the last RECENT_DECISIONS windows of each PoP."""
    recent: list[Episode] = []
    for name in chosen(deployment, pop):
        recent += episodes(await decisions_of(deployment, name, RECENT_DECISIONS))
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


def congestion_table(rows: Iterable[Episode]) -> Listing:
    """Return a table with one line per congestion; loads are shares of capacity."""
    figures = ("carried", "dropped", "natural", "natural max", "dropped max")
    table = Listing("link", "since", "until", *figures, right=figures)
    for row in rows:
        shares = (row.carried, row.dropped, row.natural, row.natural_max, row.dropped_max)
        until = f"{row.until:%H:%M:%S}" if row.until else "open"
        table.add_row(row.link, f"{row.since:%H:%M:%S}", until, *(f"{share:.1%}" for share in shares))
    return table


def feed_of(row: LinkUtilization, now_s: float) -> str:
    """Return the state of a link's feed or, if its windows stopped, for how long there was none."""
    quiet_s = now_s - row.window_start.timestamp() - row.window_s
    return f"no window for {quiet_s:.0f} s" if quiet_s > QUIET_WINDOWS * row.window_s else row.feed


def links_table(rows: Iterable[LinkUtilization], now_s: float) -> Listing:
    """Return a table with one line per link, the fullest first; loads are shares of capacity, None is unknown."""
    figures = ("capacity", "carried", "dropped", "natural", "moved in", "moved out")
    table = Listing("link", "feed", *figures, "window start", right=figures)
    for row in sorted(rows, key=_fullness, reverse=True):
        silent = row.feed == "silent"
        loads = None if silent else row.carried_bps, None if silent else row.dropped_bps, row.natural_bps
        shares = (of_capacity(load, row.capacity_bps) for load in loads)
        moved = bits(row.moved_in_bps), bits(row.moved_out_bps)
        start = f"{row.window_start:%H:%M:%S}"
        table.add_row(row.link, feed_of(row, now_s), bits(row.capacity_bps), *shares, *moved, start)
    return table


def _fullness(row: LinkUtilization) -> float:
    """The load by which links are sorted; what is unknown comes last."""
    known = [load for load in (row.carried_bps, row.natural_bps) if load is not None]
    return max(known) / row.capacity_bps if known and row.capacity_bps else -1.0


def overrides_lines(decisions: Iterable[Decision], states: States) -> list[str]:
    """Return a line for each PoP: its mode, how many overrides its newest decision has, and how far they have come."""
    return [_overrides_line(decision, states.get(decision.pop, {})) for decision in decisions]


def _overrides_line(decision: Decision, states: Mapping[str, OverrideState]) -> str:
    mode = f"{decision.pop}: mode {decision.mode}" + ("" if decision.mode == "auto" else ", so nothing is announced")
    if not decision.overrides:
        return f"{mode}; no override"
    moved = bits(sum(override.bps for override in decision.overrides))
    counts = Counter(state.state for state in states.values())
    progress = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return f"{mode}; overrides: {len(decision.overrides)} with {moved}" + (f" ({progress})" if progress else "")


def overrides_table(decisions: Iterable[Decision], states: States | None = None) -> Listing:
    """Return a table with one line per override, the largest first; `states` by PoP and prefix add a column."""
    progress = [] if states is None else ["state"]
    table = Listing("prefix", "load", *progress, "exit", "next hop", "instead of", "reason", right=("load",))
    overrides = [(decision.pop, override) for decision in decisions for override in decision.overrides]
    for pop, override in sorted(overrides, key=lambda pair: -pair[1].bps):
        instead = ", ".join(sorted({exit_.link for exit_ in override.natural}))
        state = [] if states is None else [str(states[pop][override.prefix])]
        egress = override.exit
        table.add_row(
            override.prefix, bits(override.bps), *state, egress.link, egress.next_hop, instead, override.reason
        )
    return table
