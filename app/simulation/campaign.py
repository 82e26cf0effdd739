"""Many seeds on all processors. What a seed does must not depend on the order of sets, so hashing is fixed."""

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
TOLD_EVERY = 500
SHOWN = 10  # seeds with a violation of which the report tells


class EventLog:
    """Every event of every seed, in order: the digest of the whole log, and the log itself in a file if there is one.

    The digest is what `sha256sum` says of the file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._sha256 = hashlib.sha256()
        self._file = path.open("w") if path is not None else None

    def add(self, outcome: SeedOutcome) -> None:
        text = "".join(f"{outcome.seed} {line}\n" for line in (*outcome.log, outcome.violation or "holds"))
        self._sha256.update(text.encode())
        if self._file is not None:
            self._file.write(text)

    def close(self) -> str:
        """The digest, in hexadecimal."""
        if self._file is not None:
            self._file.close()
        return self._sha256.hexdigest()


def run_many(
    seeds: Sequence[int],
    with_faults: bool,
    clock: Clock,
    tell: Callable[[str], None],
    events: EventLog | None = None,
) -> dict[str, object]:
    """The report: counts, seconds, the first seeds whose invariants do not hold, and the digest of `events`."""
    began_s = clock.monotonic_s()
    wrong: list[SeedOutcome] = []
    run = partial(run_seed, with_faults=with_faults, with_log=events is not None)
    with interpreters(len(seeds)) as pool:
        for done, outcome in enumerate(pool.imap(run, seeds, CHUNK), 1):
            if events is not None:
                events.add(outcome)
            if outcome.violation:
                wrong.append(outcome)
                tell(f"seed {outcome.seed}: {outcome.violation}")
            if done % TOLD_EVERY == 0:
                tell(f"{done} of {len(seeds)} seeds, {len(wrong)} with a violation")
    report: dict[str, object] = {
        "seeds": len(seeds),
        "violations": len(wrong),
        "seconds": round(clock.monotonic_s() - began_s, 1),
        "faults": with_faults,
        "first": [{"seed": one.seed, "violation": one.violation, "at_s": round(one.at_s, 3)} for one in wrong[:SHOWN]],
    }
    return report if events is None else report | {"digest": events.close()}


def run_one(seed: int, with_faults: bool) -> SeedOutcome:
    """One seed, telling on stderr whatever happens."""
    with interpreters(1) as pool:
        return pool.apply(run_seed, (seed, with_faults, _tell))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def interpreters(most: int) -> Iterator["multiprocessing.pool.Pool"]:
    """Fresh interpreters, which take the seed of their hashing from the environment."""
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
