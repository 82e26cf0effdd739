"""Which readings of a port are believed, and the rates between them: wraps, restarts, forged readings, gaps."""

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.te.traffic.counters import (
    FRAME_USUAL_BYTES,
    UNSUPPORTED,
    WRAP_32,
    WRAP_64,
    Course,
    PortRates,
    follow,
    port_rates,
    settled,
)
from app.te.traffic.port import CounterSample

GIGABYTE = 10**9
SPEED_BPS = 1e10
ALL_32, ALL_64 = UNSUPPORTED


def polled(
    *seconds: float, octets_per_s: int = GIGABYTE, discards_per_s: int = 0, discards: int = 0
) -> list[CounterSample]:
    return [
        CounterSample(
            at_s=at_s,
            in_octets=0,
            out_octets=int(at_s * octets_per_s),
            out_packets=int(at_s * octets_per_s / 1000),
            out_discards=int(discards + at_s * discards_per_s) % WRAP_32,
            speed_bps=10**10,
            up=True,
        )
        for at_s in seconds
    ]


def changed(sample: CounterSample, **changes: int) -> CounterSample:
    return msgspec.structs.replace(sample, **changes)


def course(*samples: CounterSample, fastest_bps: float = SPEED_BPS) -> Course:
    return follow(sorted(samples, key=lambda sample: sample.at_s), fastest_bps)


def rates(*samples: CounterSample, fastest_bps: float = SPEED_BPS) -> PortRates:
    return port_rates(course(*samples, fastest_bps=fastest_bps), 10, 20)


def test_borders_between_polls_are_interpolated() -> None:
    assert rates(*polled(7.5, 12.5, 17.5, 22.5)).carried_bps == pytest.approx(8 * GIGABYTE)


def test_discards_are_counted_at_the_mean_packet_size() -> None:
    assert rates(*polled(9, 21, discards_per_s=100)).dropped_bps == pytest.approx(8 * 100 * 1000)


@pytest.mark.parametrize("packets", [0, ALL_32, 3], ids=["stuck at 0", "not supported", "impossible: 12 GB in 3"])
def test_a_discard_has_a_usual_size_where_no_possible_one_is_counted(packets: int) -> None:
    samples = [changed(sample, out_packets=packets * (sample.at_s > 9)) for sample in polled(9, 21, discards_per_s=100)]
    assert rates(*samples).dropped_bps == pytest.approx(8 * 100 * FRAME_USUAL_BYTES)


def test_packets_wrap_at_32_bits() -> None:
    samples = [
        changed(one, out_packets=(one.out_packets - 15 * 10**6) % WRAP_32) for one in polled(9, 21, discards_per_s=9)
    ]
    assert rates(*samples).dropped_bps == pytest.approx(8 * 9 * 1000)


def test_discards_wrap_at_32_bits() -> None:
    dropped = rates(*polled(9, 15, 21, discards_per_s=100, discards=WRAP_32 - 1300)).dropped_bps
    assert dropped == pytest.approx(8 * 100 * 1000)


@pytest.mark.parametrize(
    ("discards", "dropped"),
    [
        pytest.param((7000, 0, 0), 0.0, id="cleared"),
        pytest.param((1000, 995, 995), 0.0, id="a sum over ASICs that goes back"),
        pytest.param((3 * 10**9, 0, 0), 0.0, id="cleared at 3e9: a wrap would be 1.3e9 packets in 6 s"),
        pytest.param((7, ALL_32, 7), None, id="all ones for a moment"),
        pytest.param((ALL_32, ALL_32, ALL_32), None, id="not supported"),
        pytest.param((0, 10**9, 10**9), 0.0, id="a rise that no port of 10 Gb/s can drop in 6 s"),
        pytest.param((0, 600, 600), 8 * 50 * 1000.0, id="real ones"),
    ],
)
def test_discards_are_physical_and_never_take_the_octets_away(discards: tuple[int, ...], dropped: float | None) -> None:
    found = rates(*(changed(one, out_discards=count) for one, count in zip(polled(9, 15, 21), discards, strict=True)))
    assert found.carried_bps == pytest.approx(8 * GIGABYTE)
    assert found.dropped_bps == (None if dropped is None else pytest.approx(dropped, rel=0.2))


