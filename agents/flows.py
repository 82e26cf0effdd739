"""The flows agent: sums `sfacctd-flows-<pop>` per link and window; when a window closes, detects and decides.

The watermark comes from the stream itself, so a replay closes the same windows at the same records.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec
from faust.types import TP

from app import metrics
from app.clock import utc
from app.config.inventory import Pop
from app.config.thresholds import WindowSettings
from app.contract import topics
from app.contract.schemas import Notice
from app.feeds.accounting import Accounting
from app.feeds.flow_notices import flow_notices
from app.feeds.placing import Slot, TableOf
from app.feeds.rejected import Rejected
from app.stream.consumer import Record
from app.stream.exact import Reading
from app.stream.fetching import Hole
from app.stream.final_rows import FinalRows
from app.stream.publish import Publisher, Queued
from app.te.traffic.coverage import RecentShares
from app.te.traffic.grid import usual_length
from app.te.traffic.premises import Premises, kept, premises_at
from app.te.traffic.windows import ClosedWindow, ClosingRef, Missing, Progress, Sums
from tables.congestion import (
    Closing,
    CongestionTable,
    CycleRow,
    closing_keys,
    cycle_key,
)
from tables.flow_progress import FlowProgress, premises_key
from tables.link_windows import LinkWindowRow, Stored, key_of, parts_of
from tables.store import Rows

log = logging.getLogger(__name__)


class Decider(Protocol):
    """What the flows agent needs to close windows: detection and decision (agents/decide.py)."""

    def load(
        self,
        closed: Sequence[tuple[int, str, LinkWindowRow]],
        cycle: CycleRow | None,
        epoch: int = 0,
        has_lost: bool = False,
    ) -> None:
        """Resume from the rows of closed windows and the last cycle, or an older one if a table `has_lost` rows.

        Decisions were made with `epoch`, or with that of the cycle if it is higher.
        """

    def close(self, window: ClosedWindow, sums: dict[str, Sums]) -> dict[str, LinkWindowRow]:
        """Decide on a complete window and return its final rows by link."""

    def finish(self, window: ClosedWindow, sums: dict[str, Sums]) -> dict[str, LinkWindowRow]:
        """Return the final rows of a window that was decided on, before its rows were lost."""

    @property
    def cycle(self) -> CycleRow:
        """The state that the next cycle starts from."""


D = TypeVar("D", bound=Decider)


class FlowTables(NamedTuple):
    """The tables of the flows agent; `committed(topic)` returns the position after the last committed record."""

    link_windows: Rows[LinkWindowRow]
    congestion: CongestionTable
    final_rows: FinalRows
    committed: Callable[[str], int]


class Publishers(NamedTuple):
    """Where dead letters are queued, and the records of each PoP's windows."""

    letters: Publisher
    windows: Mapping[str, Publisher]


