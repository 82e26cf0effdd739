"""`python -m tests.faults`: every fault against the real telemetry worker, and what it cost in bytes."""

import asyncio
import json
import logging
import sys

import click
import msgspec
from rich.console import Console
from rich.table import Table

from app.cli.output import PIPE_COLUMNS
from app.errors import AutopilotError, EnvironmentProblem
from tests.faults.outcome import Outcome, judge
from tests.faults.rig import Rig, Setup
from tests.faults.rows import FAULTS, Fault

progress = Console(stderr=True, highlight=False)
COLUMNS = ("fault", "times", "bytes lost", "bytes doubled", "windows wrong", "seconds to correct")


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


def table(outcomes: list[Outcome]) -> Table:
    """For people."""
    shown = Table(*COLUMNS)
    for one in outcomes:
        seconds = "never" if one.seconds_to_correct is None else f"{one.seconds_to_correct:.1f}"
        style = "" if one.ok else "red"
        figures = (one.bytes_lost, one.bytes_doubled, one.windows_wrong)
        shown.add_row(one.fault, str(one.times), *(f"{figure:,}" for figure in figures), seconds, style=style)
    return shown


def as_json(outcomes: list[Outcome]) -> str:
    """One document on one line, without the prose."""
    keys = ("fault", "times", "bytes_lost", "bytes_doubled", "windows_wrong", "seconds_to_correct")
    return json.dumps({"faults": [{key: msgspec.structs.asdict(one)[key] for key in keys} for one in outcomes]})


def _told(one: Outcome) -> str:
    return f"lost {one.bytes_lost:,}, doubled {one.bytes_doubled:,}, wrong {one.windows_wrong:,}"


async def is_blind(seed: int) -> bool:
    """Whether a worker that acknowledges before its flush, and so loses bytes when it is killed, passes unseen."""
    fault = FAULTS[0]._replace(setup=Setup(worker=("-m", "tests.faults.early_ack")))
    progress.print("a worker that breaks the protocol on purpose: starting")
    return (await run_fault(fault, 4, seed, keep_logs=False)).bytes_lost == 0


async def run_all(chosen: list[tuple[Fault, int]], seed: int) -> list[Outcome]:
    outcomes = []
    for fault, times in chosen:
        progress.print(f"{fault.name}: starting")
        try:
            outcome = await run_fault(fault, times, seed)
        except EnvironmentProblem as problem:
            progress.print(f"{fault.name}: not run: {problem}")
            continue
        except AutopilotError as error:
            outcome = Outcome(fault.name, 0, 0, 0, 0, None, [str(error)])
            progress.print(str(error), style="red", soft_wrap=True)
        progress.print(f"{fault.name}: {_told(outcome)}")
        outcomes.append(outcome)
    return outcomes


@click.command()
@click.option("--only", "names", multiple=True, type=click.Choice([fault.name for fault in FAULTS]), help="These rows.")
@click.option("--short", is_flag=True, help="A few of each kind, in minutes.")
@click.option("--times", type=click.IntRange(1), help="Instead of each row's own number.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--json", "json_", is_flag=True, help="One JSON document as the last line of stdout.")
def main(names: tuple[str, ...], short: bool, times: int | None, seed: int, json_: bool) -> None:
    """Inject faults and compare what comes out with what went in; exit code 1 where a byte differs."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # that a broker is gone is no news here
    named = [fault for fault in FAULTS if not names or fault.name in names]
    chosen = [(fault, times or (fault.short_times if short else fault.times)) for fault in named]
    if not (short or names) and asyncio.run(is_blind(seed)):
        raise click.ClickException("a worker that loses bytes was not seen to: none of the rows can be believed")
    outcomes = asyncio.run(run_all([(fault, count) for fault, count in chosen if count], seed))
    if json_:
        print(as_json(outcomes))
    else:
        Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(table(outcomes))
    sys.exit(0 if outcomes and all(one.ok for one in outcomes) else 1)


if __name__ == "__main__":
    main()
