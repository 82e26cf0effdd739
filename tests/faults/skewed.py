"""A worker with a wrong clock: `python -m tests.faults.skewed SECONDS` and what `autopilot` takes.

All of the process is ahead or behind, Kafka's client too, as on a node whose time service is broken.
"""

import sys
import time

_right_s = time.time
_skew_s = float(sys.argv.pop(1))


def _skewed_s() -> float:
    return _right_s() + _skew_s


if __name__ == "__main__":
    time.time = _skewed_s

    from app.__main__ import main  # only now: others may keep the function

    main()