class FlowsState(Generic[D]):
    """One Accounting and one Decider per PoP, in front of `link_windows` and `congestion`."""

    def __init__(
        self,
        pops: Mapping[str, Pop],
        windows: WindowSettings,
        tables: FlowTables,
        publishers: Publishers,
        new_decider: Callable[[Pop], D],
        new_table_of: Callable[[Pop], TableOf],
    ) -> None:
        self._pops = {topics.FLOWS.for_pop(name): pop for name, pop in pops.items()}
        self.topics = list(self._pops)
        self._windows = windows
        self.tables = [tables.link_windows.table, tables.congestion.table]
        self._rows = tables.link_windows
        self._congestion = tables.congestion
        self._progress = FlowProgress(tables.link_windows, tables.congestion)
        self._final_rows = tables.final_rows
        self._committed = tables.committed
        self._letters, self._publishers = publishers
        self._new_decider = new_decider
        self._new_table_of = new_table_of
        self.reset()

    def reset(self) -> None:
        """Forget all sums and everything queued."""
        self.accounts = {p.name: Accounting(p, self._windows, self._new_table_of(p)) for p in self._pops.values()}
        self.deciders = {pop.name: self._new_decider(pop) for pop in self._pops.values()}
        self._final: dict[str, LinkWindowRow] = {}
        self._stored = Stored()
        self._advanced: set[str] = set()  # PoPs with records since the last flush
        self._recent = {name: RecentShares() for name in self.accounts}
        # As loaded, with a new epoch: written before any decision of that epoch, because clocks of machines differ.
        self._begun: dict[str, CycleRow] = {}
        self._premises: dict[str, Sequence[Premises]] = {}  # that this process has written
        self._closed: set[str] = set()  # PoPs with windows that were closed since the last flush
        self._unsent: dict[str, list[Queued]] = {}  # records of closings that are in the rows
        self._stale: dict[str, list[str]] = {}  # parts of closings that count no longer, once the next one does
        for publisher in (self._letters, *self._publishers.values()):
            publisher.drop()
        self._final_rows.clear()

    def reconfigure(self, pops: Mapping[str, Pop], windows: WindowSettings) -> None:
        """Go on with other inventories of the same PoPs and other windows; the deciders have a method of their own."""
        self._pops, self._windows = {topics.FLOWS.for_pop(name): pop for name, pop in pops.items()}, windows
        for name, account in self.accounts.items():
            account.reconfigure(pops[name], windows)

    def load(self) -> None:
        """Rebuild from the rows: open windows to add to, closed windows for the history of shares."""
        self.reset()
        for pop in self._pops.values():
            self._load(pop)

    def _load(self, pop: Pop) -> None:
        name, account = pop.name, self.accounts[pop.name]
        progress, lost, included, epoch = self._progress.load(name)
        if lost is not None:
            metrics.STATE_ROWS_LOST.labels(lost).inc()
            log.error("%s: the changelog of %s has lost its end; reading goes on from %d", name, lost, progress.applied)
        opened: dict[Slot, LinkWindowRow] = {}
        closed: dict[Slot, LinkWindowRow] = {}
        for key, row in self._rows.items(f"{name}|"):
            _, start_s, link = parts_of(key)
            self._stored.put(key, row.sums.applied)
            # A row may be ahead of the progress row: a window that is open by the progress row is closed again.
            if start_s >= progress.open_from_s:
                opened[start_s, link] = row
            elif row.closed and start_s >= self._keep_from_s(name):
                closed[start_s, link] = row
                self._final_rows.put(key)
            # Other rows were deleted, then written once more by a frozen worker: they will be deleted again.
        if not (premises := self._progress.premises(name)):
            known_s = usual_length([*(start_s for start_s, _ in closed), progress.open_from_s])
            premises = account.premises_of(known_s or self._windows.length_s)
        sums = {slot: row.sums for slot, row in opened.items() if _is_own(slot[1], row, premises)}
        account.resume(progress, sums, premises, included)
        self._final_rows.put(premises_key(name))
        history = [
            (start_s, link, msgspec.structs.replace(row, length_s=row.length_s or account.grid.length_at(start_s)))
            for (start_s, link), row in closed.items()
            if link in pop.links  # another link left the inventory; its rows go when they are too old
        ]
        self.deciders[name].load(history, self._load_closing(name, progress.closing), epoch, lost is not None)
        self._begun[name] = self.deciders[name].cycle

    def _load_closing(self, pop: str, ref: ClosingRef | None) -> CycleRow | None:
        """The cycle after the windows that were closed last, whose records are sent again unless they were sent."""
        cycle = self._congestion.cycles.get(cycle_key(pop))
        current = [] if ref is None else closing_keys(pop, ref)
        self._stale[pop] = [key for key in self._congestion.closings(pop) if key not in current]
        if ref is None:
            return cycle
        if (closing := self._congestion.closing(pop, ref)) is None:
            log.error("%s: its last decision is not in congestion any more; what is there goes on", pop)
            return self._congestion.newest_cycle(pop)
        if not ref.sent:
            self._unsent[pop] = [Queued(*record) for record in closing.records]
        epoch = closing.cycle.epoch if cycle is None else max(cycle.epoch, closing.cycle.epoch)
        return msgspec.structs.replace(closing.cycle, epoch=epoch)

    def apply(self, tp: TP, records: Sequence[Record]) -> None:
        """Add messages of many flow records each, and decide on the windows that they close."""
        pop = self._pops[tp.topic].name
        self._advanced.add(pop)
        times_s, messages = [record.timestamp_s for record in records], [record.value for record in records]
        for index, outcome in self.accounts[pop].ingest(records[0].position, times_s, messages):
            if isinstance(outcome, Rejected):
                self._letters.dead_letter(tp, records[index], outcome)
            else:
                progress = self.accounts[pop].progress
                closed_s = min(records[index].timestamp_s, progress.newest_s)
                has_gap = progress.missing is not None and progress.missing.touches(outcome.start_s, outcome.length_s)
                window = ClosedWindow(pop, outcome.start_s, outcome.length_s, closed_s, has_gap)
                if window.start_s < progress.decided_to_s:
                    rows = self.deciders[pop].finish(window, outcome.sums)
                else:
                    rows = self.deciders[pop].close(window, outcome.sums)
                    self._closed.add(pop)
                self._final |= {key_of(pop, window.start_s, link): row for link, row in rows.items()}
                for link, row in rows.items():
                    if row.rates is not None and row.rates.carried_bps is not None:
                        progress.rates.compare(link, row.rates.carried_bps * window.length_s / 8)

    def skip(self, tp: TP, hole: Hole) -> None:
        """Go on behind offsets without a record; flows of a batch that cannot be read are lost, and said to be."""
        pop = self._pops[tp.topic].name
        self._advanced.add(pop)
        progress = self.accounts[pop].progress
        if hole.position > progress.applied:
            if hole.is_missing:
                missing = hole.next_offset - hole.offset if hole.is_counted else 0
                # Some of them may belong to any window that is open, also to one that ended before the watermark.
                progress.missing = Missing(missing, progress.open_from_s, hole.timestamp_s)
            progress.applied = hole.position
            if hole.rejected is not None:
                progress.dead_letters += hole.rejected.records
                self._letters.dead_letter(tp, hole, hole.rejected)

    def checkpoint(self) -> Mapping[str, int]:
        """Position by topic up to which the rows are complete."""
        return {topic: self.accounts[pop.name].progress.applied for topic, pop in self._pops.items()}

    def heard_s(self, pop: Pop, now_s: float) -> Mapping[str, float]:
        """Kafka's time of the purge that brought the last record of each router, in Unix seconds."""
        return self.accounts[pop.name].progress.heard_s

    def notices(self, pop: Pop, now_s: float) -> list[Notice]:
        """What people should know of this input at Kafka time `now_s`."""
        return flow_notices(pop, self._windows, self.accounts[pop.name].progress)

    def write_premises(self) -> bool:
        """Write by what the records of each PoP are counted, if this process did not yet; whether there was any."""
        new = {
            name: account for name, account in self.accounts.items() if account.premises is not self._premises.get(name)
        }
        for name, account in new.items():
            account.premises = self._premises[name] = kept(account.premises, self._progress.reach[name].applied)
            self._progress.write_premises(name, account.premises)
            self._final_rows.put(premises_key(name))
            for turn in account.grid.turns:
                if turn.from_s > account.progress.open_from_s:
                    log.warning("%s: windows are %d s long from %s on", name, turn.length_s, utc(turn.from_s))
        return bool(new)

    def write_rows(self) -> None:
        """Write open windows that grew and closed ones, the latter once more when they are final; delete the oldest."""
        rows = dict(self._final)
        for pop, account in self.accounts.items():
            for start_s, link in account.touched:
                key = key_of(pop, start_s, link)
                if (sums := account.open.get((start_s, link))) is not None:
                    rows[key] = LinkWindowRow(sums, length_s=account.grid.length_at(start_s))
                elif key not in rows and key in self._stored:
                    self._rows.touch(key)
            account.touched.clear()
        for key, row in rows.items():
            self._rows.put(key, row)
            self._stored.put(key, row.sums.applied)
        for key in self._final:
            self._final_rows.put(key)
        self._final.clear()
        self._expire()
        premises = {premises_key(pop): pop for pop in self.accounts}
        for key in self._final_rows.take():
            if key in premises:
                self._progress.touch_premises(premises[key])
            else:
                self._rows.touch(key)
        for pop, cycle in self._begun.items():
            self._congestion.cycles.put(cycle_key(pop), cycle)
        self._begun.clear()
        for pop in sorted(self._closed):
            self._write_closing(pop, self.accounts[pop].progress)
        self._closed.clear()
        for pop in sorted(self._advanced):
            kept_from_s = self._progress.written[pop].open_from_s - self._windows.retention_s
            self._progress.write_beside(pop, self.accounts[pop].progress, kept_from_s, self.deciders[pop].cycle.epoch)

    def _write_closing(self, pop: str, progress: Progress) -> None:
        """Write what the windows made that were closed since the last flush; the progress row will name it."""
        for key in self._stale.pop(pop, ()):
            self._congestion.delete_part(key)
        if progress.closing is not None:
            self._stale[pop] = closing_keys(pop, progress.closing)
        records = [*self._unsent.get(pop, ()), *self._publishers[pop].take_records()]  # and what an earlier one left
        closing = Closing(self.deciders[pop].cycle, [(each.topic, each.key, each.value) for each in records])
        progress.closing = self._congestion.put_closing(pop, closing)
        self._unsent[pop] = records

    def _expire(self) -> None:
        """Delete old rows, but never one that a replay from the committed offset could create again."""
        for topic, pop in self._pops.items():
            for key in self._stored.take(pop.name, self._keep_from_s(pop.name), self._committed(topic)):
                self._rows.delete(key)
                self._final_rows.drop(key)

    def _keep_from_s(self, pop: str) -> int:
        """Start of the oldest window to keep: from rows, a start may have to close again what was open at `reach`."""
        return self._progress.reach[pop].open_from_s - self._windows.retention_s

    def publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        """Return the queued dead letters, which are the same however often they are sent."""
        return self._letters.take()

    def write_progress(self) -> None:
        """Write the progress of PoPs with records since the last flush."""
        for pop in sorted(self._advanced):
            account = self.accounts[pop]
            self._progress.write_last(pop, account.progress)
            _measure(pop, account.progress, self._recent[pop])
        self._advanced.clear()

    def final_publications(self) -> Sequence[Callable[[], Awaitable[Any]]]:
        """Return the records of the windows that were closed last: they are in the rows now."""
        unsent, self._unsent = self._unsent, {}
        for pop in unsent:
            if (closing := self.accounts[pop].progress.closing) is not None:
                closing.sent = True  # whoever fails to send them ends, and does not write this
        return [self._publishers[pop].sending(record) for pop, records in unsent.items() for record in records]


