"""`python -m tests.leaks`: random decisions, hostile ones among them, against real edges. Exit code 1 if one leaks."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable

import click
import msgspec
from rich.console import Console

from app.clock import SystemClock
from tests.leaks.hostile import Sets
from tests.leaks.rig import Rig
from tests.leaks.tail import Heard
from tests.leaks.watch import Outside

SETS = 10_000
REPORT_S = 10.0

progress = Console(stderr=True, highlight=False)


def say(line: str) -> None:
    """Report to whoever watches the run."""
    progress.print(line, soft_wrap=True, markup=False)


class Outcome(msgspec.Struct, frozen=True):
    """What a run found. `outside_rib` counts routes that copy no path that a neighbour announces to that router."""

    sets: int
    leaks: int
    outside_rib: int
    crashed: int
    resets: int

    @property
    def ok(self) -> bool:
        return not (self.leaks or self.outside_rib or self.crashed or self.resets)


class Run(msgspec.Struct, frozen=True):
    """The outcome, and what it is made of."""

    outcome: Outcome
    leaks: list[Heard]
    outside: list[Outside]
    unreadable: int
    journal: dict[str, int]
    seconds: float


async def run(
    sets: int, seed: int, *, leaky: bool = False, lying: bool = False, report: Callable[[str], None] = lambda line: None
) -> Run:
    """Follow so many decisions. In the fifth in the middle the edges strip NO_EXPORT, and with `leaky` all along."""
    clock, unreadable = SystemClock(), 0
    async with Rig(leaky, lying) as rig:
        made = Sets(rig.pop, rig.truth, seed, round(clock.now_s()))
        begun_s = reported_s = clock.monotonic_s()
        stripped = range(0, sets) if leaky else range(sets * 2 // 5, sets * 3 // 5)
        for number in range(sets):
            if number in (stripped.start, stripped.stop):
                await rig.strip(number in stripped)
            unreadable += await rig.follow(made.next(clock.now_s())) is not None
            if rig.has_ended:
                break
            if clock.monotonic_s() - reported_s > REPORT_S:
                reported_s = clock.monotonic_s()
                found = f"{len(rig.watch.leaks)} leaks, {len(rig.watch.outside)} outside, {rig.watch.resets} resets"
                report(f"{reported_s - begun_s:.0f} s: {number + 1:,} sets, {found}")
        if not rig.has_ended:
            await rig.drain()
        watch = rig.watch
        outcome = Outcome(number + 1, len(watch.leaks), len(watch.outside), rig.crashed, watch.resets)
        journal = dict(rig.journal.counts.most_common())
        seconds = clock.monotonic_s() - begun_s
        return Run(outcome, watch.leaks, sorted(watch.outside), unreadable, journal, seconds)


@click.command()
@click.option("--sets", type=click.IntRange(1), default=SETS, show_default=True, help="How many decisions.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--plant", type=click.Choice(["policy", "rib"]), help="Break the export policy, or what BMP shows.")
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout, and nothing else.")
def main(sets: int, seed: int, plant: str | None, json_: bool) -> None:
    """Whether a route of ours leaks, or stands where no neighbour announces its prefix; exit code 1 if so."""
    logging.disable(logging.ERROR)  # what the actuator logs of hostile decisions is what this is about
    found = asyncio.run(run(sets, seed, leaky=plant == "policy", lying=plant == "rib", report=say))
    outcome = found.outcome
    for heard in found.leaks[:20]:
        say(f"leaked to {heard.neighbour}: {heard.prefix} {heard.as_path} {heard.communities}")
    for route in found.outside[:20]:
        say(f"outside the RIB of {route.router}: {route.prefix} > {route.next_hop}")
    say(f"{found.seconds:.0f} s, {found.unreadable:,} records were dead letters; {found.journal}")
    if json_:
        print(json.dumps(msgspec.structs.asdict(outcome)))
    else:
        print(", ".join(f"{count:,} {key}" for key, count in msgspec.structs.asdict(outcome).items()))
    sys.exit(0 if outcome.ok else 1)


if __name__ == "__main__":
    main()
