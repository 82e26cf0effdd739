"""The RIB at full table: `python -m tests.bench.fulltable [--prefixes N] [--only process|worker] [--json]`.

Three peers announce N prefixes (tests/bench/internet.py) to the routes state in process, in CPU seconds
(tests/bench/fullprocess.py), and to a real worker with a real broker, by the clock (tests/bench/fullworker.py).
"""

import asyncio
import json
from collections.abc import Callable

import click

from tests.bench import fullprocess, fullworker, internet

Figures = dict[str, float]


def in_worker(prefixes: int) -> Figures:
    return asyncio.run(fullworker.measure(prefixes))


PARTS: dict[str, Callable[[int], Figures]] = {"process": fullprocess.measure, "worker": in_worker}


@click.command()
@click.option("--prefixes", default=internet.FULL, show_default=True, help="how many, with three peers each")
@click.option("--only", type=click.Choice(list(PARTS)), help="one part: in this process, or a real worker and broker")
@click.option("--json", "as_json", is_flag=True, help="the figures as the last line")
def main(prefixes: int, only: str | None, as_json: bool) -> None:
    """The RIB at full table."""
    figures: Figures = {"prefixes": prefixes, "paths": prefixes * len(internet.PEERS)}
    for name, part in PARTS.items():
        if only in (None, name):
            figures |= part(prefixes)
    figures = {name: round(value, 4) for name, value in figures.items()}
    if as_json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:36} {value:14,.3f}")


if __name__ == "__main__":
    main()