def _is_own(link: str, row: LinkWindowRow, premises: Sequence[Premises]) -> bool:
    """Whether a row of an open window was made by these premises.

    If its link had left the inventory when its newest record was counted, a frozen worker wrote it late: its successor
    has counted that record by the new inventory.
    """
    knew = [each for each in premises if link in each.inventory.configured_bps]
    return row.closed or not knew or premises_at(premises, row.sums.applied) in knew


def _measure(pop: str, progress: Progress, recent: RecentShares) -> None:
    metrics.WATERMARK.labels(pop).set(progress.watermark_s)
    metrics.FLOW_RECORDS.labels(pop).set(progress.records)
    metrics.COUNTED_BYTES.labels(pop).set(progress.counted_bytes)
    metrics.LATE_BYTES.labels(pop).set(progress.late_bytes)
    for reason, size_bytes in progress.unattributed_bytes.items():
        metrics.UNATTRIBUTED_BYTES.labels(pop, reason).set(size_bytes)
    late, unattributed = recent.take(progress)
    metrics.LATE.labels(pop).set(late)
    metrics.UNATTRIBUTED.labels(pop).set(unattributed)


def reading(state: FlowsState[Any]) -> Reading:
    """What the flows agent reads and keeps."""
    joined = {
        topics.FLOWS.for_pop(name): [topics.BMP.for_pop(name), topics.COUNTERS.for_pop(name)] for name in state.accounts
    }
    return Reading(
        "flows",
        state,
        state.topics,
        state.tables,
        state.checkpoint,
        joined,
        yields=True,
        write_premises=state.write_premises,
    )
