"""The rows of a Rib: what a restart finds, from the disk or from the changelog, wherever the process ended."""

from copy import copy
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.errors import RowFormatError
from app.feeds.bmp_memory import Sessions
from app.feeds.rib_feed import RibFeed
from app.feeds.stale_paths import FIRST_WITHIN_S
from app.te.routing.rib import BUCKETS, Rib, bucket_of
from tables.rib import KeptRib, Pace, RibTable, progress_key
from tables.store import ROW_BYTES_MAX, Rows, goes_back
from tests.app.feeds.test_bmp import captured
from tests.app.te.world import path
from tests.cases.bmp import Bmp, init, peer_up
from tests.cases.bmp import update as update_of
from tests.pops import demo_pop
from tests.tables.memory import memory_table, written

OF_ONE_BUCKET = [one for one in (f"2001:db8:{at:x}::/48" for at in range(1 << 16)) if bucket_of(one) == 7]
PREFIXES = [*(f"203.0.{third}.0/24" for third in range(6)), *OF_ONE_BUCKET[:6]]
PEERS = ["127.0.0.31", "127.0.0.32"]
# Most flushes write a row or two of those that changed, and a row that has more than a few paths is split.
PACE = Pace(records=8, bytes_min=1, idle_bytes_min=1, row_bytes_max=150)
State = dict[tuple[str, str, str], int]  # (router, prefix, peer) -> the AS behind the peer


class Message(NamedTuple):
    """A message in a BMP session of r1; a session that has not begun waits for its `init`."""

    kind: str
    prefix: str = ""
    asn: int = 0
    peer: str = PEERS[0]
    session: int = 1


class Death(NamedTuple):
    """After so many writes of a flush on the disk, and so many of these in the changelog; the next starts elsewhere."""

    local: int
    answered: int
    machine: int
    loses_disk: bool


