"""What a peer reports when it has done its part: one JSON line.

Peers run in an environment of their own (requirements.lock), so this module imports nothing of ours.
"""

import json
import sys
from typing import NamedTuple


class Job(NamedTuple):
    """What a peer is told on its command line."""

    broker: str
    topic: str
    records: int
    group: str
    directory: str
    variant: str = ""

    @classmethod
    def from_argv(cls) -> "Job":
        broker, topic, records, group, directory, *variant = sys.argv[1:]
        return cls(broker, topic, int(records), group, directory, *variant)


def report(records: int, seconds: float, sums: dict[str, int], settings: dict[str, str | int | float]) -> None:
    """Print the report: `seconds` from the first record taken to the last committed, `sums` as in traffic.py."""
    print(json.dumps({"records": records, "seconds": seconds, "sums": sums, "settings": settings}), flush=True)
