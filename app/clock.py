"""The only place that reads a clock: everything else is given the time."""

import time
from collections import deque
from datetime import UTC, datetime
from typing import NamedTuple, Protocol


class Clock(Protocol):
    """Wall and monotonic time in seconds."""

    def now_s(self) -> float: ...

    def monotonic_s(self) -> float: ...


class SystemClock:
    """The clocks of the machine."""

    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()


class SteadyClock:
    """Another clock's wall time as of the start, and since then only its monotonic time: a step changes nothing."""

    def __init__(self, base: Clock) -> None:
        self._base = base
        self._ahead_s = base.now_s() - base.monotonic_s()  # of the monotonic time

    def now_s(self) -> float:
        return self._base.monotonic_s() + self._ahead_s

    def monotonic_s(self) -> float:
        return self._base.monotonic_s()


class BrokerTime(NamedTuple):
    """What a broker's answer says of its clock: the Unix time it read between two moments of our monotonic time."""

    asked_s: float
    broker_s: float
    answered_s: float

    @property
    def delay_s(self) -> float:
        """How long the answer took; half of it is the largest error."""
        return self.answered_s - self.asked_s


class BrokerClock(SteadyClock):
    """The broker's wall time, by the quickest of its last answers, as NTP does. Until the first, this machine's.

    Hosts that share a broker share its time, however wrong their own clocks are, and whatever steps they make.
    """

    ANSWERS_KEPT = 8

    def __init__(self, base: Clock) -> None:
        super().__init__(base)
        self._answers: deque[BrokerTime] = deque(maxlen=self.ANSWERS_KEPT)

    def take(self, answer: BrokerTime) -> None:
        """Set this clock by one more answer."""
        self._answers.append(answer)
        best = min(self._answers, key=lambda each: each.delay_s)
        self._ahead_s = best.broker_s - (best.asked_s + best.answered_s) / 2

    @property
    def host_ahead_s(self) -> float | None:
        """How far the machine's own clock is ahead of the broker's now, in seconds; None before the first answer."""
        return self._base.now_s() - self.now_s() if self._answers else None


class ManualClock:
    """A clock that a test moves by hand; both readings advance together."""

    def __init__(self, now_s: float = 1_700_000_000.0) -> None:
        self._now_s = now_s

    def now_s(self) -> float:
        return self._now_s

    def monotonic_s(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        assert seconds >= 0, "time does not run backwards"
        self._now_s += seconds


def utc(seconds: float) -> datetime:
    """Unix seconds as an aware UTC datetime, the form of every published record."""
    return datetime.fromtimestamp(seconds, UTC)
