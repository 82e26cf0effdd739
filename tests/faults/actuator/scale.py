"""Many overrides at once: how long until both edges have them, what holding them costs, and how fast all can go."""

import asyncio

from app.actuation.pop_actuator import HALT_FILE_S
from app.contract.schemas import Override
from tests.faults.actuator.rig import DEFAULT, NATURAL_PEER, EdgeRig, cpu_s, move, on_edges, prefixes, rss_mb
from tests.faults.actuator.verdict import Trial

PEER = "127.0.0.32"
CPU_SHARE_MAX = 0.05
REST_S, SHORT_REST_S = DEFAULT.lease_s, 20.0  # every route is renewed once in a lease


async def hold_many(trial: Trial, overrides: int, halt_s: float) -> None:
    """The row: decide so many overrides, let them rest, halt them by order and by file; `trial.times` rounds.

    They rest once what was done is published: briefly, so that nothing is renewed meanwhile, which shows what looking
    at them costs, and with more than one round also for a whole lease.
    """
    many = prefixes(overrides)
    async with on_edges(trial, {NATURAL_PEER: many, PEER: many}, overrides, DEFAULT) as rig:
        wanted = tuple(move(rig.pop, PEER, prefix) for prefix in many)
        for number in range(trial.times):
            complete_s = await decide_all(rig, wanted)
            trial.say(f"complete after {complete_s:.1f} s")
            if number == 0:
                trial.figures |= await first(rig, complete_s)
                await rig.all_published(4 * overrides)
                rest_cpu_share, _ = await rest(rig, SHORT_REST_S)
                trial.figures["rest_cpu_share"] = rest_cpu_share
                if rest_cpu_share > CPU_SHARE_MAX:
                    trial.problems.append(f"looking at them takes {rest_cpu_share:.1%} of a core")
                if trial.times > 1:
                    share, updates = await rest(rig, REST_S)
                    trial.figures |= {"lease_cpu_share": share, "lease_updates_a_minute": updates}
                trial.say(str(trial.figures))
            await halted_by_order(trial, rig, halt_s)
            await decide_all(rig, wanted)
            await halted_by_file(trial, rig, halt_s + HALT_FILE_S)
        trial.leaked += rig.leaked()
        rig.no_exits(trial)


async def decide_all(rig: EdgeRig, wanted: tuple[Override, ...]) -> float:
    """Decide these overrides; how long until both edges have them, in seconds."""
    began_s = rig.clock.monotonic_s()
    rig.decider.overrides = {rig.pop.name: wanted}
    await rig.all_there(len(wanted))
    return rig.clock.monotonic_s() - began_s


async def first(rig: EdgeRig, complete_s: float) -> dict[str, float]:
    """What it took to announce all of them, the actuator's start included."""
    pid = rig.actuator.process.pid
    return {"complete_s": complete_s, "actuator_cpu_s": cpu_s(pid), "actuator_rss_mb": rss_mb(pid)}


async def rest(rig: EdgeRig, seconds: float) -> tuple[float, float]:
    """What it costs to hold them: the actuator's share of a core, and UPDATEs a minute on both edges."""
    pid = rig.actuator.process.pid
    began_s, used_s, updates = rig.clock.monotonic_s(), cpu_s(pid), await rig.updates_received()
    await asyncio.sleep(seconds)
    took_s = rig.clock.monotonic_s() - began_s
    return (cpu_s(pid) - used_s) / took_s, (await rig.updates_received() - updates) * 60 / took_s


async def halted_by_order(trial: Trial, rig: EdgeRig, limit_s: float) -> None:
    """`autopilot halt`, from the end of that command on, then `autopilot resume`."""
    began_s = rig.clock.monotonic_s()
    await rig.command("halt")
    ordered_s = rig.clock.monotonic_s()
    trial.worst("halt_command_s", ordered_s - began_s)
    trial.worst("halt_s", await trial.gone(rig.count, ordered_s, limit_s))
    await rig.command("resume")


async def halted_by_file(trial: Trial, rig: EdgeRig, limit_s: float) -> None:
    """The halt file, which actuator and reapers look for."""
    began_s = rig.clock.monotonic_s()
    rig.halt_file.touch()
    trial.worst("halt_file_s", await trial.gone(rig.count, began_s, limit_s))
    rig.halt_file.unlink()
