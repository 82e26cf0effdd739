"""The command `autopilot`: it prints text for people, and with `--json` one document as the last line on stdout."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from app import logs
from app.cli.control import halt, reload, resume
from app.cli.options import cell_option, json_option, pop_option, with_deployment, with_files
from app.cli.output import (
    errors,
    for_people,
    print_error,
    print_json,
    print_lines,
    print_table,
    print_what_can_be_printed,
)
from app.cli.reap import reaper
from app.cli.rendering import render
from app.cli.signing_keys import keys
from app.cli.site import site
from app.cli.state import state
from app.clock import SystemClock
from app.config.settings import Deployment
from app.errors import AutopilotError, ConfigError

EXIT_FAILED, EXIT_USAGE = 1, 2
log = logging.getLogger(__name__)


class Commands(click.Group):
    """The group of all commands. Our errors are printed as messages; with `--json` as one document on stdout."""

    def invoke(self, ctx: click.Context) -> Any:
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if not as_json:
                raise
            print_error(error.format_message(), [])
            ctx.exit(EXIT_USAGE)
        except AutopilotError as error:
            if as_json:
                print_error(str(error), error.problems if isinstance(error, ConfigError) else [])
            else:
                errors.print(str(error), style="red", markup=False, soft_wrap=True)
            ctx.exit(exit_code(error))


def exit_code(error: AutopilotError) -> int:
    """Return the exit code of an error: 2 for a wrong configuration, which is a usage error, else 1."""
    return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED


@contextmanager
def worker(deployment: Deployment) -> Iterator[None]:
    """Set up logging for a worker. Inside the block only the log writes to stderr; a fatal error is its last line."""
    logs.set_up(deployment.settings.log_format)
    try:
        yield
    except AutopilotError as error:
        log.critical("%s", error)
        raise SystemExit(exit_code(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="egress-autopilot")
def main() -> None:
    """Automated egress traffic engineering: sFlow and BMP in, BGP overrides out.

    Exit codes: 0 done; 1 failed (no broker, no answer from a daemon, a demo that misses its bounds); 2 wrong usage or
    configuration; 70 a worker ended itself, so that counts stay right or because it stood still: start it again;
    75 a worker ended itself because it had been frozen: start it again.
    """
    print_what_can_be_printed()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our own errors say what matters


for command in (render, reaper, halt, resume, reload, state, keys, site):
    main.add_command(command)


@main.command()
@click.option(
    "--scenario",
    default="surge",
    show_default=True,
    help="surge, link-failure, no-room, leak, loop, bad-input, or the path of a scenario file.",
)
@click.option(
    "--for",
    "seconds",
    default=None,
    type=click.IntRange(min=1),
    help="How many seconds of traffic to send (default: as the scenario says).",
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Seed of the simulated PoP.")
@click.option(
    "--secure",
    is_flag=True,
    help="Certificates for every client of the broker, each of which may do only what it needs.",
)
@click.option("--keep", type=click.Path(path_type=Path), help="Run in this directory, and keep logs and state there.")
@json_option
def demo(scenario: str, seconds: int | None, seed: int, keep: Path | None, as_json: bool, secure: bool) -> None:
    """Run the whole loop on real daemons. A link congests, prefixes move, the drops stop, every move is taken back.

    Other scenarios show what must never happen, and what bad input does. As root it runs as user nobody.
    """
    from app.lab.demo import ordinary_user
    from app.lab.pop.scenario import is_path

    words = ["--scenario", str(ordinary_user.reached(Path(scenario))) if is_path(scenario) else scenario]
    words += ["--for", str(seconds)] if seconds else []
    words += ["--keep", str(keep.absolute())] if keep else []
    words += ["--json"] if as_json else []
    ordinary_user.become(["demo", *words, "--seed", str(seed)])

    from app.lab.demo.display import Display
    from app.lab.demo.run import Options, run_demo  # Faust and gRPC are slow to import, so only when needed

    with Display(live=not as_json and errors.is_terminal) as display:
        options = Options(scenario=scenario, seconds=seconds, seed=seed, run_dir=keep, secure=secure)
        document = asyncio.run(run_demo(options, display))
    if as_json:
        print_json(document)
    else:
        display.summary(document)
    raise SystemExit(0 if document["ok"] else EXIT_FAILED)


@main.command()
@cell_option
@click.option("--instance", help="Name of a second worker of the cell on this host; it gets its own data directory.")
@click.option("--state-port", type=click.IntRange(1, 65535), help="Port of a second worker, instead of state_port.")
@with_files
def telemetry(read: Callable[[], Deployment], cell: str, instance: str | None, state_port: int | None) -> None:
    """Run the telemetry worker of one cell. It counts traffic by window, detects congestion and decides.

    With kafka.standby_replicas = 1 a second worker of the cell is a hot standby. At SIGHUP it takes over a changed
    configuration (see `reload`).
    """
    from app.reload import hold

    hold()
    from app import telemetry as process

    def read_instance() -> Deployment:
        return read().instance(instance, state_port)

    deployment = read_instance()
    deployment.cell(cell)  # an unknown cell is wrong usage
    with worker(deployment):
        process.main(deployment, cell, read_instance)


@main.command()
@cell_option
@with_files
def actuator(read: Callable[[], Deployment], cell: str) -> None:
    """Run the actuator of one cell. It carries decisions out through the gobgpd beside each router.

    At SIGHUP it takes over a changed configuration (see `reload`).
    """
    from app.reload import hold

    hold()
    from app import actuator as process

    deployment = read()
    deployment.cell(cell)  # an unknown cell is wrong usage
    with worker(deployment):
        process.main(deployment, cell, read)


@main.command()
@click.option("--host", help="Address to serve on, instead of `http.listen`. The page has no login.")
@click.option("--truth", type=click.Path(path_type=Path), help="A demo's truth.jsonl, to draw beside the estimate.")
@with_deployment
def view(deployment: Deployment, host: str | None, truth: Path | None) -> None:
    """Serve the web page. It shows links over time, overrides, decisions and actuations live, and is read-only."""
    from app import view as process

    with worker(deployment):
        process.main(deployment, host or deployment.settings.http.listen, deployment.settings.view_port, truth)


@main.command()
@click.option("--dump", is_flag=True, help="Print the effective configuration, as JSON.")
@click.option("--offline", is_flag=True, help="Check only the files, without asking the broker.")
@click.option("--create-topics", is_flag=True, help="Create the topics that the broker lacks, and check only them.")
@click.option(
    "--router-config",
    "router_configs",
    metavar="ROUTER=WHERE",
    multiple=True,
    help="Read this router's policies too: a file with FRR's running configuration, the folder of its vty sockets, or"
    " the gRPC address of a gobgpd that is the router itself. May be repeated.",
)
@json_option
@with_deployment
def check(
    deployment: Deployment,
    dump: bool,
    offline: bool,
    create_topics: bool,
    router_configs: tuple[str, ...],
    as_json: bool,
) -> None:
    """List every problem of the configuration, the topics, the policies and the running parts, and what to do about
    each.
    """
    from app.cli import check as checks
    from app.cli.policies import by_router

    if offline and create_topics:
        raise click.UsageError("--create-topics needs the broker: leave out --offline")
    configs = by_router(deployment.pops, router_configs)
    if create_topics:
        for name in asyncio.run(checks.create_missing(deployment)):
            errors.print(f"created {name}", markup=False)
    if offline:
        found = asyncio.run(checks.offline_report(deployment, configs))
    else:
        found = asyncio.run(checks.report(deployment, SystemClock(), not create_topics, configs))
    if as_json or dump:
        effective = {"effective": deployment} if dump else {}
        print_json({"ok": not found.problems, **msgspec.structs.asdict(found), **effective})
    else:
        problems = [f"- {problem}" for problem in found.problems]
        lines = [*checks.sentences(found), *problems, *checks.sentences_on_keys_and_marks(found)]
        lines += [] if found.problems else ["No problems found."]
        click.echo("\n".join([*lines, *(f"WARNING: {warning}" for warning in found.warnings)]))
    raise SystemExit(EXIT_FAILED if found.problems else 0)


@main.command()
@pop_option
@json_option
@with_deployment
def links(deployment: Deployment, pop: str | None, as_json: bool) -> None:
    """Show the newest window of every link. It lists its feed, its loads, and what overrides move from and to it."""
    from app.cli import show
    from app.cli.situation import link_documents, with_situation

    now_s = SystemClock().now_s()
    rows, now = asyncio.run(with_situation(deployment, pop, now_s, show.latest_links))
    if as_json:
        print_json(link_documents(rows, now))
    else:
        print_table(now.lines(), show.links_table(rows, now_s), "")


@main.command()
@pop_option
@json_option
@with_deployment
def overrides(deployment: Deployment, pop: str | None, as_json: bool) -> None:
    """Show the overrides of the newest decision: where each prefix leaves, instead of where, and whether it does."""
    from app.cli import show
    from app.cli.situation import decision_documents, with_situation

    now_s = SystemClock().now_s()
    (decisions, states), now = asyncio.run(with_situation(deployment, pop, now_s, show.decisions_with_states))
    if as_json:
        print_json(decision_documents(decisions, states, now))
    else:
        lines = [*now.lines(), *show.overrides_lines(decisions, states)]
        empty = show.NO_OVERRIDE if decisions else show.NO_DECISION
        print_table(lines, show.overrides_table(decisions, states), empty)


@main.command()
@click.argument("target")
@pop_option
@json_option
@with_deployment
def explain(deployment: Deployment, target: str, pop: str | None, as_json: bool) -> None:
    """Explain a prefix, a link or a decision. TARGET is a prefix, an address in it, a link, EPOCH.SEQ or latest."""
    from app.cli import explain as answers
    from app.cli.explain_text import text

    answer, now = asyncio.run(answers.explain_now(deployment, target, pop, SystemClock().now_s()))
    if as_json:
        print_json(answers.document(answer, now))
    else:
        print_lines(now.lines())
        for_people().print(text(answer))


@main.command()
@pop_option
@json_option
@with_deployment
def congestion(deployment: Deployment, pop: str | None, as_json: bool) -> None:
    """Show open congestion, and that of the last hour. It lists the newest and the highest loads of each."""
    from app.cli import show
    from app.cli.situation import congestion_documents, with_situation

    now_s, window_s = SystemClock().now_s(), deployment.settings.windows.length_s
    read = partial(show.recent_congestion, now_s=now_s)
    pops, now = asyncio.run(with_situation(deployment, pop, now_s, read))
    if as_json:
        print_json(congestion_documents(pops, now))
    else:
        rows = [episode for of_pop in pops for episode in of_pop.congestion]
        table = show.congestion_table(rows, now_s, window_s)
        print_table(now.lines(), table, show.congestion_empty(pops, now_s))


@main.command()
@pop_option
@click.option("--last", help="How far back to look, for example 90s or 15m (default 1h).")
@click.option("--since", help="Look from this time on, in UTC, for example 2026-11-21T07:30:00.")
@json_option
@with_deployment
def latency(deployment: Deployment, pop: str | None, last: str | None, since: str | None, as_json: bool) -> None:
    """Show how long each step took, from onset to route. p50, p99 and max come from the times in the records."""
    from app.cli import latency as answers

    if last is not None and since is not None:
        raise click.UsageError("give --last or --since, not both")
    since_s = answers.begin_s(last, since, SystemClock().now_s())
    rows = asyncio.run(answers.read_latencies(deployment, pop, since_s))
    if as_json:
        print_json(rows)
    else:
        print_table([answers.headline(since_s)], answers.latency_table(rows), answers.NOTHING)


@main.command()
@click.option("--pops", required=True, type=click.IntRange(min=1), help="Number of PoPs in the network.")
@click.option("--records-per-second", required=True, type=float, help="Flow records per second of each PoP.")
@click.option("--links", default=40, show_default=True, type=click.IntRange(min=1), help="Links of each PoP.")
@click.option("--prefixes", default=20_000, show_default=True, type=click.IntRange(min=1), help="Prefixes of each PoP.")
@click.option("--pops-per-cell", default=1, show_default=True, type=click.IntRange(min=1), help="PoPs in each cell.")
@click.option("--retention-hours", default=24.0, show_default=True, type=float, help="Hours that flow topics are kept.")
@json_option
def size(as_json: bool, **asked: Any) -> None:
    """Estimate what a network needs. It lists brokers, partitions, disk, cells, CPU, memory, and the constants used."""
    from app.cli import sizing

    constants = sizing.load_constants()
    figures = sizing.size(sizing.NetworkSize(**asked), constants)
    if as_json:
        print_json({"asked": asked, "figures": figures, "constants": constants})
    else:
        print_table([], sizing.figures_table(figures), "")
        print_table([], sizing.constants_table(constants), "")


@main.command()
@pop_option
@with_deployment
def watch(deployment: Deployment, pop: str | None) -> None:
    """Show links and overrides live, until Ctrl-C."""
    from app.cli import watch as screen

    with suppress(KeyboardInterrupt):
        asyncio.run(screen.watch(deployment, pop, for_people(), SystemClock()))


@main.command()
@click.option("--seed", type=click.IntRange(min=0), help="Run this seed, and print every event on stderr.")
@click.option("--seeds", type=click.IntRange(min=1), help="Run this many seeds, from 0 on, on all processors.")
@click.option("--faults", is_flag=True, help="Add crashes, freezes, lost answers, flapping paths and bad feeds.")
@click.option("--digest", is_flag=True, help="With --seeds: also print a SHA-256 of all events, to compare runs.")
@click.option("--log", "log_file", type=click.Path(path_type=Path), help="With --seeds: write all events to this file.")
@json_option
def simulate(
    seed: int | None, seeds: int | None, faults: bool, digest: bool, log_file: Path | None, as_json: bool
) -> None:
    """Run the whole loop in virtual time and check its invariants. It needs no daemons; a seed repeats exactly."""
    from app.simulation.campaign import EventLog, run_many, run_one
    from app.simulation.report import summary, text

    if (seed is None) == (seeds is None):
        raise click.UsageError("give either --seed or --seeds")
    if seed is not None:
        if digest or log_file:
            raise click.UsageError("--digest and --log need --seeds")
        document = summary(run_one(seed, faults))
    else:
        events = EventLog(log_file) if digest or log_file else None
        progress = partial(errors.print, markup=False)
        document = run_many(range(seeds or 0), faults, SystemClock(), progress, events)
    if as_json:
        print_json(document)
    else:
        click.echo(text(document))
    raise SystemExit(EXIT_FAILED if document["violations"] else 0)
