"""Many PoPs on one machine: `python -m tests.bench.pops --pops 100 --cells 1,4,10 --minutes 10`.

One broker, one process that stands for all collectors, and real `python -m app telemetry` workers, cells of one size
after the other; beside them one actuator in dry-run. Each PoP is that of network.py, with routes to the prefixes that
its flows go to. Last come, in cells of the largest size, fewer PoPs with more records each, and as many PoPs without
records and routes: the differences are what records and prefixes cost. Exit code 1 where lag was not flat. `--write`
puts the constants into app/sizing.toml.
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

from app.cli import PIPE_COLUMNS
from app.errors import AutopilotError
from app.sizing import FILE, Constants, load_constants
from tests.bench.popfigures import LATE_MAX_S, Measured, bottleneck, measured_constants, split, to_toml
from tests.bench.poprig import DENSER, Rig
from tests.bench.traffic import WINDOW_S

progress = Console(stderr=True, highlight=False)
SHORT_S = 120.0  # of the runs that only tell costs
STEP = 500  # records a second: purges are whole blocks of 1,000 records


class Outcome(msgspec.Struct, frozen=True):
    """Runs by size of cell, smallest first; then the one of fewer PoPs with more records, and the one without."""

    runs: Sequence[Measured]
    dense: Measured
    quiet: Measured
    record_bytes: float
    path_bytes: float

    @property
    def all(self) -> Sequence[Measured]:
        return [*self.runs, self.dense, self.quiet]


async def run_all(
    pops: int, records_per_s: int, sizes: Sequence[int], flows: int, warm_s: float, seconds: float
) -> Outcome:
    """Every size of cells, then the largest with more records of fewer PoPs, and without records."""
    runs, short_s = [], min(seconds, SHORT_S)
    async with Rig(pops, records_per_s, flows) as rig:
        for size in sizes:
            progress.print(f"{pops} PoPs in cells of {size}: {seconds:g} s")
            runs.append(await rig.measure(rig.pops, rig.recording, size, warm_s, seconds))
        fewer = rig.pops[: max(1, pops // DENSER)]
        progress.print(f"{len(fewer)} PoPs with {DENSER} times the records: {short_s:g} s")
        dense = await rig.measure(fewer, rig.dense, min(sizes[-1], len(fewer)), warm_s, short_s)
        progress.print(f"{pops} PoPs without records: {short_s:g} s")
        quiet = await rig.measure(rig.quiet, rig.silence, sizes[-1], warm_s, short_s)
        return Outcome(runs, dense, quiet, rig.recording.record_bytes, rig.path_bytes)


def table(runs: Sequence[Measured]) -> Table:
    """For people; CPU and memory are those of telemetry workers."""
    names = (
        "PoPs a cell",
        "cells",
        "records/s a PoP",
        "lag early s",
        "late s",
        "flat",
        "CPU s a PoP-second",
        "MiB a PoP",
        "MiB a worker",
    )
    shown = Table(*names, "busiest worker", "broker cores", "bottleneck")
    for run in runs:
        figures = (f"{run.lag_early_s:.1f}", f"{run.lag_late_s:.1f}", "yes" if run.flat else "no")
        costs = (f"{run.cores_a_pop:.4f}", f"{run.mib_a_pop:.1f}", f"{run.worker_mib / run.cells:.0f}")
        rest = (f"{run.busiest_worker_cores:.2f}", f"{run.broker_cores:.2f}", bottleneck(run))
        kind = (str(run.pops_per_cell), str(run.cells), str(run.records_per_s))
        shown.add_row(*kind, *figures, *costs, *rest)
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
    """Put what was measured into app/sizing.toml; what is chosen stays."""
    first = outcome.runs[0]
    of = f"{first.pops} PoPs of {first.records_per_s} records/s"
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
        console.print(f"cells of {run.pops_per_cell}: lag s: {' '.join(f'{lag:g}' for lag in run.lag_s)}")
        for ended in run.ended:
            console.print(ended)
    if more:
        console.print("PoP N+1: " + ", ".join(f"{name} {value:g}" for name, value in more.items()))


@click.command(help=__doc__)
@click.option("--pops", type=click.IntRange(1), default=100, show_default=True)
@click.option("--records-per-second", type=click.IntRange(STEP), default=2000, show_default=True, help="Of each PoP.")
@click.option("--cells", default="1,4,10", show_default=True, help="Sizes of cells, in PoPs.")
@click.option("--minutes", type=click.FloatRange(0.5, 60), default=10.0, show_default=True, help="Of each size.")
@click.option("--warm-seconds", type=click.FloatRange(0, 600), default=45.0, show_default=True, help="Before each.")
@click.option("--flows", type=click.IntRange(100, 300_000), default=4000, show_default=True, help="Of a PoP.")
@click.option("--write", "writes", is_flag=True, help="Put the constants into app/sizing.toml; takes two sizes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document as the last line of stdout.")
def main(
    pops: int,
    records_per_second: int,
    cells: str,
    minutes: float,
    warm_seconds: float,
    flows: int,
    writes: bool,
    as_json: bool,
) -> None:
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # a fresh broker makes its topics first
    sizes = [size for size in sizes_of(cells) if size <= pops]
    if records_per_second % STEP:
        raise click.BadParameter(f"must be a multiple of {STEP}", param_hint="--records-per-second")
    if writes and len(sizes) < 2:
        raise click.UsageError("--write takes at least two sizes of --cells that are not above --pops")
    try:
        seconds = round(minutes * 60 / WINDOW_S) * WINDOW_S  # else a window more or less is in what is written
        outcome = asyncio.run(run_all(pops, records_per_second, sizes, flows, warm_seconds, seconds))
    except AutopilotError as error:
        raise click.ClickException(str(error)) from error
    more = one_more(outcome.runs)
    show(outcome, more)
    if writes:
        if wrong := unfit(outcome):
            raise click.ClickException("\n".join(["nothing is written:", *wrong]))
        write(outcome)
    if as_json:
        told = [msgspec.to_builtins(run) | {"flat": run.flat, "bottleneck": bottleneck(run)} for run in outcome.all]
        print(json.dumps({"runs": told, "one_more": more}))
    raise SystemExit(0 if all(run.flat for run in outcome.runs) else 1)


if __name__ == "__main__":
    main()
