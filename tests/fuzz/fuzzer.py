"""Runs all targets in turn, round by round, until time is up and enough was tried."""

import base64
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from app.clock import Clock
from tests.fuzz import corpus
from tests.fuzz.targets import Difference, Target

WARM_ROUNDS = 3  # in which code and caches are loaded
GROWTH_BYTES_MAX = 256 * 1024 * 1024
FAILURES_MAX = 10
SHOWN_BYTES = 20_000
Report = Callable[[str], None]


class Failure(msgspec.Struct, frozen=True):
    """A mutant that ended a reader: `python -m tests.fuzz --only TARGET --first-round ROUND` meets it again."""

    target: str
    round: int
    error: str
    input: str  # base64


class Result(msgspec.Struct, kw_only=True):
    """What a run found. Memory is the resident set: after the first rounds, and the most after that."""

    seed: int
    seconds: float = 0.0
    rounds: int = 0
    inputs: int = 0
    by_target: dict[str, int] = {}
    actuator: dict[str, int] = {}  # what became of decisions and orders
    crashes: int = 0
    differences: int = 0
    failures: list[Failure] = []
    warm_bytes: int = 0
    most_bytes: int = 0

    @property
    def grew_bytes(self) -> int:
        """How much memory grew."""
        return max(0, self.most_bytes - self.warm_bytes)

    @property
    def ok(self) -> bool:
        return not self.crashes and not self.differences and self.grew_bytes <= GROWTH_BYTES_MAX


def fuzz(
    targets: Sequence[Target], result: Result, clock: Clock, seconds: float, inputs_min: int, report: Report
) -> Result:
    """Fuzz for so many seconds, and on until there were as many inputs; stop early after FAILURES_MAX failures.

    `result` has the seed, and in `rounds` the number of the first round.
    """
    begun_s = told_s = clock.monotonic_s()
    first = result.rounds
    while len(result.failures) < FAILURES_MAX:
        for target in targets:
            _round(target, result)
        result.rounds += 1
        _measure(result, result.rounds - first)
        now_s = clock.monotonic_s()
        result.seconds = round(now_s - begun_s, 1)
        if now_s - told_s >= 5:
            told_s = now_s
            report(f"{result.seconds:.0f} s: {result.inputs:,} inputs, {len(result.failures)} failures")
        if result.seconds >= seconds and result.inputs >= inputs_min:
            break
    return result


def _round(target: Target, result: Result) -> None:
    rng = corpus.rng(result.seed, target.name, result.rounds)
    mutants = target.make(rng)
    result.inputs += len(mutants)
    result.by_target[target.name] = result.by_target.get(target.name, 0) + len(mutants)
    try:
        target.run(mutants, rng)
    except Exception as error:
        _note(target, mutants, error, result)


def _note(target: Target, mutants: Sequence[bytes], error: Exception, result: Result) -> None:
    """Note a failure with the mutant that causes it, if one alone does."""
    if isinstance(error, Difference):
        result.differences += 1
    else:
        result.crashes += 1
    culprit = b"\n".join(mutants)
    for mutant in mutants:
        try:
            target.run([mutant], corpus.rng(result.seed, target.name, result.rounds))
        except Exception as alone:
            culprit, error = mutant, alone
            break
    text = "".join(traceback.format_exception(error)[-4:])
    shown = base64.b64encode(culprit[:SHOWN_BYTES]).decode()
    result.failures.append(Failure(target.name, result.rounds, text[-3000:], shown))


def _measure(result: Result, rounds: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    if rounds <= WARM_ROUNDS:
        result.warm_bytes = max(result.warm_bytes, pages * 4096)
    result.most_bytes = max(result.most_bytes, pages * 4096)
