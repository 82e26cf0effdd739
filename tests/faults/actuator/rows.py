"""All rows of the actuator: the name of a fault, what is done, how often in a full run and in a short one."""

import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from app.errors import AutopilotError, EnvironmentProblem
from tests.faults.actuator import held, late, leases, long_paths, losses, parts, records, scale, writers
from tests.faults.actuator.verdict import RouteOutcome, Trial


class RouteFault(NamedTuple):
    """One row; `run` makes all its tries on daemons of its own."""

    name: str
    run: Callable[[Trial], Awaitable[None]]
    times: int
    short_times: int = 0  # 0 leaves it out of the short run


ROUTE_FAULTS = (
    RouteFault("actuator dies", partial(leases.end, dies=leases.for_good, broker_dies=False), 25, 5),
    RouteFault("actuator and broker die", partial(leases.end, dies=leases.for_good, broker_dies=True), 25),
    RouteFault("actuator in a crash loop", partial(leases.end, dies=leases.in_a_loop, broker_dies=False), 25, 5),
    RouteFault(
        "actuator in a crash loop, broker dead", partial(leases.end, dies=leases.in_a_loop, broker_dies=True), 25
    ),
    RouteFault("neighbour dies", partial(losses.lose, broken=losses.nothing, limit_s=2.0), 20),
    RouteFault("neighbour dies, Kafka frozen", partial(losses.lose, broken=losses.kafka_frozen, limit_s=5.0), 4, 1),
    RouteFault("neighbour dies, Kafka dead", partial(losses.lose, broken=losses.kafka_dead, limit_s=5.0), 4),
    RouteFault("neighbour dies, BMP collector dead", partial(losses.lose, broken=losses.bmp_dead, limit_s=5.0), 4, 1),
    RouteFault("neighbour dies, both dead", partial(losses.lose, broken=losses.both_dead, limit_s=60.0), 2),
    RouteFault("a gobgpd is not there", parts.missing, 1, 1),
    RouteFault("a gobgpd dies", partial(parts.lose_one, breaks=parts.dead), 2, 1),
    RouteFault("a gobgpd is frozen", partial(parts.lose_one, breaks=parts.frozen), 2),
    RouteFault("gobgpd frozen until it is ended", parts.end_frozen, 10, 2),
    RouteFault("a gobgpd answers late", late.lose_or_halt, 4, 1),
    RouteFault("long AS paths", long_paths.long_paths, 2),
    RouteFault("2,000 overrides", partial(scale.hold_many, overrides=2_000, halt_s=1.0), 3),
    RouteFault("10,000 overrides", partial(scale.hold_many, overrides=10_000, halt_s=4.0), 3),
    RouteFault("second actuator: auto", partial(writers.watch, mode="auto", reads=True), 1),
    RouteFault("second actuator: auto, standby", partial(writers.watch, mode="auto", reads=False), 1, 1),
    RouteFault("second actuator: dry-run", partial(writers.watch, mode="dry-run", reads=True), 1, 1),
    RouteFault("second actuator: observe", partial(writers.watch, mode="observe", reads=True), 1),
    RouteFault("actuator frozen, another takes over", held.frozen_owner, 1),
    RouteFault("every gobgpd dies while halted", held.halted_meanwhile, 2),
    RouteFault("session of a gobgpd cleared", held.session_cleared, 4),
    RouteFault("mode becomes dry-run", held.no_longer_auto, 1),
    RouteFault("bytes that are no text", records.bad_bytes, 2, 1),
    RouteFault("epoch of the far future", records.far_epoch, 2, 1),
    RouteFault("another AS path than the live one", partial(records.wrong_override, wrong=records.OTHER_PATH), 1, 1),
    RouteFault("one router of two", partial(records.wrong_override, wrong=records.ONE_ROUTER), 1, 1),
    RouteFault("source path flaps", records.flapping, 1, 1),
    RouteFault("telemetry and actuator begin again", records.same_again, 2),
    RouteFault("actuator's clock 10 min ahead", partial(records.wrong_clock, skew_s=600.0), 1),
    RouteFault("actuator's clock 10 min behind", partial(records.wrong_clock, skew_s=-600.0), 1),
    RouteFault("5,000 leases end", partial(records.hold_end, overrides=5_000), 1),
)


async def run_route_fault(fault: RouteFault, times: int, seed: int, say: Callable[[str], None]) -> RouteOutcome:
    """One row with all its tries; `say` is given a line of progress after each. Logs are kept if it goes wrong."""
    run_dir = Path(mkdtemp(prefix="rows-"))
    run_dir.chmod(0o755)
    trial = Trial(fault.name, times, seed, run_dir, say)
    try:
        await fault.run(trial)
    except EnvironmentProblem:
        shutil.rmtree(run_dir)
        raise
    except (AutopilotError, TimeoutError) as error:
        trial.problems.append(str(error) or "what must come did not come")
        trial.seconds.append(None)
    outcome = trial.outcome()
    if outcome.ok:
        shutil.rmtree(run_dir)
    else:
        say(f"logs are in {run_dir}")
    return outcome