DEATHS = st.builds(Death, st.integers(0, 5), st.integers(0, 5), st.integers(0, 1), st.booleans())
Flush = tuple[int, Death | None]  # after so many messages
Step = tuple[Message, bool]  # a BMP message, and whether its time is after all before it must be refreshed
UP: list[Step] = [(Message("init"), False), (Message("peer_up"), False)]
PEER, SESSION = st.sampled_from(PEERS), st.sampled_from([1, 1, 2, 3])
SESSION_EVENTS = ["init", "init", "peer_up", "peer_down", "log_close"]
STEPS = st.lists(
    st.tuples(
        st.one_of(
            st.builds(Message, st.just("update"), st.sampled_from(PREFIXES), st.integers(1, 3), PEER, SESSION),
            st.builds(Message, st.just("withdraw"), st.sampled_from(PREFIXES), st.just(0), PEER, SESSION),
            st.builds(Message, st.sampled_from(SESSION_EVENTS), st.just(""), st.just(0), PEER, SESSION),
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
).map(lambda steps: [*UP, *steps])


class Died(Exception):
    """In the middle of a flush."""


Log = list[tuple[bytes, bytes]]  # a changelog


class Disk(dict[bytes, bytes]):
    """Of one machine, and how much of the changelog it has seen."""

    seen = 0

    def catch_up(self, log: Log) -> "Disk":
        """As a recovery does it."""
        for key, row in log[self.seen :]:
            if not goes_back(self.get(key), row):
                self[key] = row
        self.seen = len(log)
        return self


class Worker:
    """A feed and its rows, on a disk and in a changelog."""

    def __init__(self, disk: Disk, log: Log, pace: Pace = PACE) -> None:
        self.disk, self.log = disk.catch_up(log), log
        self.raw = memory_table("rib")
        for key, row in disk.items():
            self.raw.put(key, row)
        written(self.raw)
        table = RibTable(self.raw)
        self.feed = RibFeed(demo_pop(), Rib(), table.progress.get(progress_key("rhv1000")))
        self.kept = KeptRib(self.feed, table, pace)
        self.kept.load()
        self.next = self.feed.sessions.applied + 1

    def apply(self, step: Step, at_s: float = 0.0) -> None:
        message, _ = step
        changes: dict[str, object] = {"peer_ip": message.peer, "bmp_router_port": 50_000 + message.session}
        changes["seq"] = self.next
        if message.prefix:
            changes |= {"ip_prefix": message.prefix, "as_path": f"64601 {message.asn}"}
        if message.kind == "log_close":
            record = captured("gobgpd_log_init", **changes, event_type="log_close")
        else:
            record = captured(f"gobgpd_{message.kind}", **changes)
        self.feed.sessions.applied = self.next
        for _, prefixes in [*self.feed.apply(record, at_s), *self.feed.expire(at_s)]:
            for one in prefixes:
                self.kept.touch(one, self.next)
        self.next += 1

    def flush(self, local: int | None = None, answered: int = 0) -> None:
        """All of it, or the first `local` writes on the disk and `answered` of these in the changelog."""
        self.kept.write()
        rows = self._written()
        self._take(rows[:local], rows if local is None else rows[: min(local, answered)])
        if local is not None and (local <= len(rows) or answered < len(rows)):
            raise Died
        self.kept.write_progress()
        last = self._written()
        self._take(last, last if local is None else [])
        if local is not None:
            raise Died

    def _written(self) -> Log:
        return [(key.encode(), self.raw[key.encode()]) for key in written(self.raw)]

    def _take(self, local: Log, answered: Log) -> None:
        self.disk.update(local)
        self.log.extend(answered)

    @property
    def state(self) -> tuple[State, set[str], set[tuple[str, str, str]], dict[str, tuple[bool, bool]]]:
        """Paths, peers, what is stale, and which sessions are whole and which have ended."""
        prefixes = {prefix: self.feed.rib.path_set(prefix) for prefix in PREFIXES}
        paths = {(name, prefix, one.peer): one.as_path[-1] for prefix, held in prefixes.items() for name, one in held}
        unrefreshed = self.feed.stale(prefixes)
        stale = {
            (session, prefix, prefixes[prefix][place][1].peer)
            for session, marked in unrefreshed.items()
            for prefix, places in marked
            for place in places
        }
        sessions = {key: (each.whole, each.ended) for key, each in self.feed.sessions.sessions.items()}
        return paths, set(self.feed.rib.peers("r1")), stale, sessions


# The row of the prefix is ahead of the session that begins before its path comes: that path is not one of before.
BEGINS_BEFORE_A_ROW: list[Step] = [
    *UP,
    (Message("withdraw", PREFIXES[0], session=2), False),  # waits, so that the progress stays behind
    (Message("update", PREFIXES[0], 1, PEERS[1]), False),
    (Message("withdraw", PREFIXES[0], peer=PEERS[1]), False),
    (Message("init", session=3), False),
    (Message("update", PREFIXES[0], 1), False),
]


@settings(max_examples=40)
@example(BEGINS_BEFORE_A_ROW, [(1, None)])
@example([*BEGINS_BEFORE_A_ROW, (Message("withdraw", PREFIXES[1], peer=PEERS[1]), False)], [(1, None), (6, None)])
@given(STEPS, st.lists(st.tuples(st.integers(1, 6), st.none() | DEATHS), min_size=1, max_size=12))
def test_wherever_a_worker_dies_its_successor_comes_to_the_same(steps: list[Step], flushes: list[Flush]) -> None:
    """On the same machine, on the other one, which may have been away for long, or on one without any rows."""
    times = [sum(later for _, later in steps[: at + 1]) * (FIRST_WITHIN_S + 1) for at in range(len(steps))]
    steady = Worker(Disk(), [])
    for step, at_s in zip(steps, times, strict=True):
        steady.apply(step, at_s)

    machines, log = [Disk(), Disk()], Log()
    worker = Worker(machines[0], log)
    for size, death in flushes:
        for at in range(worker.next, min(worker.next + size, len(steps))):
            worker.apply(steps[at], times[at])
        if death is None:
            worker.flush()
            continue
        with pytest.raises(Died):
            worker.flush(death.local, death.answered)
        if death.loses_disk:
            machines[death.machine] = Disk()
        worker = Worker(machines[death.machine], log)

    def caught_up(disk: Disk, log: Log) -> Worker:
        started = Worker(disk, log)
        for at in range(started.next, len(steps)):
            started.apply(steps[at], times[at])
        return started

    for disk in (worker.disk, *machines, Disk()):
        whole = list(log)
        successor = caught_up(copy(disk), whole)
        assert successor.state == steady.state
        is_waiting = successor.feed.tracker.is_waiting  # what waits is in no row, and is read again
        while successor.kept._behind or not (is_waiting or successor.kept.checkpoint == len(steps) - 1):
            successor.flush()
        assert is_waiting or Worker(successor.disk, whole).state == steady.state
        assert caught_up(successor.disk, whole).state == steady.state
        assert caught_up(Disk(), whole).state == steady.state


def test_a_row_that_only_the_disk_that_comes_back_has_is_written() -> None:
    """Flushes of two machines would have the same numbers: that of the row seemed to be answered."""
    ours, theirs, log = Disk(), Disk(), Log()
    steps: list[Step] = [*UP, (Message("update", PREFIXES[0], 1), False)]
    worker = Worker(ours, log)
    worker.flush()
    for step in steps:
        worker.apply(step)
    with pytest.raises(Died):
        worker.flush(local=1, answered=0)
    worker = Worker(theirs, log)
    for step in steps[:2]:
        worker.flush()
        worker.apply(step)
    worker.flush()
    worker = Worker(ours, log)
    for step in steps[worker.next :]:
        worker.apply(step)
    while worker.kept.checkpoint < 2:
        worker.flush()
    assert Worker(Disk(), log).state == worker.state


def flushed(worker: Worker) -> list[str]:
    worker.kept.write()
    worker.kept.write_progress()
    return written(worker.raw)


def up(pace: Pace = PACE) -> Worker:
    """A router with a peer, without any path."""
    worker = Worker(Disk(), [], pace)
    assert flushed(worker) == ["rhv1000|progress"], "before the first row, its number"
    for step in UP:
        worker.apply(step)
    return worker


def filled(records: int) -> Worker:
    """50 rows have changed in 50 records, and all that change in so many records are to be written."""
    worker = up(Pace(records=records, bytes_min=1, idle_bytes_min=1))
    flushed(worker)
    for third in range(50):
        update(worker, third)
    return worker


def update(worker: Worker, third: int, asn: int = 1) -> None:
    worker.apply((Message("update", f"20.0.{third}.0/24", asn), False))


def test_a_flush_writes_little_and_the_progress_stays_behind_until_all_is_written() -> None:
    worker = filled(records=1000)
    assert len(flushed(worker)) == 3 + 1, "50 rows, 50 records of 1000"
    assert worker.kept.checkpoint == 1
    for _ in range(46):
        assert len(flushed(worker)) == 1 + 1, "nothing came: as many bytes as there must be"
        assert worker.kept.checkpoint == 1
    flushed(worker)
    assert worker.kept.checkpoint == 51
    assert flushed(worker) == []


def test_where_nothing_comes_the_rest_is_written_soon() -> None:
    worker = filled(records=1000)
    worker.kept.pace = Pace(records=1000, bytes_min=1)
    assert len(flushed(worker)) == 3 + 1
    assert len(flushed(worker)) == 47 + 1


def test_the_more_came_the_more_is_written() -> None:
    assert len(flushed(filled(records=100))) == 25 + 1
    assert len(flushed(filled(records=50))) == 50 + 1


def test_the_longest_unwritten_goes_first() -> None:
    worker = filled(records=50)
    flushed(worker)
    worker.kept.pace = Pace(records=100, bytes_min=1)
    update(worker, 1, 2)
    update(worker, 2, 2)
    first = flushed(worker)
    assert worker.kept.checkpoint == 51
    update(worker, 1, 3)
    assert flushed(worker)[0] != first[0]
    assert worker.kept.checkpoint == 53, "of these records one row waits, for the one that came later"


def test_a_bucket_that_is_empty_says_so() -> None:
    worker = up()
    worker.apply((Message("update", PREFIXES[0], 1), False))
    worker.flush()
    worker.apply((Message("withdraw", PREFIXES[0]), False))
    worker.flush()
    assert len(worker.disk) == 2
    assert Worker(worker.disk, []).state[0] == {}


def test_a_row_that_becomes_too_large_is_split_and_read_again() -> None:
    """Neighbours choose which prefixes there are and how large their paths are: all that they send has a row."""
    worker = up()
    for asn, prefix in enumerate(OF_ONE_BUCKET, 1):
        worker.apply((Message("update", prefix, asn), False))
    worker.flush()
    parts = sorted(key for key in worker.disk if b"|bucket|0007" in key)
    assert len(parts) > 4
    assert max(len(worker.disk[key]) for key in parts) < 2 * PACE.row_bytes_max
    again = Worker(worker.disk, [])
    assert again.state == worker.state
    again.flush()
    again.apply((Message("update", OF_ONE_BUCKET[0], 900_000), False))
    assert len(flushed(again)) == 1 + 1, "only its own part is written"


def test_paths_as_large_as_they_can_be_have_rows_that_a_broker_takes() -> None:
    """RFC 8654: messages of 65,535 bytes. All prefixes of one bucket, each with its own communities."""
    bmp = Bmp([init(), peer_up()])
    for at, prefix in enumerate(OF_ONE_BUCKET):
        comms, lcomms = (
            " ".join(f"{kind}:{number}" for number in range(500)) for kind in ("64512", "64512:4294967295")
        )
        bmp.feed(
            [update_of(prefix, bgp_nexthop="2001:db8::1", comms=comms, lcomms=lcomms, as_path=f"64601 {at} " * 900)]
        )
    bmp.feed(update_of(f"2001:db8::{at:x}/128", comms="1:1 " * 15_000, bgp_nexthop="::1") for at in range(9))
    for _ in range(3):
        bmp.state.write_rows()
        bmp.state.write_progress()
    assert bmp.letters == []


def test_a_full_stale_table_fits_in_its_rows() -> None:
    """As many prefixes in one bucket as 1,200,000 give each, by ten peers, none refreshed."""
    worker = up(Pace(records=8, bytes_min=1, idle_bytes_min=1))
    prefixes = [f"2001:db8:{number:x}::/48" for number in range(1_200_000 // BUCKETS + 60)]
    long = path(1, *range(4_200_000_000, 4_200_000_006))
    held = tuple([("r1", msgspec.structs.replace(long, peer=f"2001:db8:ffff::{peer}")) for peer in range(10)])
    worker.feed.rib.restore(7, dict.fromkeys(prefixes, held))
    for peer in range(10):
        worker.feed.rib.peer_up("r1", f"2001:db8:ffff::{peer}", 1)
    worker.apply((Message("init", session=2), False))
    worker.kept._behind[7, 0] = -1
    flushed(worker)
    row = worker.raw.get(b"rhv1000|bucket|0007")
    assert row is not None
    assert len(row) < ROW_BYTES_MAX / 2
    (marked,) = worker.feed.stale(dict.fromkeys(prefixes, held)).values()
    assert len(marked) == len(prefixes)


def test_rows_of_an_older_form_are_refused() -> None:
    """Their keys are others: without a version the routes would be gone, and the progress would be believed."""
    table = memory_table("rib")
    Rows(table, Sessions, lambda row: row.applied).put(progress_key("p"), Sessions(applied=7))
    with pytest.raises(RowFormatError, match="has format 3"):
        RibTable(table).progress.get(progress_key("p"))
