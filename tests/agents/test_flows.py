"""The flows state in front of its tables: what is written when, what a restart takes up, and what expires."""

from collections.abc import Callable, Sequence
from itertools import count

import msgspec
import pytest
from faust.types import TP

from agents.flows import FlowsState, FlowTables, Publishers
from app.clock import ManualClock
from app.config.inventory import Pop
from app.config.thresholds import WindowSettings
from app.feeds.placing import TableOf
from app.stream.consumer import Record
from app.stream.fetching import Hole
from app.stream.final_rows import FinalRows
from app.te.cycle_state import CycleState
from app.te.traffic.lag import Rates
from app.te.traffic.windows import ClosedWindow, Sums
from tables.congestion import CongestionTable, CycleRow, cycle_key, progress_key
from tables.link_windows import LinkWindowRow, key_of
from tests.agents.outbox import Outbox
from tests.app.feeds.test_accounting import SURGED, T0, flow, purge, table_of
from tests.pops import demo_pop
from tests.tables.memory import memory_rows, memory_table, written

TOPIC = TP("sfacctd-flows-rhv1000", 0)
OPEN_KEY = key_of("rhv1000", T0, SURGED)


class Closings:
    """A decider that decides nothing."""

    def __init__(self, publish: Callable[[ClosedWindow], None]) -> None:
        self.publish = publish
        self.closed: list[int] = []
        self.gaps: list[int] = []
        self.sizes_bytes: dict[str, int] = {}
        self.loaded: list[int] = []
        self.links: set[str] = set()
        self.closed_s = 0.0
        self.rates: Rates | None = None
        self.cycle = CycleRow(1, 0, CycleState())

    def load(
        self,
        closed: Sequence[tuple[int, str, LinkWindowRow]],
        cycle: CycleRow | None,
        epoch: int = 0,
        has_lost: bool = False,
    ) -> None:
        self.loaded = sorted({start_s for start_s, _, _ in closed})
        self.links = {link for _, link, _ in closed}
        self.cycle = cycle or self.cycle

    def close(self, window: ClosedWindow, sums: dict[str, Sums]) -> dict[str, LinkWindowRow]:
        self.closed.append(window.start_s)
        self.gaps += [window.start_s] if window.has_gap else []
        self.sizes_bytes = {link: each.size_bytes for link, each in sums.items()}
        self.closed_s = window.closed_s
        self.cycle = CycleRow(self.cycle.epoch, self.cycle.seq + 1, CycleState())
        self.publish(window)
        return self.finish(window, sums)

    def finish(self, window: ClosedWindow, sums: dict[str, Sums]) -> dict[str, LinkWindowRow]:
        return {link: LinkWindowRow(of_link, self.rates, closed=True) for link, of_link in sums.items()}


class Made(msgspec.Struct, frozen=True):
    """A record of a window, with a number that is never given twice."""

    start_s: int
    number: int


class Rig:
    """A FlowsState over tables in memory; `restart` keeps the tables and forgets the rest."""

    def __init__(self) -> None:
        self.link_windows = memory_rows(LinkWindowRow)
        self.congestion = CongestionTable(memory_table("congestion"))
        self.committed = 0
        self.numbers = count()
        self.clock = ManualClock()
        self.pop = demo_pop()
        self.restart()

    def restart(self) -> None:
        def new_table_of(pop: Pop) -> TableOf:
            return table_of

        self.outbox = Outbox()
        self.state = FlowsState(
            {"rhv1000": self.pop},
            WindowSettings(retention_s=30),
            FlowTables(
                self.link_windows,
                self.congestion,
                FinalRows(20.0, self.clock.monotonic_s),
                lambda topic: self.committed,
            ),
            Publishers(self.outbox.publisher, {"rhv1000": self.outbox.publisher}),
            lambda pop: Closings(self.publish),
            new_table_of,
        )
        self.state.load()

    def publish(self, window: ClosedWindow) -> None:
        """What this process makes of a window, which no other process makes."""
        self.outbox.put("sources", "rhv1000", Made(window.start_s, next(self.numbers)))

    async def sent(self) -> list[Made]:
        """What is sent after a flush."""
        records = [await send() for send in self.state.final_publications()]
        return [msgspec.json.decode(record.value, type=Made) for record in records]

    def feed(self, messages: Sequence[tuple[float, bytes]], first: int = 0) -> None:
        for offset, (kafka_s, message) in enumerate(messages, first):
            self.state.apply(TOPIC, [Record(offset, kafka_s, None, message)])

    def flush(self) -> list[str]:
        self.state.write_rows()
        self.state.write_progress()
        return written(self.link_windows.table) + written(self.congestion.table)

    @property
    def closings(self) -> Closings:
        return self.state.deciders["rhv1000"]


