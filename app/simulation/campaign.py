"""Runs many seeds on all processors, with fixed hashing so that the order of sets is the same in every run."""

import hashlib
import multiprocessing
import multiprocessing.pool
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from app.clock import Clock
from app.simulation.play import SeedOutcome, run_seed

CHUNK = 20
REPORT_EVERY = 500  # seeds between two lines of progress
SHOWN = 10  # how many seeds with a violation the report lists


class EventLog:
    """Every event of every seed, in order: a digest of the whole log, and the log itself if `path` is given.

    The digest is the same as that of `sha256sum` on the file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._sha256 = hashlib.sha256()
        self._file = path.open("w") if path is not None else None

    def add(self, outcome: SeedOutcome) -> None:
        """Add the events of one seed. Call this in the order of seeds."""
        text = "".join(f"{outcome.seed} {line}\n" for line in (*outcome.log, outcome.violation or "holds"))
        self._sha256.update(text.encode())
        if self._file is not None:
            self._file.write(text)

    def close(self) -> str:
        """Close the file; the digest in hexadecimal."""
        if self._file is not None:
            self._file.close()
        return self._sha256.hexdigest()


def run_many(
    seeds: Sequence[int],
    with_faults: bool,
    clock: Clock,
    report_line: Callable[[str], None],
    events: EventLog | None = None,
) -> dict[str, object]:
    """Run these seeds and return a report: counts, seconds, the first violations, and the digest of `events` if given.

    `report_line` is called with a line for every violation and for every REPORT_EVERY seeds.
    """
    began_s = clock.monotonic_s()
    violated: list[SeedOutcome] = []
    run = partial(run_seed, with_faults=with_faults, with_log=events is not None)
    with interpreters(len(seeds)) as pool:
        for done, outcome in enumerate(pool.imap(run, seeds, CHUNK), 1):
            if events is not None:
                events.add(outcome)
            if outcome.violation:
                violated.append(outcome)
                report_line(f"seed {outcome.seed}: {outcome.violation}")
            if done % REPORT_EVERY == 0:
                report_line(f"{done} of {len(seeds)} seeds done, {len(violated)} with a violation")
    report: dict[str, object] = {
        "seeds": len(seeds),
        "violations": len(violated),
        "seconds": round(clock.monotonic_s() - began_s, 1),
        "faults": with_faults,
        "first": [
            {"seed": outcome.seed, "violation": outcome.violation, "at_s": round(outcome.at_s, 3)}
            for outcome in violated[:SHOWN]
        ],
    }
    return report if events is None else report | {"digest": events.close()}


def run_one(seed: int, with_faults: bool) -> SeedOutcome:
    """Run one seed and print every event on stderr."""
    with interpreters(1) as pool:
        return pool.apply(run_seed, (seed, with_faults, _print_event))


def _print_event(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def interpreters(most: int) -> Iterator["multiprocessing.pool.Pool"]:
    """A pool of at most `most` new interpreters with a fixed hash seed, which they take from the environment."""
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "0"
    try:
        with multiprocessing.get_context("spawn").Pool(min(most, os.cpu_count() or 1)) as pool:
            yield pool
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before
