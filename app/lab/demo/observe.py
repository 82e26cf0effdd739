"""Gathers the evidence of a run from outside: our topics as any consumer reads them, a worker's read-only state."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from math import inf
from typing import TypeVar

import msgspec
import numpy as np

from app.config.inventory import Pop
from app.config.settings import Kafka
from app.config.thresholds import WindowSettings
from app.contract import topics
from app.contract.decoding import Read, reader_of
from app.contract.schemas import Actuation, DeadLetter, Decision, LinkUtilization, Override, Sources
from app.feeds import counters
from app.feeds.counters import InterfaceCounters
from app.feeds.flows import Marker, decode
from app.kafka.read import read_topic
from app.kafka.unreadable import decoded
from app.lab.daemons.ports import udp_drops
from app.lab.demo import edges
from app.lab.demo.context import RunContext
from app.lab.demo.evidence import ByteAccount, Evidence, Kill, LinkTruth, Planted, Surge
from app.lab.demo.story import Story
from app.lab.pop.exits import Floats
from app.lab.pop.pop import SimPop
from app.lab.pop.run import Simulation
from app.lab.pop.truth import Loads
from app.te.traffic.windows import Progress

S = TypeVar("S", bound=msgspec.Struct)
FIRST_READING_S = 2.0  # from the begin of a run, in which counters are read once a second
_read: Read[Decision] = reader_of(Decision)


async def observe(context: RunContext, story: Story, ready_s: float, traffic_s: float, drained: bool) -> Evidence:
    """Gather all evidence; DaemonError if a worker or a daemon does not answer.

    `ready_s` is how many seconds it took until traffic began, `traffic_s` the Unix time at which it began.
    """
    stack, sim, sim_pop, pop = context.stack, context.sim, context.sim_pop, context.stack.pop
    windows, thresholds = stack.deployment.settings.windows, stack.deployment.settings.thresholds
    link = next(index for index, name in enumerate(pop.links) if name.endswith(context.scenario.link))
    kill = story.kills[0] if story.kills else None
    summary, after = sim.summary(), await edges.show(stack)
    heard = [line for peer in sim_pop.announcements for line in stack.received(peer)]
    leaked = tuple(line for line in heard if line.split()[0] not in pop.own_prefixes)
    return Evidence(
        seconds_to_ready=ready_s,
        drained=drained,
        surged_link=list(pop.links)[link],
        summary=summary,
        progress=await context.state.get("progress", ByteAccount),
        dead_letters=unusable(await published(stack.kafka, topics.DEAD_LETTERS.name, DeadLetter)),
        udp_drops=udp_drops(stack.sflow[1]),
        decisions=await published(stack.kafka, topics.DECISIONS.for_pop(pop.name), Decision),
        close_to_decision_s=await close_to_decision(stack.kafka, pop.name, windows, traffic_s),
        utilization=await published(stack.kafka, topics.LINK_UTILIZATION.name, LinkUtilization),
        truth=tuple(link_truth(sim, link, traffic_s, windows)),
        actuations=await published(stack.kafka, topics.ACTUATIONS.name, Actuation),
        surge=surge(sim, sim_pop, link, traffic_s, thresholds.enter, kill),
        kill=kill,
        marked_during={shown.router: len(shown.lines) for shown in story.during},
        marked_copies={shown.router: shown.copies(sim_pop.announcements) for shown in story.during},
        marked_after={shown.router: len(shown.lines) for shown in after},
        announcements_leaked=leaked,
        overrides_leaked=sum(pop.marker_community in line.split() for line in leaked),
        announcements_received=len(heard),
        restarts=sum(stack.runner.restarts.values()),
        crashes=stack.runner.crashes,
        verdict=context.scenario.verdict,
        congested_by_us=tuple(
            congested_by_us(sim.truth, sim_pop.link_ids, sim_pop.capacity_bps, windows.length_s, thresholds.enter)
        ),
        planted=tuple(story.planted),
        loop_after_removal_s=loop_after_removal_s(story.planted, summary.last_loop_s, traffic_s),
        injected=story.injected,
        counters_late_s=await counters_late_s(stack.kafka, pop, link, traffic_s + sim.truth_ends_s),
        noticed=frozenset(
            notice.kind
            for sources in await published(stack.kafka, topics.SOURCES.name, Sources)
            for notice in sources.notices
        ),
    )


def unusable(letters: Sequence[DeadLetter]) -> int:
    """For how many records there are dead letters; a repeat after a restart is the same letter."""
    records = {(letter.topic, letter.partition, letter.offset, letter.index): letter.records for letter in letters}
    return sum(records.values())


async def published(kafka: Kafka, topic: str, kind: type[S]) -> tuple[S, ...]:
    """All records of one of our topics, each id only once: a restart may repeat a record."""
    read: Read[S] = reader_of(kind)
    records = [record for _, record in decoded(await read_topic(kafka, topic), read)]
    unique = {getattr(record, "id", index): record for index, record in enumerate(records)}
    return tuple(unique.values())


async def overrides_now(kafka: Kafka, pop: str) -> tuple[Override, ...]:
    """The overrides in the newest decision of this PoP; none if there is no decision."""
    newest = [
        decision for _, decision in decoded(await read_topic(kafka, topics.DECISIONS.for_pop(pop), last=1), _read)
    ]
    return newest[-1].overrides if newest else ()


async def close_to_decision(kafka: Kafka, pop: str, windows: WindowSettings, since_s: float) -> tuple[float, ...]:
    """Seconds from the marker that closes a window to the decision on it, both by Kafka's timestamps.

    Windows that ended before `since_s` are left out: the worker may not have been running yet.
    """
    progress = Progress()
    closes: list[tuple[float, float]] = []  # (watermark, Kafka time of the marker that brought it)
    for record in await read_topic(kafka, topics.FLOWS.for_pop(pop)):
        for line in decode(record.value):
            if isinstance(line, Marker):
                at_s = record.timestamp / 1000
                progress.mark(line.kind, line.writer, at_s, windows.refresh_s)
                closes.append((progress.watermark_s, at_s))
    watermarks = [watermark_s for watermark_s, _ in closes]
    return tuple(
        decided_s - closes[index][1]
        for decided_s, end_s in await _decided(kafka, pop, windows.length_s)
        if end_s >= since_s and (index := bisect_left(watermarks, end_s + windows.grace_s)) < len(closes)
    )


async def _decided(kafka: Kafka, pop: str, length_s: int) -> list[tuple[float, float]]:
    """(Kafka time, end of its window) of every decision."""
    decisions = decoded(await read_topic(kafka, topics.DECISIONS.for_pop(pop)), _read)
    return [(record.timestamp / 1000, decision.window_start.timestamp() + length_s) for record, decision in decisions]


async def counters_late_s(kafka: Kafka, pop: Pop, link: int, reported_s: Floats) -> float:
    """How long after the simulator reported it sfacctd dated a reading of a link at most, in seconds.

    `reported_s` is when the simulator had reported each second, in Unix seconds. It reads counters once a second, and
    numbers the readings. Forged ones may have the same numbers.
    """
    port, dated_s = pop.link[link], dict[int, float]()
    agent = pop.routers[port.router].agent_address
    for record in await read_topic(kafka, topics.COUNTERS.for_pop(pop.name)):
        reading = counters.decode(record.value)
        if isinstance(reading, InterfaceCounters) and (reading.exporter, reading.ifindex) == (agent, port.ifindexes[0]):
            dated_s[reading.sequence] = min(reading.at_s, dated_s.get(reading.sequence, inf))
    known = enumerate(reported_s.tolist(), start=1)
    return max((dated_s[number] - at_s for number, at_s in known if number in dated_s), default=0.0)


def link_truth(sim: Simulation, link: int, began_s: float, windows: WindowSettings) -> Iterator[LinkTruth]:
    """The simulator's truth about one link, for every window that lies wholly within the run.

    Counters have to be read before the window, too: without that its load is estimated from samples.
    """
    loads, times_s = sim.truth, np.array([0.0, *sim.truth_ends_s])
    length_s = windows.length_s
    first = int(-(-(began_s + FIRST_READING_S) // length_s) * length_s)
    for start_s in range(first, int(began_s + len(loads.carried)) - length_s + 1, length_s):
        span_s = start_s - began_s, start_s - began_s + length_s
        columns = (load[:, link] for load in (loads.carried, loads.natural_sent, loads.natural))
        yield LinkTruth(start_s, *(mean_bps(column, times_s, *span_s) for column in columns))


def mean_bps(rows_bytes: Floats, times_s: Floats, from_s: float, until_s: float) -> float:
    """Mean rate in bits per second over a span that may begin or end within a row; `times_s` are the rows' borders."""
    total = np.concatenate([[0.0], np.cumsum(rows_bytes)])
    edges = np.interp([from_s, until_s], times_s, total)
    return float(8 * (edges[1] - edges[0]) / (until_s - from_s))


