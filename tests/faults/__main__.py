"""`python -m tests.faults`: every fault against the real workers, and what it cost in bytes or in routes."""

import asyncio
import json
import logging
import sys
from collections.abc import Iterator, Sequence

import click
from rich.console import Console
from rich.table import Table

from app.cli.output import PIPE_COLUMNS
from app.errors import AutopilotError, EnvironmentProblem
from tests.faults.actuator.rows import ROUTE_FAULTS, RouteFault, run_route_fault
from tests.faults.actuator.verdict import RouteOutcome
from tests.faults.outcome import Outcome, judge
from tests.faults.rig import Rig, Setup
from tests.faults.rows import FAULTS, Fault

progress = Console(stderr=True, highlight=False)
KEYS = ("fault", "times", "bytes_lost", "bytes_silent", "bytes_doubled", "windows_wrong", "seconds_to_correct")
ROUTE_KEYS = ("fault", "times", "routes_stale", "routes_leaked", "seconds_to_correct", "figures")
ALL = (*FAULTS, *ROUTE_FAULTS)


async def run_fault(fault: Fault, times: int, seed: int, keep_logs: bool = True) -> Outcome:
    """One row, on brokers and a worker of its own, whose logs are kept when it goes wrong."""
    async with Rig(fault.setup, f"{seed} {fault.name}", keep_logs) as rig:
        while len(rig.moments) < times and not rig.problems:
            await fault.inject(rig)
            progress.print(f"{fault.name}: {len(rig.moments)} of {times}")
        outcome = await judge(rig, fault.name)
        for problem in outcome.problems:
            progress.print(f"  {problem}", style="red", soft_wrap=True)
        if outcome.problems and keep_logs:
            progress.print(f"  logs are in {rig.run_dir}")
        return outcome


def tables(outcomes: Sequence[Outcome | RouteOutcome]) -> Iterator[Table]:
    """For people: one table of what was lost in bytes, one of what was wrong with routes."""
    for kind, keys in ((Outcome, KEYS), (RouteOutcome, ROUTE_KEYS)):
        shown = Table(*(key.replace("_", " ") for key in keys))
        for one in (each for each in outcomes if isinstance(each, kind)):
            shown.add_row(*(_cell(getattr(one, key)) for key in keys), style="" if one.ok else "red")
        if shown.row_count:
            yield shown


def _cell(value: object) -> str:
    match value:
        case None:
            return "never"
        case dict():
            return "\n".join(f"{name} {figure:,g}" for name, figure in value.items())
        case float():
            return f"{value:.1f}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def as_json(outcomes: Sequence[Outcome | RouteOutcome]) -> str:
    """One document on one line, without the prose."""
    return json.dumps({"faults": [{key: getattr(one, key) for key in _keys(one)} for one in outcomes]})


def _keys(one: Outcome | RouteOutcome) -> Sequence[str]:
    return KEYS if isinstance(one, Outcome) else ROUTE_KEYS


def _told(one: Outcome | RouteOutcome) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_cell(getattr(one, key))}" for key in _keys(one)[2:-1])


async def is_blind(seed: int) -> bool:
    """Whether a worker that acknowledges before its flush, and so loses bytes when it is killed, passes unseen."""
    fault = FAULTS[0]._replace(setup=Setup(worker=("-m", "tests.faults.early_ack")))
    progress.print("a worker that breaks the protocol on purpose: starting")
    return (await run_fault(fault, 4, seed, keep_logs=False)).bytes_lost == 0


async def run_one(fault: Fault | RouteFault, times: int, seed: int) -> Outcome | RouteOutcome:
    """One row; its outcome is not ok if a daemon does not do what it must. EnvironmentProblem if it cannot run here."""
    if isinstance(fault, Fault):
        try:
            return await run_fault(fault, times, seed)
        except EnvironmentProblem:
            raise
        except AutopilotError as error:
            progress.print(str(error), style="red", soft_wrap=True)
            return Outcome(fault.name, 0, 0, 0, 0, 0, None, [str(error)])
    outcome = await run_route_fault(fault, times, seed, lambda line: progress.print(f"{fault.name}: {line}"))
    for problem in outcome.problems:
        progress.print(f"  {problem}", style="red", soft_wrap=True)
    return outcome


async def run_all(chosen: list[tuple[Fault | RouteFault, int]], seed: int) -> list[Outcome | RouteOutcome]:
    outcomes = []
    for fault, times in chosen:
        progress.print(f"{fault.name}: starting")
        try:
            outcome = await run_one(fault, times, seed)
        except EnvironmentProblem as problem:
            progress.print(f"{fault.name}: not run: {problem}")
            continue
        progress.print(f"{fault.name}: {_told(outcome)}")
        outcomes.append(outcome)
    return outcomes


@click.command()
@click.option("--only", "names", multiple=True, type=click.Choice([fault.name for fault in ALL]), help="These rows.")
@click.option("--short", is_flag=True, help="A few of each kind, in minutes.")
@click.option("--times", type=click.IntRange(1), help="Instead of each row's own number.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--json", "json_", is_flag=True, help="One JSON document as the last line of stdout.")
def main(names: tuple[str, ...], short: bool, times: int | None, seed: int, json_: bool) -> None:
    """Inject faults and compare what comes out with what went in; exit code 1 where a byte differs."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # that a broker is gone is no news here
    named = [fault for fault in ALL if not names or fault.name in names]
    chosen = [(fault, times or (fault.short_times if short else fault.times)) for fault in named]
    if not (short or names) and asyncio.run(is_blind(seed)):
        raise click.ClickException("a worker that loses bytes was not seen to: none of the rows can be believed")
    outcomes = asyncio.run(run_all([(fault, count) for fault, count in chosen if count], seed))
    if json_:
        print(as_json(outcomes))
    else:
        Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(*tables(outcomes))
    sys.exit(0 if outcomes and all(one.ok for one in outcomes) else 1)


if __name__ == "__main__":
    main()
