"""The command `autopilot`: text for people, `--json` for programs (one document, the last line on stdout)."""

import asyncio
import getpass
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from app import logs
from app.clock import SystemClock
from app.config.settings import Deployment, load
from app.errors import AutopilotError, ConfigError

T = TypeVar("T")

EXIT_FAILED, EXIT_USAGE = 1, 2
PIPE_COLUMNS = 160
errors = Console(stderr=True, highlight=False)
log = logging.getLogger(__name__)


class Commands(click.Group):
    """Our errors are messages, not tracebacks; with `--json` every error is one document on stdout."""

    def invoke(self, ctx: click.Context) -> Any:
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if not as_json:
                raise
            _print_error(error.format_message(), [])
            ctx.exit(EXIT_USAGE)
        except AutopilotError as error:
            if as_json:
                _print_error(str(error), error.problems if isinstance(error, ConfigError) else [])
            else:
                errors.print(str(error), style="red", markup=False, soft_wrap=True)
            ctx.exit(exit_code(error))


def exit_code(error: AutopilotError) -> int:
    """1; a configuration that is wrong is a usage error, 2."""
    return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED


def _print_error(message: str, problems: list[str]) -> None:
    print_json({"ok": False, "error": message, "problems": problems})


@contextmanager
def worker(deployment: Deployment) -> Iterator[None]:
    """Inside, stderr is the log's alone: an error that ends the process is its last line."""
    logs.set_up(deployment.settings.log_format)
    try:
        yield
    except AutopilotError as error:
        log.critical("%s", error)
        raise SystemExit(exit_code(error)) from error


def for_people() -> Console:
    """Plain text on stdout; wide where no terminal limits it, so that tables keep their shape through a pipe."""
    limited = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, markup=False, width=None if limited else PIPE_COLUMNS)


def _print_table(lines: Iterable[str], table: Table, nothing: str) -> None:
    """What must be known before the table, then the table, or that there is `nothing` to show."""
    console = for_people()
    for line in lines:
        console.print(line, soft_wrap=True)
    console.print(table if table.row_count else nothing, soft_wrap=not table.row_count)


def print_json(document: object) -> None:
    click.echo(msgspec.json.encode(document).decode())