def surge(sim: Simulation, sim_pop: SimPop, link: int, began_s: float, mark: float, kill: Kill | None) -> Surge:
    """What the surge did to its link. The truth has one row per second; `mark` is the congestion threshold."""
    natural = sim.truth.natural[:, link] * 8 / sim_pop.capacity_bps[link]
    over_s = next((second for second, share in enumerate(natural) if share >= mark), None)
    drops_s = sim.truth.dropped.sum(axis=1).nonzero()[0]
    killed_s = None if kill is None else kill.at_s - began_s
    return Surge(
        peak_natural=float(natural.max()),
        over_mark_s=None if over_s is None else float(over_s),
        first_override_s=sim.summary().first_override_s,
        drops_after_kill_s=None if killed_s is None else max(0.0, float(drops_s.max(initial=-1)) + 1 - killed_s),
    )


def loop_after_removal_s(planted: Sequence[Planted], last_loop_s: float | None, began_s: float) -> float | None:
    """How many seconds a loop lasted after the route that made it was gone; None if no such route was planted."""
    gone_s = max((route.gone_s - began_s for route in planted if route.kind == "loop"), default=None)
    return None if gone_s is None else max(0.0, (last_loop_s or 0.0) - gone_s)


def congested_by_us(
    loads: Loads, links: Sequence[str], capacity_bps: Floats, length_s: int, mark: float
) -> Iterator[str]:
    """Links that in some window were offered more than `mark` of capacity although plain BGP would not exceed it.

    `loads` has one row per second; windows of `length_s` begin at the first row.
    """
    whole = len(loads.offered) // length_s * length_s

    def shares(bytes_: Floats) -> Floats:
        windows = bytes_[:whole].reshape(-1, length_s, len(links)).mean(axis=1)
        return np.asarray(windows * 8 / capacity_bps)

    over = (shares(loads.offered) > mark) & (shares(loads.natural) <= mark)
    yield from (link for index, link in enumerate(links) if over[:, index].any())
