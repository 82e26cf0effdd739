"""`make fuzz`: `python -m tests.fuzz [SECONDS]`. Exit code 1 if a reader failed, two differ, or memory grew."""

import argparse
import logging
import sys
from collections import Counter

import msgspec

from app.clock import SystemClock
from tests.fuzz.actuation import Tally
from tests.fuzz.fuzzer import Result, fuzz
from tests.fuzz.targets import targets

SECONDS, INPUTS_MIN = 600.0, 1_000_000


def main() -> int:
    """Run, report on stderr and print the result."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=SECONDS, help="how long at least (default: 600)")
    parser.add_argument("--inputs", type=int, help="how many inputs at least (default: 1,000,000, with SECONDS none)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="one target")
    parser.add_argument("--first-round", type=int, default=0, help="begin with this round")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what readers log of bad records is what this is about
    tally: Tally = Counter()
    chosen = [target for target in targets(tally) if options.only in (None, target.name)]
    if not chosen:
        parser.error(f"no target {options.only}; known: {', '.join(target.name for target in targets())}")
    enough = INPUTS_MIN if options.seconds == SECONDS else 0
    result = Result(seed=options.seed, rounds=options.first_round)
    inputs_min = enough if options.inputs is None else options.inputs
    fuzz(chosen, result, SystemClock(), options.seconds, inputs_min, lambda line: print(line, file=sys.stderr))
    result.actuator = {"ends": 0, "announced_hostile": 0} | dict(tally.most_common())
    if options.json:
        document = {"ok": result.ok, "grew_bytes": result.grew_bytes} | msgspec.structs.asdict(result)
        print(msgspec.json.encode(document).decode())
    else:
        for failure in result.failures:
            print(f"{failure.target}, round {failure.round}:\n{failure.error}{failure.input[:400]}\n")
        print(
            f"{result.inputs:,} inputs in {result.seconds:.0f} s: {result.crashes} crashes, {result.differences}"
            f" differences, memory grew by {result.grew_bytes / 1e6:.0f} MB"
        )
        print("actuator: " + ", ".join(f"{count:,} {what}" for what, count in result.actuator.items()))
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
