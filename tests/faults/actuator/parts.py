"""One gobgpd of several is missing, dead or frozen: the others are served, and it is repaired when it is back.

The faulty gobgpd is that of r2 in the second of two PoPs. Moves leave by r1, so nothing has to go anywhere else.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.faults.actuator.light import AWAY, LightRig, on_injectors
from tests.faults.actuator.rig import NATURAL_PEER, Place, prefixes
from tests.faults.actuator.verdict import Trial

PEER, ROUTER = "127.0.0.32", "r2"
OVERRIDES = 20
AWAY_S = 45.0  # longer than a lease, and than an override waits to be confirmed
SERVED_S, REPAIRED_S, ENDED_S = 5.0, 10.0, 5.0
STARTED_S = 20.0  # an actuator needs up to 16 s to start on a busy machine


async def end_frozen(trial: Trial) -> None:
    """The row: SIGSTOP of a gobgpd, whose reaper must end it; every other time everything is halted as well."""
    mine = prefixes(OVERRIDES)
    async with on_injectors(trial, {NATURAL_PEER: mine, PEER: mine}) as rig:
        [place] = rig.places.values()
        for number in range(trial.times):
            await rig.decide(PEER, mine)
            began_s = rig.clock.monotonic_s()
            if number % 2:
                rig.halt_file.touch()
            await frozen(rig, place)
            ended_s = rig.clock.monotonic_s() - began_s
            trial.seconds.append(ended_s)
            if ended_s > ENDED_S:
                trial.problems.append(f"ended after {ended_s:.1f} s, {ENDED_S:g} s are allowed")
            trial.say(f"ended after {ended_s:.1f} s")
            rig.halt_file.unlink(missing_ok=True)
            await rig.restart_gobgpd(place, ROUTER)


async def dead(rig: LightRig, place: Place) -> None:
    """SIGKILL."""
    await rig.kill_gobgpd(place, ROUTER)


async def frozen(rig: LightRig, place: Place) -> None:
    """SIGSTOP, until the reaper ends it. It is not started again."""
    pid = place.runner.pid(f"injector-{ROUTER}")
    os.kill(pid, signal.SIGSTOP)

    async def is_ended() -> bool:
        return not Path(f"/proc/{pid}").exists()

    await rig.until(is_ended, lambda: "no reaper ended a frozen gobgpd")
    await place.runner.stop(f"injector-{ROUTER}")


async def lose_one(trial: Trial, breaks: Callable[[LightRig, Place], Awaitable[None]]) -> None:
    """The row: a gobgpd `breaks` and stays away for AWAY_S; others go on meanwhile, and later it is repaired."""
    many = prefixes(OVERRIDES * (trial.times + 1))
    async with on_injectors(trial, {NATURAL_PEER: many, PEER: many}, pops=2) as rig:
        first, second = rig.places.values()
        for number in range(trial.times):
            mine = many[: OVERRIDES * (number + 1)]
            await rig.decide(PEER, mine)
            before = _withdrawn(rig)
            began_s = rig.clock.monotonic_s()
            await breaks(rig, second)
            trial.worst("ended_s", rig.clock.monotonic_s() - began_s)
            more = [*mine, many[len(mine)]]
            await _served(trial, rig, first, more)
            await asyncio.sleep(max(0.0, began_s + AWAY_S - rig.clock.monotonic_s()))
            back_s = rig.clock.monotonic_s()
            await rig.restart_gobgpd(second, ROUTER)
            await rig.all_held(second.pop.name, len(more))
            repaired_s = rig.clock.monotonic_s() - back_s
            trial.seconds.append(repaired_s)
            if repaired_s > REPAIRED_S:
                trial.problems.append(f"repaired after {repaired_s:.1f} s, {REPAIRED_S:g} s are allowed")
            lost = _withdrawn(rig) - before
            trial.worst("withdrawn_at_the_living", lost)
            if lost:
                trial.problems.append(f"{lost} routes were withdrawn at gobgpds that lived")
            trial.say(f"repaired after {repaired_s:.1f} s, {lost} withdrawn at the living")
        rig.no_exits(trial)


async def missing(trial: Trial) -> None:
    """The row: a gobgpd that is not there when the actuator starts, its folder neither; the other PoP is served."""
    mine = prefixes(OVERRIDES)
    async with on_injectors(trial, {NATURAL_PEER: mine, PEER: mine}, pops=2, away=ROUTER) as rig:
        first, second = rig.places.values()
        await _served(trial, rig, first, mine, STARTED_S)
        back_s = rig.clock.monotonic_s()
        (second.site.run_dir / AWAY).symlink_to(".")
        await rig.restart_gobgpd(second, ROUTER)
        await rig.all_held(second.pop.name, len(mine))
        trial.seconds.append(rig.clock.monotonic_s() - back_s)
        rig.no_exits(trial)


async def _served(trial: Trial, rig: LightRig, place: Place, wanted: list[str], limit_s: float = SERVED_S) -> None:
    """Decide these moves everywhere; the gobgpds of one PoP must have them soon."""
    began_s = rig.clock.monotonic_s()
    await rig.decide(PEER, wanted, place.pop.name)
    served_s = rig.clock.monotonic_s() - began_s
    trial.worst("others_served_s", served_s)
    if served_s > limit_s:
        trial.problems.append(f"another PoP was served after {served_s:.1f} s, {limit_s:g} s are allowed")


def _withdrawn(rig: LightRig) -> int:
    """How many of our routes were withdrawn so far at the gobgpds that are never broken."""
    all_ = {(pop, router): changes for pop, echo in rig.echoes.items() for router, changes in echo.changes.items()}
    return sum(changes.withdrawn for place, changes in all_.items() if place != ("pop2", ROUTER))
