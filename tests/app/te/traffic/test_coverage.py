"""Shares of what was late or unattributed lately."""

import pytest

from app.te.traffic.coverage import STEP_S, STEPS, RecentShares
from app.te.traffic.windows import Progress


def test_nothing_sampled_is_no_share() -> None:
    recent = RecentShares()
    assert recent.take(Progress()) == (0.0, 0.0)


def test_shares_are_of_what_came_since() -> None:
    recent, progress = RecentShares(), Progress(counted_bytes=10**12, late_bytes=10**11)
    assert recent.take(progress) == (0.0, 0.0), "what was before is no news"
    progress.counted_bytes += 800
    progress.late_bytes += 50
    progress.leave_out("unroutable", 100)
    progress.leave_out("unknown-router", 50)
    assert recent.take(progress) == (0.05, 0.15)


@pytest.mark.parametrize("reason", ["unlisted-sampling-rate", "not-outbound"])
def test_one_forged_sample_or_inbound_traffic_is_not_most_of_what_was_sampled(reason: str) -> None:
    recent, progress = RecentShares(), Progress()
    recent.take(progress)
    progress.counted_bytes += 1000
    progress.leave_out(reason, 10**12)
    assert recent.take(progress) == (0.0, 0.0)


def test_old_trouble_is_forgotten() -> None:
    recent, progress = RecentShares(), Progress()
    recent.take(progress)
    progress.late_bytes += 1000
    for _ in range(STEPS + 2):
        progress.watermark_s += STEP_S
        progress.counted_bytes += 1000
        late, _ = recent.take(progress)
    assert late == 0.0
