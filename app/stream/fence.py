"""Ending the process on purpose: exits are part of the protocol, whatever runs a worker starts it again.

A worker frozen for longer than half the session timeout (VM pause, cgroup freeze, swap) may have a successor already;
what it still writes would overwrite newer rows. So it exits before it writes (seen: 20 stale rows without this).
"""

import logging
import os
import threading
from collections.abc import Callable

from app.clock import Clock

log = logging.getLogger(__name__)

EXIT_CODE = 70  # EX_SOFTWARE: started again by the supervisor, from the last commit


def die(reason: str) -> None:
    """End the process at once, without the shutdown that would still flush."""
    log.critical("ends itself: %s; exit and start again from the last commit", reason)
    os._exit(EXIT_CODE)


class StallFence:
    """Watches the gap between two looks at the monotonic clock; a gap above the limit ends the process."""

    def __init__(self, limit_s: float, clock: Clock, end: Callable[[str], None] = die) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._end = end
        self._seen_s = clock.monotonic_s()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, every_s: float = 0.05) -> None:
        """Look from a plain thread, which lives while the event loop is busy."""
        self._thread = threading.Thread(target=self._watch, args=(every_s,), name="stall-fence", daemon=True)
        self._thread.start()

    @property
    def runs(self) -> bool:
        """The thread looks."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()

    def check(self) -> None:
        """Called by the thread, and by every flush before it writes."""
        now_s = self._clock.monotonic_s()
        gap_s, self._seen_s = now_s - self._seen_s, now_s
        if gap_s > self._limit_s:
            self._end(f"frozen for {gap_s:.1f} s, more than {self._limit_s:.1f} s: another worker may own the state")

    def _watch(self, every_s: float) -> None:
        while not self._stop.wait(every_s):
            self.check()
