"""The verdict on a row: everything that the worker says, from every side, against the ledger."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from app.contract import topics
from app.errors import DaemonError
from app.simulation.oracle import grid_of
from app.te.traffic.windows import Progress
from tests.faults import evidence
from tests.faults.feed import Feed
from tests.faults.judge import NAMED_MAX, Difference, compare_slots, compare_totals
from tests.faults.ledger import Amounts, Slot
from tests.faults.rig import CELL, WINDOWS, Moment, Rig
from tests.faults.traffic import LONGEST_S

BEGINS = 3  # windows


class Outcome(msgspec.Struct):
    """One line of the table. `seconds_to_correct` is the worst of the row, None where output never became right.

    `bytes_silent` are bytes lost in windows that do not say `gap`. With `may_lose`, others may be lost.
    """

    fault: str
    times: int
    bytes_lost: int
    bytes_silent: int
    bytes_doubled: int
    windows_wrong: int
    seconds_to_correct: float | None
    problems: list[str] = msgspec.field(default_factory=list)
    may_lose: bool = False

    @property
    def ok(self) -> bool:
        lost = self.bytes_silent if self.may_lose else self.bytes_lost
        wrong = lost or self.bytes_doubled or self.windows_wrong or self.problems
        return not wrong and self.seconds_to_correct is not None


async def judge(rig: Rig, fault: str) -> Outcome:
    """Drain, ask, stop, read. The worst source counts, so that one loss is not counted once for each."""
    await rig.drain()
    await rig.all_serve()
    told = {pop: await _told(rig, pop) for pop in rig.feeds}
    active = await rig.active()
    for worker in rig.workers:
        if code := await worker.stop():
            rig.problems.append(f"SIGTERM at the end: exit code {code}")
    history, stored = await evidence.changelog(rig.broker, CELL), evidence.disk(active.data_dir)
    differences: list[Difference] = []
    seconds: list[float | None] = []
    for pop, feed in rig.feeds.items():
        lengths = {slot.start_s: row.length_s for of, slot, row in history if of == pop and row is not None}
        rig.problems += [
            f"windows of {pop}: one ends at {end}, the next begins at {begin}" for end, begin in gaps(lengths)
        ]
        if rig.lengths_s != (seen := set(lengths.values())):
            rig.problems.append(f"{pop}: windows of {sorted(seen)} s, but of {sorted(rig.lengths_s)} s were configured")
        feed.traffic.ledger = feed.traffic.ledger.in_windows(grid_of(lengths))
        published = await evidence.utilization(rig.broker, pop)
        in_gap = in_gaps(published)
        differences += [
            *await _topics(rig, pop, feed, published, in_gap),
            *_rows(feed, pop, history, stored, in_gap, rig.has_whole_changelogs),
            *await _progress(rig, pop, feed, told[pop]),
        ]
        rig.problems += await _contradictions(rig, pop)
        if rig.has_counters:
            rig.problems += _without_counters(published)
        lost_s = {slot.start_s for slot in in_gap} if rig.setup.may_lose else set()
        seconds += [_seconds_to_correct(feed, published, moment, lost_s) for moment in rig.moments]
    may_lose = rig.setup.may_lose
    named = [line for one in differences for line in (one.named if may_lose else one.named + one.said)]
    wrong = {slot for one in differences for slot in (one.wrong if may_lose else one.wrong | one.short)}
    rig.problems += named[:NAMED_MAX]
    if may_lose and not any(one.bytes_lost for one in differences):
        rig.problems.append("nothing was lost, so nothing is proved")
    correct = [one for one in seconds if one is not None]
    return Outcome(
        fault=fault,
        times=len(rig.moments),
        bytes_lost=max(one.bytes_lost for one in differences),
        bytes_silent=max(one.bytes_silent for one in differences),
        bytes_doubled=max(one.bytes_doubled for one in differences),
        windows_wrong=len(wrong),
        seconds_to_correct=round(max(correct), 1) if correct and len(correct) == len(seconds) else None,
        problems=rig.problems,
        may_lose=may_lose,
    )


def in_gaps(published: Sequence[evidence.Published]) -> set[Slot]:
    """The slots that were published as a gap, each time that they were."""
    gaps = {one.slot for one in published if one.record.feed == "gap"}
    return gaps - {one.slot for one in published if one.record.feed != "gap"}


def gaps(lengths: Mapping[int, int]) -> list[tuple[int, int]]:
    """Where windows leave a gap or overlap: (end of a window, start of the next); `lengths` are by start."""
    follow = [(start_s + lengths[start_s], next_s) for start_s, next_s in pairwise(sorted(lengths))]
    return [(end_s, next_s) for end_s, next_s in follow if end_s != next_s]


async def _told(rig: Rig, pop: str) -> Progress:
    try:
        return await rig.progress(pop)
    except DaemonError as error:
        rig.problems.append(str(error))
        return Progress()


async def _topics(
    rig: Rig, pop: str, feed: Feed, published: Sequence[evidence.Published], in_gap: set[Slot]
) -> list[Difference]:
    ledger = feed.traffic.ledger
    prefixes = await evidence.prefix_traffic(rig.broker, pop)
    letters = await evidence.dead_letters(rig.broker, pop)
    if letters != ledger.dead_letters:
        rig.problems.append(f"{letters} dead letters of {pop}, {ledger.dead_letters} bad records were sent")
    return [
        compare_slots("link-utilization", ledger.totals(), [(one.slot, one.amounts) for one in published], in_gap),
        compare_slots("prefix-traffic", ledger.prefixes(), prefixes, in_gap),
    ]


async def _contradictions(rig: Rig, pop: str) -> list[str]:
    """What was published twice with different content; a repeat after a restart is the same record."""
    names = (topics.LINK_UTILIZATION.name, topics.PREFIX_TRAFFIC.name, topics.DECISIONS.for_pop(pop))
    twice = {name: await evidence.contradictions(rig.broker, name) for name in names}
    return [
        f"{name}: {len(ids)} records were published with two contents, such as {min(ids)}"
        for name, ids in twice.items()
        if ids
    ]


def _without_counters(published: Sequence[evidence.Published]) -> list[str]:
    """Every window but the first ones, before which nothing was read, has the readings that are in Kafka."""
    starts_s = sorted({one.slot.start_s for one in published})[BEGINS:]
    bare = [one.slot for one in published if one.slot.start_s in starts_s and not one.record.counters]
    return [f"{len(bare)} records of {len(published)} are without counters, such as {bare[0]}"] if bare else []


def _rows(
    feed: Feed,
    pop: str,
    history: Sequence[evidence.Row],
    stored: Sequence[evidence.Row],
    gaps: set[Slot],
    is_whole: bool,
) -> Iterator[Difference]:
    """The changelog with its whole history, unless it was deleted, and the local disk: old rows may have expired."""
    wanted = feed.traffic.ledger.rows()
    logged = list(evidence.closed(evidence.newest(history), pop))
    on_disk = [(slot, evidence.amounts_of(row)) for of, slot, row in stored if of == pop and row is not None]
    yield compare_slots("changelog", wanted if is_whole else _recent(wanted, logged), logged, gaps)
    yield compare_slots("local disk", _recent(wanted, on_disk), on_disk, gaps)


def _recent(wanted: Mapping[Slot, Amounts], found: Sequence[tuple[Slot, Amounts]]) -> Mapping[Slot, Amounts]:
    """What must be there although old rows expire, and what is there."""
    there = {slot for slot, _ in found}
    newest_s = max((slot.start_s for slot in wanted), default=0)
    oldest_s = newest_s - WINDOWS.retention_s + LONGEST_S
    return {slot: amounts for slot, amounts in wanted.items() if slot in there or slot.start_s > oldest_s}


async def _progress(rig: Rig, pop: str, feed: Feed, told: Progress) -> list[Difference]:
    """What is in no row: late bytes and unattributed ones, and the number of records."""
    wanted, may_lose = feed.traffic.ledger.progress(), rig.setup.may_lose
    logged = await evidence.changelog_progress(rig.broker, CELL, pop) or Progress()
    for source, progress in {"state": told, "changelog": logged}.items():
        missing = feed.traffic.ledger.records - progress.records
        if missing < 0 or (missing and not may_lose):
            rig.problems.append(f"{source}: {progress.records} records of {pop}, sent {feed.traffic.ledger.records}")
    return [
        compare_totals("state", wanted, evidence.progress_amounts(told), may_lose),
        compare_totals("changelog progress", wanted, evidence.progress_amounts(logged), may_lose),
    ]


def _seconds_to_correct(
    feed: Feed, published: Sequence[evidence.Published], moment: Moment, lost_s: set[int]
) -> float | None:
    """From the start of a fault until the window of its end is published right, for all links that had traffic.

    Of windows that begin at `lost_s` bytes are missing: the next one without a loss counts.
    """
    totals = feed.traffic.ledger.totals()
    start_s = feed.traffic.ledger.slot("", moment.ended_s).start_s
    wanted = {slot for slot in totals if slot.start_s >= start_s and slot.start_s not in lost_s}
    if not wanted:
        return None
    first_s = min(slot.start_s for slot in wanted)
    right = {one.slot: one.at_s for one in reversed(published) if totals.get(one.slot) == one.amounts}
    moments = [right.get(slot) for slot in wanted if slot.start_s == first_s]
    known = [at_s for at_s in moments if at_s is not None]
    return max(known) - moment.began_s if len(known) == len(moments) else None
