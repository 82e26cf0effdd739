"""Runs one seed from beginning to end: first faults, then calm, and in the end nothing may be wrong."""

import logging
from collections.abc import Callable

import msgspec

from app.simulation.ending import check_end, check_gone
from app.simulation.faults import Faults
from app.simulation.loop import Violation
from app.simulation.run import END_S, FAULTS_S, LAG_S, SETTINGS, START_S, Run

GONE_S = 10.0  # after the end of a lease


class SeedOutcome(msgspec.Struct):
    """The outcome of one seed. `violation` is empty if all invariants held; `events` are the last ones before it."""

    seed: int
    violation: str = ""
    step: int = 0
    at_s: float = 0.0
    faults: list[str] = []
    events: list[str] = []
    log: list[str] = []  # every event, if asked for


def play(run: Run, faults: Faults | None) -> None:
    """Play one run to its end and check it; Violation as soon as an invariant does not hold."""
    run.until(FAULTS_S)
    run.flaky = False
    if faults is not None:
        faults.stop()
    if run.ends == "calm":
        run.until(END_S - LAG_S)
        run.collectors.stopped = True
        run.until(END_S)
        check_end(run)
    else:
        run.lose_everything()
        run.until(FAULTS_S + SETTINGS.pacing.lease_s + GONE_S)
        check_gone(run)


def run_seed(
    seed: int, with_faults: bool, on_event: Callable[[str], None] | None = None, with_log: bool = False
) -> SeedOutcome:
    """Run one seed to its end or to the first violation. `on_event` gets every event; `with_log` keeps them all."""
    logging.disable(logging.CRITICAL)
    outcome = SeedOutcome(seed)
    run = Run(seed, with_faults, outcome.log.append if with_log else on_event)
    faults = Faults(run) if with_faults else None
    try:
        play(run, faults)
    except Violation as violation:
        outcome.violation = str(violation)
    finally:
        for process in list(run.world.processes):
            process.alive = False
            process.bury()
        logging.disable(logging.NOTSET)
    outcome.step, outcome.at_s = run.world.steps, run.world.now_s - START_S
    outcome.events = list(run.world.events) if outcome.violation else []
    outcome.faults = faults.injected if faults is not None else []
    return outcome
