"""What a command takes, as the kernel counts it."""

import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from app.clock import SystemClock
from app.lab.daemons.commands import output

CLOCK = SystemClock()
# A process of its own, for the kernel counts for a child also the memory of whoever starts it, and we are large.
MEASURES = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
open(sys.argv[1], "w").write(f"{usage.ru_utime + usage.ru_stime} {usage.ru_maxrss * 1024}")
sys.exit(code)
"""


class Usage(NamedTuple):
    """What a command took with all that it started, and what it printed."""

    seconds: float
    cpu_seconds: float
    memory_bytes: int
    printed: str


async def measured(name: str, *argv: str, within_s: float) -> Usage:
    """Run a command to its end; DaemonError with its name and what it says if it fails."""
    with tempfile.NamedTemporaryFile() as counted:
        begun_s = CLOCK.monotonic_s()
        wrapped = (sys.executable, "-S", "-c", MEASURES, counted.name, *argv)
        printed = await output(*wrapped, within_s=within_s, name=name)
        taken_s = CLOCK.monotonic_s() - begun_s
        cpu_seconds, memory_bytes = Path(counted.name).read_text(encoding="ascii").split()
        return Usage(taken_s, float(cpu_seconds), int(memory_bytes), printed)


def peak_bytes(nsenter: int) -> int:
    """The most memory that the program had which this nsenter has started."""
    [child] = Path(f"/proc/{nsenter}/task/{nsenter}/children").read_text(encoding="ascii").split()
    lines = Path(f"/proc/{child}/status").read_text(encoding="ascii").splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024
