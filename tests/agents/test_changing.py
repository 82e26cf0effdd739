"""Over any changes, restarts, reloads and crashes: each byte is counted once, in windows of one length each."""

from itertools import pairwise
from random import Random
from typing import Any

import msgspec
import pytest

from app.config.inventory import Pop
from app.config.thresholds import WindowSettings
from tables.link_windows import key_of, parts_of
from tests.agents.changing import LENGTHS_S, SIZE, ChangingWorker, gaps, live, without
from tests.app.feeds.test_accounting import SURGED, T0
from tests.pops import demo_pop

SEEDS = 25
WINDOWS = WindowSettings(length_s=10, grace_s=4, refresh_s=2, retention_s=60)
MOVED = "rhv1000/r2/et-0/0/1"
RENAMED = "rhv1000/r1/ae1"


def changed(pop: Pop, link: str, **changes: object) -> Pop:
    links = tuple(msgspec.structs.replace(each, **changes) if pop.link_id(each) == link else each for each in pop.link)
    return msgspec.structs.replace(pop, link=links)


def pops() -> list[Pop]:
    """The demo's inventory; a link less, renamed, at another router; and with other ports towards the inside."""
    pop = demo_pop()
    inside = tuple(msgspec.structs.replace(each, internal_ifindexes=(77,)) for each in pop.router)
    return [
        pop,
        without(pop, SURGED),
        changed(pop, SURGED, name="ae1"),
        changed(pop, SURGED, router="r2", ifindexes=(901,)),
        msgspec.structs.replace(pop, router=inside),
    ]


@pytest.mark.parametrize("late_max_s", [0, 12])
def test_every_byte_is_in_one_account(late_max_s: int) -> None:
    for seed in range(SEEDS):
        worker = ChangingWorker(demo_pop(), WINDOWS)
        live(worker, Random(seed), pops(), late_max_s)
        progress, sent = worker.progress, sum(worker.sent.values())
        accounted = progress.counted_bytes + progress.late_bytes + sum(progress.unattributed_bytes.values())
        assert accounted == sent, f"seed {seed}"
        counted = sum(sum(links.values()) for _, links in worker.published.values())
        assert counted == progress.counted_bytes, f"seed {seed}"
        assert gaps(worker.published) == [], f"seed {seed}"
        for start_s, (length_s, links) in worker.published.items():
            assert start_s % length_s == 0
            inside = range(start_s, start_s + length_s)
            most = sum(size for (second, _), size in worker.sent.items() if second in inside)
            assert sum(links.values()) <= most, f"seed {seed}: {start_s}"


def test_the_bytes_of_a_window_are_those_of_its_seconds() -> None:
    """No record of these is late, and the links stay."""
    lengths = set()
    for seed in range(SEEDS):
        worker = ChangingWorker(demo_pop(), WINDOWS)
        ports = {link: each.ifindexes[0] for link, each in worker.pop.links.items() if each.router == "r1"}
        live(worker, Random(seed), [demo_pop()], 1)
        for start_s, (length_s, links) in worker.published.items():
            for link, port in ports.items():
                sent = sum(worker.sent[second, port] for second in range(start_s, start_s + length_s))
                assert links.get(link, 0) == sent, f"seed {seed}: {start_s} {link}"
            lengths.add(length_s)
        assert worker.progress.late_bytes == 0, f"seed {seed}"
    assert lengths == set(LENGTHS_S)


def fed(worker: ChangingWorker, from_s: int, to_s: int) -> None:
    """A record a second on each of two links, a purge every two, all of it read and flushed."""
    for second in range(from_s, to_s, 2):
        worker.send(second + 1, [second, second + 1], [101, 102])
        worker.mark(second + 1)
    worker.take(1 << 20)
    worker.flush()


