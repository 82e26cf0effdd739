"""A worker with a wrong clock: `python -m tests.faults.skewed SECONDS` and what `autopilot` takes.

All of the process is ahead or behind, its C libraries too, as on a node whose time service is broken.
"""

import os
import sys
from pathlib import Path

[LIBFAKETIME] = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")

if __name__ == "__main__":
    seconds, *arguments = sys.argv[1:]
    # gRPC's deadlines are made in Python and kept in C: with time.time() alone replaced, all would be over at once.
    fake = {"LD_PRELOAD": str(LIBFAKETIME), "FAKETIME": f"{float(seconds):+g}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    os.execve(sys.executable, [sys.executable, "-m", "app", *arguments], os.environ | fake)
