"""Every sampled byte goes to exactly one place; a replay changes nothing."""

import json
from collections.abc import Sequence

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app.config.thresholds import WindowSettings
from app.feeds.accounting import Accounting, Closed
from app.feeds.rejected import Rejected
from app.te.routing.lpm import PrefixTable
from app.te.traffic.demand import Demand
from app.te.traffic.windows import Sums
from app.te.traffic.writers import OPEN_PURGE_MAX_S
from tests.app.feeds.test_flows import RECORD
from tests.pops import demo_pop

T0 = 1_795_246_100  # start of a window
WINDOWS = WindowSettings(length_s=10, grace_s=2, refresh_s=2)
SURGED = "rhv1000/r1/et-0/0/1"


TABLE = PrefixTable.build(["203.0.113.0/24"])


def table_of() -> PrefixTable:
    return TABLE


def account() -> Accounting:
    return Accounting(demo_pop(), WINDOWS, table_of)


def flow(at_s: int, size_bytes: int = 100, rate: int = 1000, **changes: object) -> bytes:
    changed = {"timestamp_arrival": f"{at_s}.000000", "bytes": size_bytes, "sampling_rate": rate, "packets": 1}
    return json.dumps(RECORD | changed | changes).encode()


def marker(kind: str, writer: str = "w/1") -> bytes:
    return json.dumps({"event_type": kind, "writer_id": writer}).encode()


def feed(to: Accounting, messages: Sequence[tuple[float, bytes]], first: int = 0) -> list[Rejected | Closed]:
    return [
        outcome
        for offset, (kafka_s, message) in enumerate(messages, first)
        for _, outcome in to.ingest(offset, [kafka_s], [message])
    ]


def purge(at_s: float, writer: str = "w/1") -> list[tuple[float, bytes]]:
    return [(at_s, marker("purge_init", writer)), (at_s + 0.5, marker("purge_close", writer))]


def test_a_window_closes_when_the_watermark_passes_its_end_and_grace() -> None:
    acc = account()
    assert feed(acc, [(T0 + 2, flow(T0 + 1)), *purge(T0 + 13)]) == []  # watermark T0 + 11: grace is not over
    (closed,) = feed(acc, purge(T0 + 14), first=3)
    assert isinstance(closed, Closed)
    assert closed.start_s == T0
    assert closed.sums[SURGED].size_bytes == 100_000
    assert closed.sums["rhv1000/r2/et-0/0/3"] == Sums(applied=3), "and includes all records so far"
    assert acc.progress.counted_bytes == 100_000


def test_a_purge_that_is_still_open_holds_the_watermark() -> None:
    acc = account()
    early = [(T0 + 2, flow(T0 + 1)), (T0 + 6.0, marker("purge_init", "w/1"))]
    assert feed(acc, [*early, *purge(T0 + 14, "w/2")]) == []
    (closed,) = feed(acc, [(T0 + 15, marker("purge_close", "w/1"))], first=4)
    assert isinstance(closed, Closed)


def test_a_killed_writer_does_not_hold_the_watermark_for_ever() -> None:
    acc = account()
    feed(acc, [(T0 + 2, flow(T0 + 1)), (T0 + 6.0, marker("purge_init", "w/1"))])
    purges = [each for number in range(2, 20) for each in purge(T0 + 2.0 * number + 4, f"w/{number}")]
    outcomes = [feed(acc, [each], first=first) for first, each in enumerate(purges, 2)]
    closed_s = next(each[0] for each, outcome in zip(purges, outcomes, strict=True) if outcome)
    assert closed_s == T0 + 6 + OPEN_PURGE_MAX_S


def test_late_records_are_counted_and_never_reopen_a_window() -> None:
    acc = account()
    feed(acc, [(T0 + 2, flow(T0 + 1)), *purge(T0 + 14)])
    assert feed(acc, [(T0 + 15, flow(T0 + 9, size_bytes=7))], first=3) == []
    assert acc.progress.late_bytes == 7_000
    assert acc.progress.counted_bytes == 100_000
    assert not acc.open


def test_windows_without_traffic_are_closed_too() -> None:
    acc = account()
    feed(acc, [(T0 + 2, flow(T0 + 1)), *purge(T0 + 14)])
    closed = feed(acc, purge(T0 + 34), first=3)
    assert [outcome.start_s for outcome in closed if isinstance(outcome, Closed)] == [T0 + 10, T0 + 20]


