"""The planted violation is part of a full run only: here, that it can be planted at all."""

import subprocess
import sys

from tests.faults.early_ack import IDLE_S
from tests.faults.rig import WINDOWS


def test_the_worker_that_breaks_the_protocol_starts() -> None:
    ran = subprocess.run([sys.executable, "-m", "tests.faults.early_ack", "--help"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "telemetry" in ran.stdout


def test_a_pause_of_the_feed_does_not_make_it_write_its_rows() -> None:
    assert 2 * WINDOWS.refresh_s < IDLE_S
