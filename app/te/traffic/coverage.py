"""Which share of the sampled bytes was late or unattributed lately: not what ever was, but what is the matter now."""

from collections import deque

from app.te.traffic.windows import Progress

STEP_S, STEPS = 10.0, 30


class RecentShares:
    """Looks back over the last STEPS * STEP_S seconds of the stream's own time."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, int, int, int]] = deque(maxlen=STEPS + 1)

    def take(self, progress: Progress) -> tuple[float, float]:
        """(late, unattributed) as shares of all bytes sampled since; 0 where nothing was."""
        unattributed = sum(progress.unattributed_bytes.values())
        every = progress.late_bytes + unattributed + progress.counted_bytes
        if not self._past or progress.watermark_s >= self._past[-1][0] + STEP_S:
            self._past.append((progress.watermark_s, progress.late_bytes, unattributed, every))
        _, late_before, unattributed_before, every_before = self._past[0]
        sampled = every - every_before
        if not sampled:
            return 0.0, 0.0
        return (progress.late_bytes - late_before) / sampled, (unattributed - unattributed_before) / sampled