def test_a_restart_is_a_gap_in_its_window_and_nothing_after_it() -> None:
    samples = [*polled(1, 4, 9, 14), *(changed(one, out_octets=one.out_octets - 13 * GIGABYTE) for one in polled(16))]
    samples += [changed(one, out_octets=one.out_octets - 13 * GIGABYTE) for one in polled(21, 26, 31)]
    assert rates(*samples).carried_bps is None
    assert port_rates(course(*samples), 20, 30).carried_bps == pytest.approx(8 * GIGABYTE)


def test_only_the_counter_that_fell_has_a_gap() -> None:
    first, second = polled(9, 21)
    found = rates(changed(first, in_octets=GIGABYTE), changed(second, in_octets=0))
    assert found.received_bps is None
    assert found.carried_bps == pytest.approx(8 * GIGABYTE)


@pytest.mark.parametrize("width", [WRAP_32, WRAP_64])
def test_octets_wrap_at_their_width_where_that_is_possible(width: int) -> None:
    """100 Mb/s: 15 MB in 12 s, and no second wrap of 32 bits fits in that."""
    samples = polled(9, 15, 21, octets_per_s=12_500_000)
    moved = [changed(one, out_octets=(one.out_octets - 200_000_000) % width) for one in samples]
    assert rates(*moved, fastest_bps=1e8).carried_bps == pytest.approx(1e8)


def test_octets_of_32_bits_on_a_fast_port_say_nothing() -> None:
    """12 GB/s fit on the port: between two polls the counter wraps any number of times."""
    samples = [changed(one, out_octets=one.out_octets % WRAP_32) for one in polled(*range(0, 30, 3))]
    assert rates(*samples, fastest_bps=1e11).carried_bps is None


@pytest.mark.parametrize("seconds", [(), (9.0,), (11.0, 21.0), (9.0, 14.0)])
def test_a_border_without_a_reading_is_a_gap(seconds: tuple[float, ...]) -> None:
    assert rates(*polled(*seconds)).carried_bps is None


def test_the_end_may_be_a_little_past_the_last_poll() -> None:
    assert rates(*polled(9, 14, 19)).carried_bps == pytest.approx(8 * GIGABYTE)
    assert rates(*polled(-16, 14.1)).carried_bps == pytest.approx(8 * GIGABYTE), "polls every 30 s complete a window"