@pytest.mark.parametrize("by_reload", [False, True])
def test_another_length_begins_at_the_next_border_of_both(by_reload: bool) -> None:
    worker = ChangingWorker(demo_pop(), WINDOWS)
    now_s = T0
    for length_s in (20, 5, 10):
        fed(worker, now_s, now_s + 46)
        now_s += 46
        worker.windows = msgspec.structs.replace(WINDOWS, length_s=length_s)
        worker.reload() if by_reload else worker.start()
    fed(worker, now_s, now_s + 46)
    worker.finish(now_s + 46)
    lengths = [(start_s - T0, length_s) for start_s, (length_s, _) in sorted(worker.published.items())]
    turns = [at for at, before in zip(lengths[1:], lengths, strict=False) if at[1] != before[1]]
    assert T0 % 20 == 0
    assert turns == [(60, 20), (100, 5), (140, 10)]
    assert gaps(worker.published) == []
    for start_s, (length_s, links) in worker.published.items():
        if T0 <= start_s < now_s + 40:
            assert sum(links.values()) == length_s * SIZE


def test_a_second_change_before_the_first_was_reached_takes_its_place() -> None:
    worker = ChangingWorker(demo_pop(), WINDOWS)
    fed(worker, T0, T0 + 22)
    for length_s in (7, 20):
        worker.windows = msgspec.structs.replace(WINDOWS, length_s=length_s)
        worker.start()
        fed(worker, T0 + 22, T0 + 24)
    fed(worker, T0 + 24, T0 + 80)
    lengths = {start_s - T0: length_s for start_s, (length_s, _) in worker.published.items() if start_s >= T0}
    assert lengths == {0: 10, 10: 10, 20: 10, 30: 10, 40: 20}


def test_a_change_back_before_it_was_reached_changes_nothing() -> None:
    worker = ChangingWorker(demo_pop(), WINDOWS)
    fed(worker, T0, T0 + 22)
    for length_s in (7, 10):
        worker.windows = msgspec.structs.replace(WINDOWS, length_s=length_s)
        worker.start()
        fed(worker, T0 + 22, T0 + 24)
    fed(worker, T0 + 24, T0 + 90)
    assert {length_s for length_s, _ in worker.published.values()} == {10}


def test_rows_from_before_lengths_were_kept_say_the_length_by_their_borders() -> None:
    worker = ChangingWorker(demo_pop(), WINDOWS)
    fed(worker, T0, T0 + 46)
    for table in (worker.link_windows.table, worker.congestion.table):
        del table[b"|premises|rhv1000"]
    for key, row in list(worker.link_windows.items("rhv1000|")):
        worker.link_windows.put(key, msgspec.structs.replace(row, length_s=0))
    worker.windows = msgspec.structs.replace(WINDOWS, length_s=20)
    worker.start()
    fed(worker, T0 + 46, T0 + 100)
    lengths = {start_s - T0: length_s for start_s, (length_s, _) in worker.published.items() if start_s >= T0}
    assert lengths == {0: 10, 10: 10, 20: 10, 30: 10, 40: 10, 50: 10, 60: 20}
    assert worker.progress.late_bytes == 0