def test_what_belongs_to_no_link_is_unattributed_with_its_reason() -> None:
    acc = account()
    messages = [
        flow(T0, peer_ip_src="192.0.2.99"),
        flow(T0, rate=0, size_bytes=5),
        flow(T0, iface_out=0),
        flow(T0, iface_out=0x3FFFFFFF),
        flow(T0, iface_out=2147483650),
        flow(T0, iface_out=999),
        flow(T0, iface_in=77),
        flow(T0 + 1000),
        flow(T0, ip_dst="10.1.1.1"),
    ]
    feed(acc, [(T0 + 1.0, message) for message in messages])
    feed(acc, purge(T0 + 14), first=len(messages))
    assert acc.progress.unattributed_bytes == {
        "unknown-router": 100_000,
        "unknown-sampling-rate": 5,
        "special-interface": 300_000,
        "unknown-interface": 100_000,
        "unknown-ingress": 100_000,
        "clock-skew": 100_000,
        "unroutable": 100_000,
    }
    assert acc.progress.counted_bytes == 0


def test_bad_lines_are_yielded_once_and_counted() -> None:
    acc = account()
    (rejected,) = feed(acc, [(T0 + 1.0, b"nonsense\n" + flow(T0))])
    assert isinstance(rejected, Rejected)
    assert feed(acc, [(T0 + 1.0, b"nonsense\n" + flow(T0))]) == []  # the same offset again
    assert acc.progress.dead_letters == 1


def test_a_replay_adds_nothing_but_marks_its_rows() -> None:
    acc = account()
    messages = [(T0 + 2.0, flow(T0 + 1)), (T0 + 3.0, flow(T0 + 2, iface_out=102))]
    feed(acc, messages)
    acc.touched.clear()
    feed(acc, messages)
    assert {slot: sums.size_bytes for slot, sums in acc.open.items()} == {
        (T0, SURGED): 100_000,
        (T0, "rhv1000/r1/et-0/0/2"): 100_000,
    }
    assert acc.touched == set(acc.open)


def test_a_row_written_before_the_progress_row_is_not_added_twice() -> None:
    """A crash between two rows: the sums hold offset 0, the progress row does not."""
    acc = account()
    acc.open[T0, SURGED] = Sums(
        applied=0, size_bytes=100_000, samples=1, demand=Demand.of({("r1", "203.0.113.0/24"): (100_000, 1)})
    )
    feed(acc, [(T0 + 2.0, flow(T0 + 1)), (T0 + 3.0, flow(T0 + 2))])
    assert acc.open[T0, SURGED].size_bytes == 200_000


def test_two_ingress_routers_in_one_message_are_both_counted() -> None:
    acc = account()
    feed(acc, [(T0 + 2.0, flow(T0) + b"\n" + flow(T0, iface_in=2))])
    assert {(one.ingress, one.prefix) for one in acc.open[T0, SURGED].demand} == {
        ("r1", "203.0.113.0/24"),
        ("r2", "203.0.113.0/24"),
    }


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40), st.sampled_from([101, 102, 999, 0]), st.sampled_from(["203.0.113.1", "10.0.0.1"])
        ),
        max_size=40,
    ),
    st.integers(0, 40),
)
def test_in_plus_late_plus_unattributed_is_what_was_sent(records: list[tuple[int, int, str]], restart_at: int) -> None:
    """In any order, with a restart from the last commit somewhere in between."""
    messages: list[tuple[float, bytes]] = []
    for index, (second, iface, destination) in enumerate(records):
        messages.append((T0 + index, flow(T0 + second, iface_out=iface, ip_dst=destination)))
        messages.extend(purge(T0 + index, f"w/{index}"))
    messages.extend(each for seconds in range(60, 80, 2) for each in purge(T0 + seconds, f"w/{seconds}"))
    acc = account()
    feed(acc, messages[:restart_at])
    feed(acc, messages)
    progress = acc.progress
    accounted = progress.counted_bytes + progress.late_bytes + sum(progress.unattributed_bytes.values())
    assert accounted == 100_000 * len(records)
    assert progress.records == len(records)


def test_pairs_are_numbered_anew_while_a_window_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.feeds.accounting.PAIRS_MIN", 0)
    monkeypatch.setattr("app.feeds.accounting.PAIRS_SPARE", 0)
    acc = account()
    feed(acc, [(T0 + 11.0, flow(T0 + 11, iface_in=2)), (T0 + 12.0, flow(T0 + 1))])
    before = acc.open[T0 + 10, SURGED].demand.pairs
    assert len(feed(acc, purge(T0 + 14), first=2)) == 1
    feed(acc, [(T0 + 15.0, flow(T0 + 12))], first=4)
    after = acc.open[T0 + 10, SURGED].demand
    assert after.pairs is not before
    assert after == Demand.of({("r2", "203.0.113.0/24"): (100_000, 1), ("r1", "203.0.113.0/24"): (100_000, 1)})