@pytest.mark.parametrize("ahead", [10**6, 10**9, 10**10, 10**13, -(10**9), -(10**13)])
@pytest.mark.parametrize("at_s", [11.0, 13.9, 14.1, 18.5, 19.99])
def test_one_forged_reading_changes_no_level_by_much(ahead: int, at_s: float) -> None:
    """It may be taken if it fits; the readings around it then bound what it can do."""
    (forged,) = polled(at_s, octets_per_s=GIGABYTE // 2)
    octets = max(0, forged.out_octets + ahead)
    found = rates(*polled(4, 9, 14, 19, 24, octets_per_s=GIGABYTE // 2), changed(forged, out_octets=octets))
    if found.carried_bps is not None:
        assert found.carried_bps == pytest.approx(4 * GIGABYTE, rel=0.2)


def test_true_readings_after_a_forged_one_are_believed_again() -> None:
    (forged,) = polled(26)
    samples = [*polled(4, 9, 14, 19, 24, 29, 34, 39, 44), changed(forged, out_octets=10**15)]
    assert len(course(*samples).refused_s) == 1
    assert port_rates(course(*samples), 20, 30).carried_bps == pytest.approx(8 * GIGABYTE)
    first = [changed(polled(1)[0], out_octets=10**15), *polled(4, 9, 14, 19, 24)]
    assert rates(*first).carried_bps == pytest.approx(8 * GIGABYTE), "even if it was the first of all"


def test_numbers_out_of_sequence_are_refused_where_an_agent_counts() -> None:
    numbered = [changed(one, source=101, sequence=1000 + int(one.at_s)) for one in polled(4, 9, 14, 19, 24, 29)]
    (forged,) = polled(16)
    assert len(course(*numbered, changed(forged, source=101, sequence=3_000_000_000)).refused_s) == 1
    assert len(course(*numbered, changed(forged, source=101, sequence=1016)).refused_s) == 0
    assert len(course(*numbered, changed(forged, source=7, sequence=3_000_000_000)).refused_s) == 0, "another sub-agent"


def test_an_agent_that_restarts_its_numbers_goes_on() -> None:
    numbers = [900, 901, 902, 1, 2, 3, 4]
    samples = [
        changed(one, sequence=number) for one, number in zip(polled(4, 9, 14, 19, 24, 29, 34), numbers, strict=True)
    ]
    assert len(course(*samples).refused_s) == 0
    assert rates(*samples).carried_bps == pytest.approx(8 * GIGABYTE)


def test_numbers_that_are_wrong_most_of_the_time_are_not_looked_at() -> None:
    numbers = [4_000_000_000, 7, 2_000_000_000, 3, 99, 1_000_000_000]
    samples = [changed(one, sequence=number) for one, number in zip(polled(4, 9, 14, 19, 24, 29), numbers, strict=True)]
    assert rates(*samples).carried_bps == pytest.approx(8 * GIGABYTE)


def test_a_port_that_stands_still_carries_nothing() -> None:
    idle = [changed(one, out_octets=5, out_packets=1) for one in polled(4, 9, 14, 19, 24)]
    assert rates(*idle).carried_bps == 0.0
    begun = [*idle, *(changed(one, out_octets=5 + GIGABYTE * 5, out_packets=2) for one in polled(29))]
    assert port_rates(course(*begun), 20, 30).carried_bps == pytest.approx(8 * GIGABYTE / 2, rel=0.2)


def test_counters_that_are_refreshed_rarely_are_read_when_they_change() -> None:
    """Refreshed every 20 s and polled every 5: 0 and four times the load in turn would be wrong."""
    lazy = [changed(polled(at_s // 20 * 20)[0], at_s=at_s) for at_s in range(0, 101, 5)]
    found = course(*lazy)
    assert found.lazy
    assert port_rates(found, 60, 70).carried_bps == pytest.approx(8 * GIGABYTE)
    late = course(*(one for one in lazy if one.at_s <= 75))
    assert port_rates(late, 60, 70).carried_bps is None, "nobody knows before the next refresh"


def test_two_readings_in_a_row_bound_the_level() -> None:
    (jump,) = polled(14)
    found = rates(*polled(4, 9), changed(jump, out_octets=jump.out_octets + GIGABYTE), *polled(19))
    assert found.low_bps == pytest.approx(8 * GIGABYTE)
    assert found.high_bps == pytest.approx(9.6 * GIGABYTE)
    assert rates(*polled(9, 21)).low_bps is None, "there is but one step"


def cached(refresh_s: float, poll_s: int, phase_s: float = 0.0) -> list[CounterSample]:
    """Two minutes of polls of an agent that refreshes its counters every `refresh_s`."""
    polls = range(0, 120, poll_s)
    return [changed(polled((at_s + phase_s) // refresh_s * refresh_s)[0], at_s=at_s) for at_s in polls]


@pytest.mark.parametrize("poll_s", [5, 10, 20])
@pytest.mark.parametrize("refresh_s", [3, 6, 7, 8, 10, 12, 15, 20, 30])
def test_cached_counters_surely_show_no_more_than_was_sent(refresh_s: float, poll_s: int) -> None:
    for phase_s in (0.0, 1.3, 3.1, 4.9):
        found = follow(cached(refresh_s, poll_s, phase_s), 10 * SPEED_BPS)
        windows = [port_rates(found, start_s, start_s + 10) for start_s in range(60, 110, 10)]
        assert max(window.steady_bps or 0.0 for window in windows) <= 1.1 * 8 * GIGABYTE


def test_what_thirty_seconds_of_readings_surely_show() -> None:
    found = port_rates(course(*polled(*range(-20, 21, 5))), 10, 20)
    assert found.sure_bps == pytest.approx(8 * GIGABYTE * 10 / 12)
    assert found.steady_bps == pytest.approx(8 * GIGABYTE * 35 / 37)
    (jump,) = polled(20)
    forged = changed(jump, out_octets=jump.out_octets + GIGABYTE)
    found = port_rates(course(*polled(*range(-20, 20, 5)), forged), 10, 20)
    assert found.steady_bps == pytest.approx(8 * GIGABYTE * 35 / 37), "whatever the last one says"
    assert port_rates(course(*polled(*range(-10, 21, 5))), 10, 20).steady_bps is None


@pytest.mark.parametrize(("octets_per_s", "wraps"), [(GIGABYTE // 100, True), (GIGABYTE, False)])
def test_octets_below_32_bits_may_wrap_between_two_readings(octets_per_s: int, wraps: bool) -> None:
    found = rates(*polled(4, 9, 14, 19, 24, octets_per_s=octets_per_s))
    assert found.wraps_bps == (pytest.approx(8 * WRAP_32 / 5) if wraps else math.inf)


@pytest.mark.parametrize(
    ("values", "expected"), [([1], 1), ([1, 2], 1), ([1, 2, 2], 2), ([1, 1, 2], 1), ([2, 2, 1, 2], 2)]
)
def test_what_two_readings_agree_on(values: list[int], expected: int) -> None:
    assert settled(values) == expected


counts = st.integers(0, WRAP_64 - 1) | st.integers(0, 2 * WRAP_32) | st.sampled_from(UNSUPPORTED)


@given(st.lists(st.tuples(st.floats(0.01, 40), counts, counts, counts, counts), min_size=2, max_size=12))
def test_no_readings_make_an_impossible_level(rows: list[tuple[float, int, int, int, int]]) -> None:
    at_s, samples = 0.0, []
    for after_s, received, sent, packets, discards in rows:
        at_s += after_s
        samples.append(CounterSample(at_s, received, sent, packets, discards, 10**10, True))
    found = follow(samples, SPEED_BPS)
    for step in found.steps:
        most = 1.1 * SPEED_BPS / 8 * (step.end_s - step.begin_s + 2)
        assert all(0 <= (count or 0) <= most for count in (step.in_octets, step.out_octets, step.out_discards))
    assert all(one.end_s == two.begin_s for one, two in zip(found.steps, found.steps[1:], strict=False))


def test_a_thousand_forged_readings_of_a_busy_port() -> None:
    """Where they fit at all, a window is off by less than the room on the port until the next poll."""
    dice = random.Random(1)
    for _ in range(1000):
        at_s, ahead = dice.uniform(9, 29), int(10 ** dice.uniform(6, 13))
        (forged,) = polled(at_s, octets_per_s=GIGABYTE * 6 // 10)
        samples = polled(-1, 4, 9, 14, 19, 24, 29, 34, 39, octets_per_s=GIGABYTE * 6 // 10)
        found = course(*samples, changed(forged, out_octets=forged.out_octets + ahead))
        for start_s in (0, 10, 20):
            carried_bps = port_rates(found, start_s, start_s + 10).carried_bps
            assert carried_bps is None or carried_bps < 0.9 * SPEED_BPS