def with_deployment(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command `--config` and hand it the loaded deployment."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path),
        default="autopilot.toml",
        show_default=True,
        envvar="AUTOPILOT_CONFIG",
        show_envvar=True,
        help="The settings file.",
    )
    @wraps(command)
    def run(config: Path, **kwargs: Any) -> T:
        return command(load(config), **kwargs)

    return run


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, errors too.")
pop_option = click.option("--pop", default=None, help="Only this PoP; all of the deployment when left out.")
cell_option = click.option("--cell", required=True, help="The cell to run: a PoP, or a name under [cells].")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="egress-autopilot")
def main() -> None:
    """Automated egress traffic engineering: sFlow and BMP in, BGP overrides out.

    Exit codes: 0 done, 1 failed (no broker, a daemon that does not answer, a demo whose bounds do not hold), 2 wrong
    usage or configuration, 70 a worker that ended itself because its counts would become wrong: start it again.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what matters of its errors is in ours


@main.command()
@click.option(
    "--scenario",
    default="surge",
    show_default=True,
    help="surge, link-failure, no-room, leak, loop, bad-input, or the path of a file.",
)
@click.option(
    "--for",
    "seconds",
    default=None,
    type=click.IntRange(min=1),
    help="Seconds of traffic; the scenario's own when left out.",
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Seed of the simulated PoP.")
@click.option("--keep", type=click.Path(path_type=Path), help="Run in this directory and leave logs and state there.")
@json_option
def demo(scenario: str, seconds: int | None, seed: int, keep: Path | None, as_json: bool) -> None:
    """Show the whole loop on real daemons. A link congests, prefixes move, the drops stop, every move is taken back.

    Other scenarios show what must never happen, and what bad input does.
    """
    from app.lab.demo.display import Display
    from app.lab.demo.run import Options, run_demo  # Faust and gRPC are slow to import: only where needed

    with Display(live=not as_json and errors.is_terminal) as display:
        options = Options(scenario=scenario, seconds=seconds, seed=seed, run_dir=keep)
        document = asyncio.run(run_demo(options, display))
    print_json(document) if as_json else display.summary(document)
    raise SystemExit(0 if document["ok"] else EXIT_FAILED)


@main.command()
@cell_option
@click.option("--instance", help="Name of a second worker of the cell on this host: its data directory.")
@click.option("--state-port", type=click.IntRange(1, 65535), help="In place of state_port; for a second worker.")
@with_deployment
def telemetry(deployment: Deployment, cell: str, instance: str | None, state_port: int | None) -> None:
    """Run the telemetry worker of one cell. It makes windows, detects congestion and decides.

    With kafka.standby_replicas = 1 a second worker of the cell is a hot standby.
    """
    from app import telemetry as process

    deployment.cell(cell)  # a cell that is not there is wrong usage
    deployment = deployment.instance(instance, state_port)
    with worker(deployment):
        process.main(deployment, cell)


@main.command()
@cell_option
@with_deployment
def actuator(deployment: Deployment, cell: str) -> None:
    """Run the actuator of one cell. It programs its injectors with what was decided."""
    from app import actuator as process

    deployment.cell(cell)  # a cell that is not there is wrong usage
    with worker(deployment):
        process.main(deployment, cell)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on: the page has no login.")
@click.option("--truth", type=click.Path(path_type=Path), help="A demo's truth.jsonl, to draw beside the estimate.")
@with_deployment
def view(deployment: Deployment, host: str, truth: Path | None) -> None:
    """Serve the web page. Links over time, live overrides, decisions and actuations as they happen; it only reads."""
    from app import view as process

    with worker(deployment):
        process.main(deployment, host, deployment.settings.view_port, truth)


@main.command()
@click.option("--dump", is_flag=True, help="Print the effective configuration.")
@click.option("--offline", is_flag=True, help="Only the files, without asking the broker.")
@click.option("--create-topics", is_flag=True, help="First create the topics that the broker lacks.")
@json_option
@with_deployment
def check(deployment: Deployment, dump: bool, offline: bool, create_topics: bool, as_json: bool) -> None:
    """List all that is wrong with the configuration and topics."""
    from app.cli import check as checks

    if offline and create_topics:
        raise click.UsageError("--create-topics needs the broker, --offline does without")
    if create_topics:
        for name in asyncio.run(checks.create_missing(deployment)):
            errors.print(f"created {name}", markup=False)
    problems = checks.foreign_packages() if offline else asyncio.run(checks.problems_of(deployment))
    document: dict[str, object] = {"ok": not problems, "problems": problems}
    if dump:
        document["effective"] = deployment
    if as_json or dump:
        print_json(document)
    else:
        click.echo("\n".join(f"- {problem}" for problem in problems) or "all well")
    raise SystemExit(EXIT_FAILED if problems else 0)


@main.command()
@pop_option
@json_option
@with_deployment
def links(deployment: Deployment, pop: str | None, as_json: bool) -> None:
    """Show every link in its last closed window. Feed, carried, dropped and natural load, what overrides move."""
    from app.cli import show

    rows, halts = asyncio.run(show.with_halts(deployment, pop, show.latest_links))
    if as_json:
        print_json(show.marked(rows, halts))
    else:
        nothing = "no window of any link was told yet: does telemetry run, do flows arrive?"
        _print_table(show.halt_lines(halts), show.links_table(rows, SystemClock().now_s()), nothing)


@main.command()
@pop_option
@json_option
@with_deployment
def overrides(deployment: Deployment, pop: str | None, as_json: bool) -> None:
    """Show the overrides of the last decision. Which prefix leaves where, instead of where, and why."""
    from app.cli import show

    decisions, halts = asyncio.run(show.with_halts(deployment, pop, show.latest_decisions))
    if as_json:
        print_json(show.marked(decisions, halts))
    else:
        nothing = "nothing is moved" if decisions else "no decision was made yet: does telemetry run?"
        _print_table(show.halt_lines(halts), show.overrides_table(decisions), nothing)


@main.command()
@click.argument("target")
@pop_option
@json_option
@with_deployment
def explain(deployment: Deployment, target: str, pop: str | None, as_json: bool) -> None:
    """Say why a prefix, link or decision is as it is. An address means its prefix; decisions: EPOCH.SEQ, latest."""
    from app.cli import explain as answers
    from app.cli.explain_text import text

    answer = asyncio.run(answers.explain(deployment, target, pop))
    print_json(answer) if as_json else for_people().print(text(answer))


@main.command()
@pop_option
@json_option
@with_deployment
def congestion(deployment: Deployment, pop: str | None, as_json: bool) -> None:
    """Show what is congested, and was in the last hour. With the highest loads of each."""
    from app.cli import show

    rows = asyncio.run(show.recent_congestion(deployment, pop))
    print_json(rows) if as_json else _print_table([], show.congestion_table(rows), "no congestion in the last hour")


@main.command()
@pop_option
@click.option("--last", help="So far back from now: 90s, 15m, 2h, 1d; 1h when left out.")
@click.option("--since", help="From this time on, UTC: 2026-11-21T07:30:00.")
@json_option
@with_deployment
def latency(deployment: Deployment, pop: str | None, last: str | None, since: str | None, as_json: bool) -> None:
    """Show how long each step took, from onset to route. p50, p99 and max, from the timestamps of the records."""
    from app.cli import latency as answers

    if last is not None and since is not None:
        raise click.UsageError("give --last or --since, not both")
    since_s = answers.begin_s(last, since, SystemClock().now_s())
    rows = asyncio.run(answers.read_latencies(deployment, pop, since_s))
    nothing = "nothing was decided or done in that time: does telemetry run?"
    print_json(rows) if as_json else _print_table([answers.headline(since_s)], answers.latency_table(rows), nothing)


@main.command()
@click.option("--pops", required=True, type=click.IntRange(min=1), help="PoPs of the network.")
@click.option("--records-per-second", required=True, type=float, help="Flow records of each PoP.")
@click.option("--links", default=40, show_default=True, type=click.IntRange(min=1), help="Of each PoP.")
@click.option("--prefixes", default=20_000, show_default=True, type=click.IntRange(min=1), help="Of each PoP.")
@click.option("--pops-per-cell", default=1, show_default=True, type=click.IntRange(min=1), help="That share a worker.")
@click.option("--retention-hours", default=24.0, show_default=True, type=float, help="Of the flow topics.")
@json_option
def size(as_json: bool, **asked: Any) -> None:
    """Say what a network needs. Brokers, partitions, disk, cells, CPU and memory, and the constants they come from."""
    from app.cli import sizing

    constants = sizing.load_constants()
    figures = sizing.size(sizing.NetworkSize(**asked), constants)
    if as_json:
        print_json({"asked": asked, "figures": figures, "constants": constants})
    else:
        _print_table([], sizing.figures_table(figures), "")
        _print_table([], sizing.constants_table(constants), "")


@main.command()
@pop_option
@with_deployment
def watch(deployment: Deployment, pop: str | None) -> None:
    """Show links and overrides live, until Ctrl-C."""
    from app.cli import watch as screen

    with suppress(KeyboardInterrupt):
        asyncio.run(screen.watch(deployment, pop, for_people(), SystemClock()))


@main.command()
@click.option("--seed", type=click.IntRange(min=0), help="Run this one, telling on stderr all that happens.")
@click.option("--seeds", type=click.IntRange(min=1), help="Run so many, from seed 0 on, on all processors.")
@click.option("--faults", is_flag=True, help="With crashes, freezes, lost answers, flapping paths and bad feeds.")
@click.option("--digest", is_flag=True, help="With --seeds: also the SHA-256 of all events. Equal digests, equal runs.")
@click.option("--log", "log_file", type=click.Path(path_type=Path), help="With --seeds: write all events to this file.")
@json_option
def simulate(
    seed: int | None, seeds: int | None, faults: bool, digest: bool, log_file: Path | None, as_json: bool
) -> None:
    """Run the whole loop in virtual time and check its invariants. No Kafka, no daemons; a seed repeats exactly."""
    from app.simulation.campaign import EventLog, run_many, run_one
    from app.simulation.report import summary, text

    if (seed is None) == (seeds is None):
        raise click.UsageError("give either --seed or --seeds")
    if seed is not None:
        if digest or log_file:
            raise click.UsageError("--digest and --log go with --seeds")
        document = summary(run_one(seed, faults))
    else:
        events = EventLog(log_file) if digest or log_file else None
        progress = partial(errors.print, markup=False)
        document = run_many(range(seeds or 0), faults, SystemClock(), progress, events)
    print_json(document) if as_json else click.echo(text(document))
    raise SystemExit(EXIT_FAILED if document["violations"] else 0)


def _order(deployment: Deployment, pop: str | None, halted: bool) -> None:
    from app.cli.show import chosen
    from app.kafka.orders import ALL, send_control

    chosen(deployment, pop)
    kafka = deployment.settings.kafka
    asyncio.run(send_control(kafka, pop or ALL, halted, getpass.getuser(), SystemClock()))
    click.echo(f"{'halted' if halted else 'resumed'}: {pop or 'every PoP'}")


@main.command()
@pop_option
@with_deployment
def halt(deployment: Deployment, pop: str | None) -> None:
    """Withdraw every override and make no new ones, until `resume`."""
    _order(deployment, pop, halted=True)


@main.command()
@pop_option
@with_deployment
def resume(deployment: Deployment, pop: str | None) -> None:
    """Let the actuators work again."""
    _order(deployment, pop, halted=False)
