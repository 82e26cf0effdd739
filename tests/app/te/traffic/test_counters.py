"""Loads from octet counters: interpolation, wraps, resets and gaps."""

import pytest

from app.te.traffic.counters import WRAP_32, CounterSample, link_rates, port_rates

GIGABYTE = 10**9


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


def test_borders_between_polls_are_interpolated() -> None:
    rates = port_rates(polled(7.5, 12.5, 17.5, 22.5), 10, 20)
    assert rates is not None
    assert rates.carried_bps == pytest.approx(8 * GIGABYTE)


def test_discards_are_counted_at_the_mean_packet_size() -> None:
    rates = port_rates(polled(9, 21, discards_per_s=100), 10, 20)
    assert rates is not None
    assert rates.dropped_bps == pytest.approx(8 * 100 * 1000)


def test_discards_wrap_at_32_bits() -> None:
    rates = port_rates(polled(9, 15, 21, discards_per_s=100, discards=WRAP_32 - 1300), 10, 20)
    assert rates is not None
    assert rates.dropped_bps == pytest.approx(8 * 100 * 1000)


def test_a_reset_is_a_gap() -> None:
    before, after = polled(9, 15), polled(16, 21)
    reset = [CounterSample(s.at_s, 0, s.out_octets // 100, s.out_packets, 0, s.speed_bps, True) for s in after]
    assert port_rates([*before, *reset], 10, 20) is None


@pytest.mark.parametrize("seconds", [(), (9.0,), (11.0, 21.0), (9.0, 14.0)])
def test_a_border_without_a_reading_is_a_gap(seconds: tuple[float, ...]) -> None:
    assert port_rates(polled(*seconds), 10, 20) is None


def test_the_end_may_be_a_little_past_the_last_poll() -> None:
    rates = port_rates(polled(9, 14, 19), 10, 20)
    assert rates is not None
    assert rates.carried_bps == pytest.approx(8 * GIGABYTE)


def test_a_link_is_the_sum_of_its_members_and_untrusted_when_one_is() -> None:
    member = polled(9, 21)
    both = link_rates([member, member], 10, 20)
    assert both is not None
    assert both.carried_bps == pytest.approx(16 * GIGABYTE)
    assert both.capacity_bps == 2 * 10**10
    assert link_rates([member, polled(9, 12)], 10, 20) is None
    assert link_rates([], 10, 20) is None
