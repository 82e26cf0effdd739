"""Many PoPs on one machine: `python -m tests.bench.pops --pops 100 --cells 1,4,10 --minutes 10`.

One broker, one process that stands for all collectors, and real `python -m app telemetry` workers, cells of one size
after the other; beside them one actuator in dry-run. Each PoP is that of network.py, with routes to the prefixes that
its flows go to. A run holds when lag stayed flat and the generator was not late; `--pops 60 --pops 80 --pops 100` goes
on to the first number that does not. Exit code 1 where one did not hold.

`--write` puts the constants into app/cli/sizing.toml. For these come, in cells of the largest size, fewer PoPs with
more records each, and as many PoPs without records and routes: the differences are what records and prefixes cost.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from app.cli.output import PIPE_COLUMNS
from app.cli.sizing import FILE, Constants, load_constants
from app.errors import AutopilotError
from tests.bench.popfeed import Recording
from tests.bench.popfigures import LATE_MAX_S, Measured, bottleneck, measured_constants, split, to_toml
from tests.bench.poprig import DENSER, Rig
from tests.bench.traffic import WINDOW_S

progress = Console(stderr=True, highlight=False)
SHORT_S = 120.0  # of the runs that only tell costs
STEP = 500  # records a second: purges are whole blocks of 1,000 records


class Outcome(msgspec.Struct, frozen=True):
    """Runs by size of cell, smallest first; for constants one of fewer PoPs with more records, and one without any."""

    runs: Sequence[Measured]
    dense: Measured | None
    quiet: Measured | None
    record_bytes: float
    path_bytes: float

    @property
    def all(self) -> Sequence[Measured]:
        return [run for run in (*self.runs, self.dense, self.quiet) if run]


async def run_all(
    numbers: Sequence[int],
    records_per_s: int,
    sizes: Sequence[int],
    flows: int,
    warm_s: float,
    seconds: float,
    for_constants: bool,
) -> Outcome:
    """Every size of cells with each number of PoPs, up to the first that does not hold."""
    runs: list[Measured] = []
    async with Rig(numbers[-1], records_per_s, flows) as rig:

        async def measure(pops: Sequence[str], recording: Recording, size: int, for_s: float) -> Measured:
            progress.print(f"{len(pops)} PoPs of {recording.records_per_s} records/s in cells of {size}: {for_s:g} s")
            run = await rig.measure(pops, recording, min(size, len(pops)), warm_s, for_s)
            progress.print(verdict(run), soft_wrap=True)
            return run

        for number in numbers:
            runs += [await measure(rig.pops[:number], rig.recording, size, seconds) for size in sizes]
            if not all(run.holds for run in runs):
                break
        dense = quiet = None
        if for_constants and all(run.holds for run in runs):
            short_s, fewer = min(seconds, SHORT_S), rig.pops[: max(1, len(rig.pops) // DENSER)]
            dense = await measure(fewer, rig.dense, sizes[-1], short_s)
            quiet = await measure(rig.quiet, rig.silence, sizes[-1], short_s)
        return Outcome(runs, dense, quiet, rig.recording.record_bytes, rig.path_bytes)


def verdict(run: Measured) -> str:
    """In one line; lag and its slope say whether it holds, the bottleneck why not."""
    of = f"{run.pops} PoPs of {run.records_per_s} records/s in cells of {run.pops_per_cell}"
    lag = f"lag {run.lag_early_s:.1f} s, then {run.lag_late_s:.1f} ({run.lag_slope:+.2f} s a minute)"
    held = "holds" if run.holds else "does not hold"
    return f"{of}: {held} for {run.seconds:g} s: {lag}; bottleneck: {bottleneck(run)}"


def table(runs: Sequence[Measured]) -> Table:
    """For people; CPU and memory are those of telemetry workers."""
    kind = "PoPs", "a cell", "records/s a PoP"
    costs = "CPU s a PoP-second", "MiB a PoP", "MiB a worker", "busiest worker", "broker cores"
    shown = Table(*kind, "lag early s", "late s", "holds", *costs)
    for run in runs:
        lag = (f"{run.lag_early_s:.1f}", f"{run.lag_late_s:.1f}", "yes" if run.holds else "no")
        a_pop = (f"{run.cores_a_pop:.4f}", f"{run.mib_a_pop:.1f}", f"{run.worker_mib / run.cells:.0f}")
        rest = (f"{run.busiest_worker_cores:.2f}", f"{run.broker_cores:.2f}")
        shown.add_row(str(run.pops), str(run.pops_per_cell), str(run.records_per_s), *lag, *a_pop, *rest)
    return shown


def one_more(runs: Sequence[Measured]) -> dict[str, float] | None:
    """What the next PoP costs in a cell that has room, and in a cell of its own; None of one size of cells."""
    cores, mib = split(runs, [run.cores_a_pop for run in runs]), split(runs, [run.mib_a_pop for run in runs])
    if cores is None or mib is None:
        return None
    return {
        "cores_in_a_cell": round(cores.per_pop, 5),
        "mib_in_a_cell": round(mib.per_pop, 2),
        "cores_alone": round(cores.per_pop + cores.per_cell, 5),
        "mib_alone": round(mib.per_pop + mib.per_cell, 2),
    }


def unfit(outcome: Outcome) -> list[str]:
    """Why no constants come of it: workers that are behind do less than their work, or more of it at once."""
    lagging = [f"lag in cells of {run.pops_per_cell} was not flat" for run in outcome.all if not run.flat]
    late = (run.late_s for run in outcome.all)
    return lagging + [f"the generator was {late_s:.1f} s late" for late_s in late if late_s > LATE_MAX_S]


def write(outcome: Outcome, path: Path = FILE) -> None:
    """Put what was measured into app/cli/sizing.toml; what is chosen stays."""
    first = outcome.runs[0]
    of = f"{first.pops} PoPs of {first.records_per_s} records/s"
    assert outcome.dense is not None, "run for constants"
    assert outcome.quiet is not None, "run for constants"
    new = measured_constants(outcome.runs, outcome.dense, outcome.quiet, outcome.record_bytes, outcome.path_bytes, of)
    constants: Constants = msgspec.structs.replace(load_constants(path), **new)
    path.write_text(to_toml(constants), encoding="utf-8")


def sizes_of(text: str) -> list[int]:
    """Of "1,4,10", smallest first; click.BadParameter of anything else."""
    try:
        sizes = sorted({int(part) for part in text.split(",")})
    except ValueError:
        sizes = [0]
    if sizes[0] < 1:
        raise click.BadParameter(f"{text!r} must be numbers of PoPs, like 1,4,10", param_hint="--cells")
    return sizes


def show(outcome: Outcome, more: dict[str, float] | None) -> None:
    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)
    console.print(table(outcome.all))
    for run in outcome.all:
        lags = " ".join(f"{lag:g}" for lag in run.lag_s)
        console.print("\n".join([verdict(run), f"lag s: {lags}", *run.ended]), soft_wrap=True)
    if more:
        console.print("PoP N+1: " + ", ".join(f"{name} {value:g}" for name, value in more.items()))


@click.command(help=__doc__)
@click.option(
    "--pops", "numbers", type=click.IntRange(1), multiple=True, default=(100,), show_default=True, help="Or several."
)
@click.option("--records-per-second", type=click.IntRange(STEP), default=2000, show_default=True, help="Of each PoP.")
@click.option("--cells", default="1,4,10", show_default=True, help="Sizes of cells, in PoPs.")
@click.option("--minutes", type=click.FloatRange(0.5, 60), default=10.0, show_default=True, help="Of each size.")
@click.option("--warm-seconds", type=click.FloatRange(0, 600), default=45.0, show_default=True, help="Before each.")
@click.option("--flows", type=click.IntRange(100, 300_000), default=4000, show_default=True, help="Of a PoP.")
@click.option("--write", "writes", is_flag=True, help="Put the constants into app/cli/sizing.toml; takes two sizes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document as the last line of stdout.")
def main(
    numbers: tuple[int, ...],
    records_per_second: int,
    cells: str,
    minutes: float,
    warm_seconds: float,
    flows: int,
    writes: bool,
    as_json: bool,
) -> None:
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # a fresh broker makes its topics first
    numbers = tuple(sorted(set(numbers)))
    sizes = sorted({min(size, numbers[-1]) for size in sizes_of(cells)})
    if records_per_second % STEP:
        raise click.BadParameter(f"must be a multiple of {STEP}", param_hint="--records-per-second")
    if writes and (len(sizes) < 2 or len(numbers) > 1):
        raise click.UsageError("--write takes one --pops and at least two sizes of --cells up to it")
    try:
        seconds = round(minutes * 60 / WINDOW_S) * WINDOW_S  # else a window more or less is in what is written
        outcome = asyncio.run(run_all(numbers, records_per_second, sizes, flows, warm_seconds, seconds, writes))
    except AutopilotError as error:
        raise click.ClickException(str(error)) from error
    more = one_more(outcome.runs) if len(numbers) == 1 else None
    show(outcome, more)
    if writes:
        if wrong := unfit(outcome):
            raise click.ClickException("\n".join(["nothing is written:", *wrong]))
        write(outcome)
    if as_json:
        told = [
            msgspec.to_builtins(run) | {"flat": run.flat, "holds": run.holds, "bottleneck": bottleneck(run)}
            for run in outcome.all
        ]
        print(json.dumps({"runs": told, "one_more": more}))
    raise SystemExit(0 if all(run.holds for run in outcome.runs) else 1)


if __name__ == "__main__":
    main()
