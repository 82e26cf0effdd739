"""Seeds hold, repeat exactly, and the loop in them is alive: the product really decides and announces."""

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.clock import ManualClock
from app.simulation.campaign import EventLog, run_many, run_one
from app.simulation.invariants import Checks
from app.simulation.loop import Violation
from app.simulation.play import play, run_seed
from app.simulation.run import FAULTS_S, START_S, Run

SEEDS = range(12)


@pytest.mark.parametrize("with_faults", [False, True])
def test_seeds_hold(with_faults: bool) -> None:
    assert [outcome for seed in SEEDS if (outcome := run_seed(seed, with_faults)).violation] == []


def test_a_seed_repeats_exactly() -> None:
    told: list[list[str]] = [[], []]
    for lines in told:
        run_seed(5, True, lines.append)
    assert told[0] == told[1]
    assert len(told[0]) > 20


def test_the_loop_is_alive() -> None:
    """Else every invariant would hold of nothing."""
    lines: list[str] = []
    for seed in SEEDS:
        run_seed(seed, True, lines.append)
    for what in ("fault:", " announced ", " confirmed ", " withdrawn ", "overrides", " ends: ", "fault: telemetry"):
        assert any(what in line for line in lines), what


def test_a_violation_tells_its_number_step_and_last_events(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Checks, *_: object) -> None:
        raise Violation("I5 for a test")

    monkeypatch.setattr(Checks, "announced", never)
    outcome = next(found for seed in SEEDS if (found := run_seed(seed, True)).violation)
    assert outcome.violation == "I5 for a test"
    assert outcome.step > 0
    assert outcome.at_s > 0
    assert outcome.events


@pytest.mark.parametrize("seed", range(4))
def test_no_process_ends_because_the_broker_is_slow(seed: int) -> None:
    lines: list[str] = []
    run = Run(seed, with_faults=False, on_event=lines.append)
    run.world.after(6.0, lambda: setattr(run.broker, "slow_s", 10.0))
    run.world.after(FAULTS_S, lambda: setattr(run.broker, "slow_s", 0.0))
    play(run, None)
    before = lines[: next((index for index, line in enumerate(lines) if "killed for good" in line), len(lines))]
    assert len(before) > 20
    assert [line for line in before if " ends: " in line] == []


def test_an_exception_of_the_product_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr("agents.decide.run_cycle", broken)
    assert run_seed(1, False).violation.startswith("I0 telemetry ended by itself: ZeroDivisionError")


def test_time_is_virtual() -> None:
    run = Run(1, with_faults=False)
    run.world.run_until(START_S + 20)
    assert run.world.now_s == START_S + 20
    assert run.telemetry.flows.accounts["p"].progress.counted_bytes > 0


def test_many_seeds_make_one_report() -> None:
    report = run_many(range(4), True, ManualClock(), lambda line: None)
    assert report == {"seeds": 4, "violations": 0, "seconds": 0.0, "faults": True, "first": []}


def test_the_digest_is_that_of_the_log(tmp_path: Path) -> None:
    digests = []
    for name, seeds in (("one", 3), ("again", 3), ("other", 2)):
        report = run_many(range(seeds), True, ManualClock(), lambda line: None, EventLog(tmp_path / name))
        assert report["digest"] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        digests.append(report["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_another_interpreter_sees_the_same_events() -> None:
    """Hashing is fixed there: the order of sets is no part of a seed."""
    assert run_one(3, True) == run_one(3, True)


def test_the_command_ends_with_one_document() -> None:
    result = CliRunner().invoke(main, ["simulate", "--seeds", "2", "--faults", "--json"])
    document = json.loads(result.stdout.splitlines()[-1])
    assert (result.exit_code, document["seeds"], document["violations"]) == (0, 2, 0)


@pytest.mark.parametrize("arguments", [[], ["--seed", "1", "--seeds", "2"]])
def test_either_one_or_many(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["simulate", *arguments]).exit_code == 2
