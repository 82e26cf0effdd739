"""Runs: read at once is read line by line, and cut in any way the account is the same."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from app.feeds.accounting import Accounting, Closed
from app.feeds.batches import batches, read
from app.feeds.flows import COUNT_MAX, PurgeInit, decode
from app.te.traffic.windows import Sums
from tests.app.feeds.test_accounting import T0, WINDOWS, account, flow, marker, table_of
from tests.app.feeds.test_flows import line
from tests.pops import demo_pop


@pytest.mark.parametrize(
    "broken", [b"{", line(bytes=-1), line(timestamp_arrival="-1"), line(timestamp_arrival="inf"), line(bytes=COUNT_MAX)]
)
def test_one_bad_line_does_not_hide_the_others(broken: bytes) -> None:
    run = read([line(), line(bytes=7) + b"\n" + broken + b"\n", marker("purge_init", "w/1")])
    assert run.flows.sizes_bytes.tolist() == [3000, 7]
    assert run.rejected == list(decode(broken))
    assert run.markers == [PurgeInit("w/1")]


def test_a_run_ends_with_a_marker() -> None:
    messages = [line(), line(), marker("purge_close"), line(), line()]
    assert [messages[cut] for cut in batches(messages, alone=0)] == [messages[:3], messages[3:]]
    assert [messages[cut] for cut in batches(messages, alone=1)] == [messages[:1], messages[1:3], messages[3:]]
    assert [messages[cut] for cut in batches(messages, 0, {0, 1})] == [messages[:1], messages[1:3], messages[3:]]
    assert list(batches([], alone=0)) == []


MARKER_AMONG_FLOWS = b"\n".join([line(), marker("purge_close"), line()])  # more than a marker has
SECRET_MARKER = b'{"event_type": "\\u0070urge_init", "writer_id": "w/9"}'  # as another writer of JSON may put it
MESSAGES = st.one_of(
    st.builds(
        lambda second, iface, destination, size, rate: flow(
            T0 + second, size, rate, iface_out=iface, ip_dst=destination
        ),
        st.integers(-20, 200),
        st.sampled_from([101, 102, 999, 0]),
        st.sampled_from(["203.0.113.1", "10.0.0.1", "0.0.0.0"]),
        st.sampled_from([1, 9, 70_000]),
        st.sampled_from([0, 1000, 1000, 1000, 10**6]),
    ),
    st.builds(marker, st.sampled_from(["purge_init", "purge_close"]), st.sampled_from(["w/1", "w/2", "w/3", "v/1"])),
    st.sampled_from([b"nonsense", b"", SECRET_MARKER, MARKER_AMONG_FLOWS]),
)
STREAM = st.lists(st.lists(MESSAGES, min_size=1, max_size=3).map(b"\n".join), max_size=30)


STEPS_S = st.sampled_from([(1.0, 0.0), (1.0, 30.0), (7.0, 3.0), (7.0, 100.0)])


def told(
    acc: Accounting, stream: list[bytes], cuts: list[int], steps_s: tuple[float, float] = (1.0, 0.0)
) -> list[tuple[int, object]]:
    """Outcomes by position; messages come in equal steps, and the clock of every third of them is ahead."""
    step_s, ahead_s = steps_s
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    outcomes: list[tuple[int, object]] = []
    for first, end in pairwise(bounds):
        times_s = [T0 + step_s * position + ahead_s * (position % 3 == 0) for position in range(first, end)]
        for index, outcome in acc.ingest(first, times_s, stream[first:end]):
            outcomes.append((first + index, sums_of(outcome.sums) if isinstance(outcome, Closed) else outcome))
    return outcomes


@given(STREAM, st.lists(st.integers(0, 30), max_size=6), STEPS_S)
def test_however_a_stream_is_cut_the_account_is_the_same(
    stream: list[bytes], cuts: list[int], steps_s: tuple[float, float]
) -> None:
    by_one, cut = account(), account()
    assert told(by_one, stream, list(range(30)), steps_s) == told(cut, stream, cuts, steps_s)
    assert sums_of(by_one.open) == sums_of(cut.open)
    assert by_one.progress == cut.progress
    assert by_one.touched == cut.touched


@given(STREAM, st.integers(0, 30), st.integers(0, 30), st.lists(st.integers(0, 30), max_size=6))
def test_after_a_crash_between_two_rows_nothing_is_doubled(
    stream: list[bytes], progress_at: int, rows_at: int, cuts: list[int]
) -> None:
    """Every row holds what came up to `rows_at`, the progress row only what came up to `progress_at`."""
    progress_at, rows_at = min(progress_at, rows_at, len(stream)), min(max(progress_at, rows_at), len(stream))
    stream = [message for message in stream if b"purge_" not in message and SECRET_MARKER not in message]
    whole, before, rows = account(), account(), account()
    told(whole, stream, [])
    told(before, stream[:progress_at], [])
    told(rows, stream[:rows_at], [])
    after = Accounting(demo_pop(), WINDOWS, table_of)
    after.progress, after.open = before.progress, rows.open
    told(after, stream, cuts)
    assert sums_of(after.open) == sums_of(whole.open)
    assert after.progress == whole.progress


def sums_of(rows: Mapping[Any, Sums]) -> dict[Any, Sums]:
    """Without the position, which is that of a run's end."""
    return {key: msgspec.structs.replace(sums, applied=0) for key, sums in rows.items()}
