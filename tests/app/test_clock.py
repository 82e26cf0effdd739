"""A host with a wrong clock learns the broker's time from answers of any delay; a step of its own changes nothing."""

import random

import pytest

from app.clock import BrokerClock, BrokerTime, SteadyClock

BROKER_S = 1_800_000_000.0


class Host:
    """A machine's two clocks, and the broker's, of which the wall clock of the machine may be wrong."""

    def __init__(self, ahead_s: float) -> None:
        self.true_s = 0.0
        self.ahead_s = ahead_s

    def now_s(self) -> float:
        return BROKER_S + self.true_s + self.ahead_s

    def monotonic_s(self) -> float:
        return 7_000.0 + self.true_s

    def asks(self, clock: BrokerClock, there_s: float, back_s: float) -> None:
        asked_s = self.monotonic_s()
        self.true_s += there_s
        broker_s = BROKER_S + self.true_s
        self.true_s += back_s
        clock.take(BrokerTime(asked_s, broker_s, self.monotonic_s()))


@pytest.mark.parametrize("ahead_s", [-600.0, 0.0, 600.0])
def test_the_quickest_answers_count_and_the_error_is_half_their_delay(ahead_s: float) -> None:
    host, delays = Host(ahead_s), random.Random(7)
    clock = BrokerClock(host)
    assert clock.host_ahead_s is None
    assert clock.now_s() == pytest.approx(BROKER_S + ahead_s)
    for _ in range(100):
        there_s, back_s = delays.expovariate(20), delays.expovariate(1)
        host.asks(clock, there_s, back_s)
        host.asks(clock, 0.001, 0.002)
        host.true_s += 10.0
        assert clock.now_s() - (BROKER_S + host.true_s) == pytest.approx(0.0, abs=0.0015)
        assert clock.host_ahead_s == pytest.approx(ahead_s, abs=0.0015)


def test_a_step_of_the_hosts_clock_is_seen_and_changes_nothing() -> None:
    host = Host(0.0)
    clock = BrokerClock(host)
    host.asks(clock, 0.001, 0.001)
    host.ahead_s = -600.0
    assert clock.now_s() == pytest.approx(BROKER_S + host.true_s)
    assert clock.host_ahead_s == pytest.approx(-600.0)


def test_a_broker_with_another_clock_is_followed_when_the_old_answers_are_gone() -> None:
    host = Host(0.0)
    clock = BrokerClock(host)
    host.asks(clock, 0.001, 0.001)
    for _ in range(BrokerClock.ANSWERS_KEPT):
        clock.take(BrokerTime(host.monotonic_s(), host.now_s() + 42.0, host.monotonic_s() + 1.0))
    assert clock.host_ahead_s == pytest.approx(-41.5)


def test_a_steady_clock_goes_on_from_the_time_at_its_start() -> None:
    host = Host(0.0)
    clock = SteadyClock(host)
    host.true_s, host.ahead_s = 10.0, 600.0
    assert clock.now_s() == pytest.approx(BROKER_S + 10.0)
