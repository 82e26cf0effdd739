"""The planted violation is part of a full run only: here, that it can be planted at all."""

import subprocess
import sys


def test_the_worker_that_breaks_the_protocol_starts() -> None:
    ran = subprocess.run([sys.executable, "-m", "tests.faults.early_ack", "--help"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "telemetry" in ran.stdout
