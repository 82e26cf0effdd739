"""Ends the process on purpose: exits are part of the protocol, and the supervisor starts the worker again.

A worker frozen for longer than half the session timeout (VM pause, cgroup freeze, swap) may already have a successor,
and its writes would replace newer rows. So it exits before it writes (seen: 20 stale rows without this).
"""

import logging
import os
import threading
from collections.abc import Callable
from functools import partial

from app.clock import Clock
from app.errors import ENDED_ITSELF, FROZEN

log = logging.getLogger(__name__)


def die(reason: str, status: int = ENDED_ITSELF, then: str = "its next start goes on from the last commit") -> None:
    """End the process at once, without the orderly shutdown, which would still flush; `then` says what comes next."""
    log.critical("this process ends itself: %s; %s", reason, then)
    os._exit(status)


die_frozen = partial(die, status=FROZEN)


class StallFence:
    """Measures the gap between two checks by the monotonic clock; a gap above the limit ends the process."""

    def __init__(self, limit_s: float, clock: Clock, end: Callable[[str], None] = die_frozen) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._end = end
        self._seen_s = clock.monotonic_s()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, every_s: float = 0.05) -> None:
        """Check every `every_s` seconds from a plain thread, which runs while the event loop is busy."""
        self._thread = threading.Thread(target=self._watch, args=(every_s,), name="stall-fence", daemon=True)
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Whether the thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()

    def check(self) -> None:
        """End the process if the last check is too long ago; the thread calls it, and each flush before it writes."""
        now_s = self._clock.monotonic_s()
        gap_s = now_s - self._seen_s
        if gap_s > self._limit_s:
            self._end(f"frozen for {gap_s:.1f} s, more than {self._limit_s:.1f} s: another worker may own the state")
        self._seen_s = now_s

    def _watch(self, every_s: float) -> None:
        while not self._stop.wait(every_s):
            self.check()