def test_a_window_is_closed_at_the_time_of_its_marker() -> None:
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1)), *purge(T0 + 14), (T0 + 15.0, flow(T0 + 12))])
    assert (rig.closings.closed, rig.closings.closed_s) == ([T0], T0 + 14)


def test_a_window_that_a_clock_far_ahead_closes_is_not_closed_in_the_future() -> None:
    """Else all who were heard by other clocks would seem silent for as long."""
    rig = Rig()
    messages = [each for s in range(0, 20, 2) for each in (*purge(T0 + s, f"a/{s}"), *purge(T0 + 3600 + s, f"b/{s}"))]
    messages += [each for s in range(20, 40, 2) for each in purge(T0 + 3600 + s, f"b/{s}")]
    rig.feed(messages)
    assert rig.closings.closed[-1] == T0 + 10
    assert T0 + 20 < rig.closings.closed_s < T0 + 40


def test_counters_without_traffic_contradict_few_samples_of_a_high_rate() -> None:
    """The records of an idle link stay unbelieved, however many windows they come in."""
    rig = Rig()
    rig.closings.rates = Rates(0.0, 0.0, 0.0, 100e9, True)
    usual = b"\n".join(flow(T0 + 1, ip_dst=f"203.0.113.{n}", iface_out=102) for n in range(40))
    for second in range(0, 200, 2):
        rare = flow(T0 + second, rate=10**6)
        now = [(T0 + second + 1.0, usual.replace(str(T0 + 1).encode(), str(T0 + second).encode()))]
        rig.feed([*now, (T0 + second + 1.0, rare), *purge(T0 + second + 2, f"w/{second}")], first=2 * second)
    progress = rig.state.accounts["rhv1000"].progress
    assert progress.rates.most(SURGED, "r1") < 10**4
    assert progress.unattributed_bytes["unusual-sampling-rate"] > 80 * 100 * 10**6


def test_the_progress_row_is_written_last() -> None:
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1))])
    begun = cycle_key("rhv1000")  # before anything is decided in its epoch
    beside = "|progress|rhv1000"  # the last one in its table
    assert rig.flush() == [OPEN_KEY, beside, begun, progress_key("rhv1000")]
    rig.feed([(T0 + 2.0, flow(T0 + 1))], first=1)
    assert rig.flush() == [OPEN_KEY, beside, progress_key("rhv1000")]


@pytest.mark.parametrize("restarts", [False, True])
def test_premises_are_written_again_once_no_frozen_worker_can_write_its_own(restarts: bool) -> None:
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1))])
    rig.state.write_premises()
    rig.flush()
    if restarts:
        rig.restart()
    rig.clock.advance(21.0)
    assert rig.flush().count("|premises|rhv1000") == 2, "in both tables"
    assert "|premises|rhv1000" not in rig.flush(), "once"


def test_a_restart_goes_on_where_the_rows_end() -> None:
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1)), *purge(T0 + 14), (T0 + 15.0, flow(T0 + 12))])
    rig.flush()
    rig.restart()
    assert rig.closings.loaded == [T0]
    assert rig.closings.cycle.seq == 1
    rig.feed([(T0 + 16.0, flow(T0 + 13))], first=4)
    rig.flush()
    row = rig.link_windows.get(key_of("rhv1000", T0 + 10, SURGED))
    assert row is not None
    assert row.sums.size_bytes == 200_000


def test_a_replay_writes_its_rows_again_and_adds_nothing() -> None:
    """The local disk may be ahead of the changelog: what is skipped must still be sent."""
    rig = Rig()
    messages = [(T0 + 2.0, flow(T0 + 1)), *purge(T0 + 14), (T0 + 15.0, flow(T0 + 12))]
    rig.feed(messages)
    rig.flush()
    before = dict(rig.link_windows.items("rhv1000|"))
    rig.restart()
    rig.feed(messages)
    keys = rig.flush()
    assert OPEN_KEY in keys
    assert key_of("rhv1000", T0 + 10, SURGED) in keys
    assert dict(rig.link_windows.items("rhv1000|")) == before
    assert rig.closings.closed == []