@pytest.mark.parametrize("by_reload", [False, True])
def test_a_link_that_comes_back_is_counted_again(by_reload: bool) -> None:
    worker = ChangingWorker(demo_pop(), WINDOWS)
    fed(worker, T0, T0 + 24)
    for pop in (without(demo_pop(), SURGED), demo_pop()):
        worker.pop = pop
        worker.reload() if by_reload else worker.start()
        fed(worker, T0 + 24 + 20 * (pop == demo_pop()), T0 + 44 + 20 * (pop == demo_pop()))
    worker.finish(T0 + 64)
    counted = {start_s - T0: links.get(SURGED, 0) // SIZE for start_s, (_, links) in worker.published.items()}
    assert [counted[start_s] for start_s in (0, 10, 20, 30, 40, 50)] == [5, 5, 2, 0, 3, 5]
    assert worker.progress.unattributed_bytes == {"unknown-interface": 10 * SIZE}


def test_what_a_row_has_is_not_counted_once_more_where_the_inventory_says_another_link() -> None:
    """The worker died after its rows and before its progress, so it reads the records of the row again."""
    worker = ChangingWorker(demo_pop(), WINDOWS)
    fed(worker, T0, T0 + 4)
    worker.send(T0 + 5, [T0 + 4], [101])
    worker.take(10)
    worker.state.write_premises()
    worker.state.write_rows()
    worker.pop = changed(demo_pop(), SURGED, name="ae1")
    worker.start()
    worker.send(T0 + 6, [T0 + 5], [101])
    worker.finish(T0 + 20)
    _, links = worker.published[T0]
    assert (links[SURGED], links[RENAMED]) == (3 * SIZE, SIZE)


def test_windows_that_are_counted_again_after_a_loss_are_cut_as_they_were() -> None:
    """The changelog of their rows is lost, and the next start finds another length of windows, and a link less."""
    worker = ChangingWorker(demo_pop(), WINDOWS)
    fed(worker, T0, T0 + 46)
    table: Any = worker.link_windows.table
    table.clear()
    worker.windows = msgspec.structs.replace(WINDOWS, length_s=20)
    worker.pop = without(demo_pop(), SURGED)
    worker.start()
    worker.read = 0
    worker.finish(T0 + 46)
    counted = sum(sum(links.values()) for _, links in worker.published.values())
    assert counted == worker.progress.counted_bytes == sum(worker.sent.values())
    assert gaps(worker.published) == []


def test_a_row_that_a_frozen_worker_writes_late_for_a_link_that_is_gone_counts_nothing() -> None:
    """Its successor has counted the same records as of an unknown interface."""
    worker, frozen = ChangingWorker(demo_pop(), WINDOWS), ChangingWorker(demo_pop(), WINDOWS)
    for each in (worker, frozen):
        fed(each, T0, T0 + 4)
    worker.pop = without(demo_pop(), SURGED)
    worker.start()
    for each in (worker, frozen):
        fed(each, T0 + 10, T0 + 12)
    key = key_of("rhv1000", T0 + 10, SURGED)
    late = frozen.link_windows.get(key)
    assert late is not None
    assert worker.link_windows.get(key) is None
    worker.link_windows.put(key, late)
    worker.start()
    worker.finish(T0 + 20)
    assert worker.published[T0 + 10] == (10, {"rhv1000/r1/et-0/0/2": SIZE})
    unattributed = sum(worker.progress.unattributed_bytes.values())
    assert worker.progress.counted_bytes + unattributed == sum(worker.sent.values())


def test_windows_that_one_table_has_forgotten_are_cut_as_they_were_published() -> None:
    """The other table remembers by what they were counted, also what no row relied on any more."""
    worker = ChangingWorker(demo_pop(), msgspec.structs.replace(WINDOWS, length_s=5))
    fed(worker, T0, T0 + 6)
    congestion: Any = worker.congestion.progress.table
    before = dict(congestion)
    worker.windows = msgspec.structs.replace(WINDOWS, length_s=2)
    lives = zip((demo_pop(), *pops()[1:4]), pairwise((T0 + 6, T0 + 26, T0 + 32, T0 + 38, T0 + 44)), strict=True)
    for worker.pop, (from_s, to_s) in lives:
        worker.start()
        fed(worker, from_s, to_s)
    congestion.clear()
    congestion.update(before)
    worker.committed = 0
    worker.start()
    worker.finish(T0 + 44)
    stored: dict[int, tuple[int, dict[str, int]]] = {
        parts_of(key)[1]: (row.length_s, {}) for key, row in worker.link_windows.items("rhv1000|")
    }
    assert [start_s for start_s, (length_s, _) in stored.items() if start_s % length_s] == []
    assert gaps(stored) == gaps(worker.published) == []
