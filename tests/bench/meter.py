"""What the programs of `tests.bench.reading` count with. One has its own Python, so nothing of ours is imported."""

import json
import time
from pathlib import Path


class Meter:
    """Times a number of messages from the first that come, which are not in the time, and prints one JSON line."""

    def __init__(self, messages: int) -> None:
        self._left = messages
        self._bytes = 0
        self._timed_bytes = self._timed_messages = 0
        self._began: tuple[float, float] | None = None

    def add(self, messages: int, size_bytes: int) -> bool:
        """Whether these were the last."""
        self._left -= messages
        self._bytes += size_bytes
        if self._began is None:
            self._began = time.perf_counter(), time.process_time()
            return False
        self._timed_messages += messages
        self._timed_bytes += size_bytes
        if self._left == 0:
            self._report(time.perf_counter() - self._began[0], time.process_time() - self._began[1])
        return self._left == 0

    def _report(self, seconds: float, cpu_s: float) -> None:
        report = {
            "bytes": self._bytes,
            "seconds": seconds,
            "cpu_s": cpu_s,
            "timed_bytes": self._timed_bytes,
            "timed_messages": self._timed_messages,
            "memory_max_bytes": memory_max_bytes(),
        }
        print(json.dumps(report), flush=True)


def memory_max_bytes() -> int:
    """Of this program: what `resource` knows includes the one that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
