"""What `links`, `overrides` and `congestion` print, read from the output topics as any consumer could."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec
from aiokafka import ConsumerRecord

from app.cli.tables import Listing
from app.config.settings import Deployment
from app.config.trusted_keys import trust_of
from app.contract import topics
from app.contract.decoding import Read, reader_of
from app.contract.schemas import Actuation, Control, Decision, LinkUtilization
from app.errors import ConfigError
from app.kafka.read import read_newest, read_topic
from app.kafka.unreadable import decoded
from app.te.traffic.units import UNKNOWN, bits, of_capacity, percent
from app.web.conditions import is_quiet
from app.web.override_states import ACTUATIONS_READ, OverrideState, OverrideStates

Halts = Mapping[str, Control]  # the order that halts a PoP, by PoP, for those halted by the control topic
LinkRows = Mapping[str, LinkUtilization | None]  # by link
States = Mapping[str, Mapping[str, OverrideState]]  # by PoP and prefix
RECENT_S = 3600.0
LAST = 20  # offsets at the end of a topic; some may have no record, or one that cannot be read
read_decision: Read[Decision] = reader_of(Decision)
read_actuation: Read[Actuation] = reader_of(Actuation)
read_window: Read[LinkUtilization] = reader_of(LinkUtilization)
NO_DECISION = "No decision yet. Telemetry makes one per window; is it running?"
NO_OVERRIDE = "No override: every prefix leaves where plain BGP sends it."
NO_CONGESTION = "No congestion in the last hour."
NOT_KNOWN = "No decision was made in the last hour, so whether there is congestion is not known."


class Episode(msgspec.Struct, frozen=True):
    """One congestion from opening to closing, from its events. Loads are shares of capacity.

    `until` is None while it is open, as of the window that began at `as_of`. `natural_max` and `dropped_max` are its
    highest loads, the others its last.
    """

    pop: str
    id: str
    link: str
    since: datetime
    until: datetime | None
    as_of: datetime
    carried: float
    dropped: float | None
    natural: float
    error: float
    natural_max: float
    dropped_max: float | None


class PopCongestion(msgspec.Struct, frozen=True):
    """The recent congestion of a PoP, and when its newest decision was made; None if there is none."""

    pop: str
    decided_at: datetime | None
    congestion: list[Episode]

    def is_known(self, now_s: float) -> bool:
        """Whether there was a decision in the last hour, so that no congestion means that there was none."""
        return self.decided_at is not None and self.decided_at.timestamp() >= now_s - RECENT_S


def chosen(deployment: Deployment, pop: str | None) -> list[str]:
    """Return the PoPs asked for, all if `pop` is None; ConfigError if there is no such PoP."""
    if pop is not None and pop not in deployment.pops:
        raise ConfigError([f"no PoP {pop}; known: {', '.join(deployment.pops)}"])
    return [pop] if pop else list(deployment.pops)


async def latest_links(deployment: Deployment, pop: str | None) -> LinkRows:
    """Return every link of the inventory in its order, each with its newest record; None if none was found."""
    links = [link for name in chosen(deployment, pop) for link in deployment.pops[name].links]
    kafka, topic = deployment.settings.kafka, topics.LINK_UTILIZATION.name
    newest = await read_newest(kafka, topic, read_window, lambda window: window.link, links)
    return {link: newest.get(link) for link in links}


async def latest_decisions(deployment: Deployment, pop: str | None) -> list[Decision]:
    """Return the newest decision of each PoP that has one."""
    of_pops = [await decisions_of(deployment, name, LAST) for name in chosen(deployment, pop)]
    return [decisions[-1] for decisions in of_pops if decisions]


async def decisions_of(deployment: Deployment, name: str, last: int) -> list[Decision]:
    """Return the last decisions in the topic of a PoP; what is of another one does not belong there."""
    records = await read_topic(deployment.settings.kafka, topics.DECISIONS.for_pop(name), last=last)
    return _of_pop(deployment, records, name)


def _of_pop(deployment: Deployment, records: Iterable[ConsumerRecord], name: str) -> list[Decision]:
    trust = trust_of(deployment.settings.trust)
    return [decision for _, decision in decoded(records, read_decision, trust) if decision.pop == name]


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


async def recent_congestion(deployment: Deployment, pop: str | None, now_s: float) -> list[PopCongestion]:
    """Return for each PoP the congestion of the last RECENT_S, or else what its newest decision says."""
    recent = []
    for name in chosen(deployment, pop):
        records = await read_topic(deployment.settings.kafka, topics.DECISIONS.for_pop(name), since_s=now_s - RECENT_S)
        decisions = _of_pop(deployment, records, name) or (await decisions_of(deployment, name, LAST))[-1:]
        decided_at = decisions[-1].made_at if decisions else None
        recent.append(PopCongestion(name, decided_at, episodes(decisions)))
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
                as_of=decision.window_start,
                carried=event.carried,
                dropped=event.dropped,
                natural=event.natural,
                error=event.error,
                natural_max=max(event.natural, before.natural_max if before else 0.0),
                dropped_max=_largest(event.dropped, before.dropped_max if before else None),
            )
    newest_first = sorted(by_id.values(), key=lambda row: (row.until or row.since, row.link), reverse=True)
    return sorted(newest_first, key=lambda row: row.until is not None)


def _largest(*loads: float | None) -> float | None:
    return max((load for load in loads if load is not None), default=None)


def congestion_empty(pops: Iterable[PopCongestion], now_s: float) -> str:
    """Return what an empty table means."""
    return NO_CONGESTION if all(pop.is_known(now_s) for pop in pops) else NOT_KNOWN


def congestion_table(rows: Iterable[Episode], now_s: float, window_s: int) -> Listing:
    """Return a table with one line per congestion; loads are shares of capacity.

    What no decision speaks of any more is open only as of the last one that did.
    """
    figures = ("carried", "dropped", "natural", "natural max", "dropped max")
    table = Listing("link", "since", "until", *figures, right=figures)
    for row in rows:
        shares = (row.carried, row.dropped, row.natural, row.natural_max, row.dropped_max)
        is_past = is_quiet(row.as_of.timestamp() + window_s, now_s, window_s)
        until = _moment(row.until) if row.until else f"open at {_moment(row.as_of)}" if is_past else "open"
        table.add_row(row.link, _moment(row.since), until, *map(percent, shares))
    return table


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def feed_of(row: LinkUtilization, now_s: float) -> str:
    """Return the state of a link and its feed or, if its windows stopped, for how long there was none."""
    end_s = row.window_start.timestamp() + row.window_s
    if is_quiet(end_s, now_s, row.window_s):
        return f"no window for {now_s - end_s:.0f} s"
    return row.feed if row.up else "down"


def links_table(rows: LinkRows, now_s: float) -> Listing:
    """Return a table with one line per link, the fullest first; loads are shares of capacity, None is unknown."""
    figures = ("capacity", "carried", "dropped", "natural", "moved in", "moved out")
    table = Listing("link", "feed", *figures, "window start", right=figures)
    for link, row in sorted(rows.items(), key=lambda item: _fullness(item[1]), reverse=True):
        if row is None:
            table.add_row(link, "no window", *(UNKNOWN for _ in figures), "")
            continue
        loads = row.carried_bps, row.dropped_bps, row.natural_bps
        # Without a capacity there is no share, but the load is known.
        shares = (of_capacity(load, row.capacity_bps) if row.capacity_bps else bits(load) for load in loads)
        moved = bits(row.moved_in_bps), bits(row.moved_out_bps)
        start = f"{row.window_start:%H:%M:%S}"
        table.add_row(row.link, feed_of(row, now_s), bits(row.capacity_bps), *shares, *moved, start)
    return table


def _fullness(row: LinkUtilization | None) -> float:
    """The load by which links are sorted; what is unknown comes last."""
    if row is None:
        return -2.0
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
