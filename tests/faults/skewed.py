"""The telemetry worker with a wrong clock: `python -m tests.faults.skewed SECONDS` and what telemetry takes."""

import sys
from unittest.mock import patch

from app import telemetry
from app.cli.main import main
from app.clock import SystemClock


class SkewedClock(SystemClock):
    """Ahead or behind by so many seconds, like a node whose time service is broken."""

    def now_s(self) -> float:
        return super().now_s() + float(sys.argv[1])


if __name__ == "__main__":
    with patch.object(telemetry, "SystemClock", SkewedClock):
        main(["telemetry", *sys.argv[2:]])
