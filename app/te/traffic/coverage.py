"""The share of sampled bytes that was late or unattributed recently: it shows a present fault, not an old one.

Bytes that are not believed do not count: one forged sample would be most of what was sampled. Nor do inbound bytes.
"""

from collections import deque

from app.te.traffic.unplaced import NOT_MEANT
from app.te.traffic.windows import Progress

STEP_S, STEPS = 10.0, 30


class RecentShares:
    """Shares of late and unattributed bytes over the last STEPS * STEP_S seconds of the stream's own time."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, int, int, int]] = deque(maxlen=STEPS + 1)

    def take(self, progress: Progress) -> tuple[float, float]:
        """Take the latest progress; return (late, unattributed) as shares of recently sampled bytes, 0 if none were."""
        unattributed = sum(
            size_bytes for reason, size_bytes in progress.unattributed_bytes.items() if reason not in NOT_MEANT
        )
        total = progress.late_bytes + unattributed + progress.counted_bytes
        if not self._past or progress.watermark_s >= self._past[-1][0] + STEP_S:
            self._past.append((progress.watermark_s, progress.late_bytes, unattributed, total))
        _, late_before, unattributed_before, total_before = self._past[0]
        sampled = total - total_before
        if not sampled:
            return 0.0, 0.0
        return (progress.late_bytes - late_before) / sampled, (unattributed - unattributed_before) / sampled