def test_a_crash_between_rows_and_progress_doubles_nothing() -> None:
    rig = Rig()
    messages = [(T0 + 2.0, flow(T0 + 1)), (T0 + 3.0, flow(T0 + 2))]
    rig.feed(messages)
    rig.state.write_rows()  # and then the process is gone
    rig.restart()
    rig.feed([*messages, *purge(T0 + 14)])
    rig.flush()
    progress = rig.congestion.progress.get(progress_key("rhv1000"))
    assert progress is not None
    assert (progress.counted_bytes, progress.records) == (200_000, 2)


def test_a_crash_between_the_rows_of_a_close_and_progress_loses_nothing() -> None:
    rig = Rig()
    messages = [(T0 + 2.0, flow(T0 + 1)), (T0 + 3.0, flow(T0 + 2))]
    rig.feed(messages)
    rig.flush()
    closing = [*purge(T0 + 14), (T0 + 15.0, flow(T0 + 12))]
    rig.feed(closing, first=2)
    rig.state.write_rows()  # the row says closed, the progress row does not know, and the process is gone
    rig.restart()
    assert rig.closings.loaded == []
    rig.feed([*messages, *closing])
    rig.flush()
    row, progress = rig.link_windows.get(OPEN_KEY), rig.congestion.progress.get(progress_key("rhv1000"))
    assert row is not None
    assert progress is not None
    assert (row.sums.size_bytes, row.closed, progress.counted_bytes) == (200_000, True, 200_000)
    assert rig.closings.closed == [T0]


def test_old_rows_go_only_when_the_commit_has_passed_them() -> None:
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1)), *purge(T0 + 14), *purge(T0 + 64)])
    rig.flush()
    assert rig.link_windows.get(OPEN_KEY) is not None
    rig.committed = 9
    rig.feed(purge(T0 + 74), first=5)
    rig.flush()
    assert rig.link_windows.get(OPEN_KEY) is not None, "a start may go back by one flush"
    rig.feed(purge(T0 + 84), first=7)
    rig.flush()
    assert rig.link_windows.get(OPEN_KEY) is None


def test_a_final_row_is_written_once_more_when_a_frozen_worker_must_have_ended() -> None:
    """Such a worker may have written its older row over it; a restart, which may be a takeover, begins anew."""
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1)), *purge(T0 + 14)])
    rig.flush()
    rig.clock.advance(19.9)
    assert OPEN_KEY not in rig.flush()
    rig.restart()
    rig.clock.advance(19.9)
    assert OPEN_KEY not in rig.flush()
    rig.clock.advance(0.2)
    assert OPEN_KEY in rig.flush()
    rig.clock.advance(100.0)
    assert OPEN_KEY not in rig.flush()


@pytest.mark.parametrize("committed", [0, 2])
def test_a_window_that_is_closed_and_past_the_retention_in_one_flush_can_be_closed_again(committed: int) -> None:
    """The process is gone before the progress row, whether the records of the window are committed or not."""
    rig = Rig()
    rig.committed = committed
    first = [(T0 + 2.0, flow(T0 + 1))]
    rest = [(T0 + 3.0, flow(T0 + 2)), *purge(T0 + 14), *purge(T0 + 64), *purge(T0 + 74)]
    rig.feed(first)
    rig.flush()
    rig.feed(rest, first=1)
    rig.state.write_rows()
    rig.restart()
    rig.feed([*first, *rest])
    rig.flush()
    progress = rig.congestion.progress.get(progress_key("rhv1000"))
    assert progress is not None
    assert progress.counted_bytes == 200_000
    assert rig.closings.closed[0] == T0


def test_a_row_that_came_back_after_it_was_deleted_goes_again() -> None:
    """A frozen worker wrote it once more, open, after its successor had deleted it."""
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1))])
    rig.flush()
    old = rig.link_windows.get(OPEN_KEY)
    assert old is not None
    rig.feed([*purge(T0 + 14), *purge(T0 + 74)], first=1)
    rig.committed = 10
    rig.flush()
    for first in (5, 7):
        rig.feed(purge(T0 + 74 + 2 * first), first)
        rig.flush()
    assert rig.link_windows.get(OPEN_KEY) is None
    rig.link_windows.put(OPEN_KEY, old)
    rig.restart()
    assert not rig.state.accounts["rhv1000"].open
    assert OPEN_KEY in rig.flush(), "its tombstone"
    assert rig.link_windows.get(OPEN_KEY) is None


def test_who_was_heard_and_what_is_wrong_outlive_a_restart() -> None:
    rig, pop = Rig(), demo_pop()
    strays = [(T0 + 2.0, flow(T0 + 1)), (T0 + 2.0, flow(T0 + 1, peer_ip_src="192.0.2.2", iface_in=77))]
    rig.feed([*strays, *purge(T0 + 14)])
    rig.flush()
    for _ in range(2):
        assert rig.state.heard_s(pop, T0 + 14) == {"r1": T0 + 14, "r2": T0 + 14}
        (notice,) = rig.state.notices(pop, T0 + 14)
        assert (notice.kind, notice.where) == ("unknown-ingress", "r2")
        assert notice.text.startswith("50.00% of the bytes enter r2 (192.0.2.2) by ifIndex 77")
        rig.restart()


@pytest.mark.parametrize(("is_counted", "count"), [(True, "47 messages"), (False, "nobody knows how many messages")])
def test_what_kafka_lost_unread_shows_in_the_windows_of_that_time_and_to_people(is_counted: bool, count: str) -> None:
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1)), *purge(T0 + 14)])
    rig.flush()
    rig.restart()
    rig.state.skip(TOPIC, Hole(3, 50, T0 + 32.0, is_missing=True, is_counted=is_counted))
    rig.feed([*purge(T0 + 34, "w/1"), (T0 + 36.0, flow(T0 + 35)), *purge(T0 + 54, "w/2")], first=50)
    assert rig.closings.closed == [T0 + 10, T0 + 20, T0 + 30, T0 + 40]
    assert rig.closings.gaps == [T0 + 10, T0 + 20, T0 + 30]
    [notice] = [each for each in rig.state.notices(rig.pop, T0 + 54) if each.kind == "missing-records"]
    assert notice.text.startswith(f"{count} from between 2026-11-21T07:28:30+00:00 and 2026-11-21T07:28:52+00:00")


def test_revoking_forgets_what_was_not_flushed() -> None:
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1) + b"\nnonsense")])
    assert len(rig.outbox.letters) == 1
    rig.state.reset()
    assert rig.outbox.letters == []
    rig.state.write_rows()
    assert written(rig.link_windows.table) == []


def test_a_link_that_left_the_inventory_does_not_keep_telemetry_from_starting() -> None:
    """Its rows are there until they are too old; the window that is open is closed with what it had of the link."""
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1)), *purge(T0 + 14), (T0 + 15.0, flow(T0 + 12))])
    rig.flush()
    rig.restart()
    assert SURGED in rig.closings.links
    rig.pop = without(rig.pop, SURGED)
    rig.restart()
    assert rig.closings.loaded == [T0]
    assert SURGED not in rig.closings.links
    rig.feed(purge(T0 + 24), first=4)
    assert rig.closings.closed == [T0 + 10]
    assert rig.closings.sizes_bytes[SURGED] == 100_000
    assert rig.state.accounts["rhv1000"].progress.counted_bytes == 200_000
    rig.committed = 6
    rig.flush()
    for start_s in (T0 + 20, T0 + 30, T0 + 40, T0 + 50, T0 + 60):
        rig.feed(purge(start_s + 14), first=rig.committed)
        rig.committed += 2
        rig.flush()
    assert [key for key, _ in rig.link_windows.items("rhv1000|") if SURGED in key] == []


def test_an_inventory_that_changes_meanwhile_counts_from_the_next_record_on() -> None:
    rig = Rig()
    rig.feed([(T0 + 4, flow(T0 + 3))])
    [account] = rig.state.accounts.values()
    assert {link for _, link in account.open} == {SURGED}
    rig.state.reconfigure({"rhv1000": without(rig.pop, SURGED)}, WindowSettings())
    assert account.open[T0, SURGED].size_bytes == 100_000
    before = account.progress.unattributed_bytes.get("unknown-interface", 0)
    rig.feed([(T0 + 5, flow(T0 + 3))], first=1)
    assert account.progress.unattributed_bytes["unknown-interface"] > before
    rig.feed(purge(T0 + 14), first=2)
    assert rig.closings.sizes_bytes[SURGED] == 100_000
    assert account.open == {}
    rig.state.write_rows()


def without(pop: Pop, link: str) -> Pop:
    return msgspec.structs.replace(pop, link=tuple(each for each in pop.link if pop.link_id(each) != link))
