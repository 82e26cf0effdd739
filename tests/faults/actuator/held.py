"""What the first attacks could not break, so that nothing breaks it later."""

import asyncio
import signal
from functools import partial

from app.lab.daemons.gobgp import gobgp
from app.lab.pop.vty import ask
from tests.faults.actuator.light import on_injectors
from tests.faults.actuator.rig import NATURAL_PEER, ActuatorRig, EdgeRig, move, on_edges, prefixes
from tests.faults.actuator.verdict import Trial
from tests.faults.actuator.writers import OVERRIDES, PEER, second_actuator

FILLED_S = 10.0  # a gobgpd that comes back empty is filled within this time, unless all is halted
BACK_S = 45.0  # a session that was cleared: FRR connects again after 10 s, gobgpd after 30 s
TAKEN_S = 20.0  # a claim lapses after 10 s, and the next owner settles first
GRACE_S = 10.0  # after the end of a lease


async def halted_meanwhile(trial: Trial) -> None:
    """The row: halted by file while every gobgpd dies; nothing comes back with them, and all when it is lifted."""
    mine = prefixes(OVERRIDES)
    async with on_injectors(trial, {NATURAL_PEER: mine, PEER: mine}) as rig:
        [place] = rig.places.values()
        for _ in range(trial.times):
            await rig.decide(PEER, mine)
            rig.halt_file.touch()
            for router in place.pop.routers:
                await rig.kill_gobgpd(place, router)
            for router in place.pop.routers:
                await rig.restart_gobgpd(place, router)
            before = rig.changed()
            await asyncio.sleep(FILLED_S)
            trial.leaked += rig.changed() - before
            rig.halt_file.unlink()
            lifted_s = rig.clock.monotonic_s()
            await rig.all_held(place.pop.name, len(mine))
            trial.seconds.append(rig.clock.monotonic_s() - lifted_s)
            trial.say(f"back after {trial.seconds[-1]:.1f} s")
        rig.no_exits(trial)


async def frozen_owner(trial: Trial) -> None:
    """The row: the owner is frozen until another actuator has taken over; thawed, it ends and changes nothing."""
    mine = prefixes(OVERRIDES + 1)
    async with on_injectors(trial, {NATURAL_PEER: mine, PEER: mine}) as rig:
        await rig.decide(PEER, mine[:-1])
        rig.actuator.signal(signal.SIGSTOP)
        frozen_s = rig.clock.monotonic_s()
        second = second_actuator(rig, "auto", reads=True)
        await second.start()
        try:
            await rig.decide(PEER, mine)
            taken_s = rig.clock.monotonic_s() - frozen_s
            before, thawed_s = rig.changed(), rig.clock.monotonic_s()
            rig.actuator.signal(signal.SIGCONT)
            await rig.until(partial(_has_ended, rig), lambda: "the frozen actuator went on")
            trial.seconds.append(rig.clock.monotonic_s() - thawed_s)
            await asyncio.sleep(rig.lease_s)  # each lease is renewed meanwhile, and the one that ended is back
            changed = rig.changed() - before
        finally:
            await second.stop()
        trial.figures |= {"taken_over_s": taken_s, "routes_changed": changed}
        if changed or taken_s > TAKEN_S or second.exits:
            trial.problems.append(f"taken over after {taken_s:.1f} s, then {changed} changed; ends: {second.exits}")


async def session_cleared(trial: Trial) -> None:
    """The row: an operator clears the session between an edge and its gobgpd; the overrides come back by themselves."""
    mine = prefixes(OVERRIDES)
    async with on_edges(trial, {NATURAL_PEER: mine, PEER: mine}, budget=100) as rig:
        r1, r2 = rig.pop.router
        rig.decider.overrides = {rig.pop.name: tuple(move(rig.pop, PEER, prefix) for prefix in mine)}
        await rig.all_there(len(mine))
        for number in range(trial.times):
            cleared_s = rig.clock.monotonic_s()
            if number % 2:
                await gobgp(rig.stack.r1_grpc, "neighbor", r1.injector.address, "reset")
            else:
                await ask(rig.stack.r2_vty, f"clear bgp {r2.injector.address}")
            await rig.until(partial(_is_less, rig, len(mine)), lambda: "no session was cleared")
            await rig.all_there(len(mine))
            took_s = rig.clock.monotonic_s() - cleared_s
            trial.seconds.append(took_s)
            if took_s > BACK_S:
                trial.problems.append(f"back after {took_s:.1f} s, {BACK_S:g} s are allowed")
            trial.say(f"back after {took_s:.1f} s")
        trial.leaked += rig.leaked()
        rig.no_exits(trial)


async def no_longer_auto(trial: Trial) -> None:
    """The row: the actuator's mode becomes dry-run while overrides stand; they go when their leases end."""
    mine = prefixes(OVERRIDES)
    async with on_injectors(trial, {NATURAL_PEER: mine, PEER: mine}) as rig:
        await rig.decide(PEER, mine)
        settings = rig.settings_file.read_text(encoding="utf-8")
        rig.settings_file.write_text(settings.replace('mode = "auto"', 'mode = "dry-run"'), encoding="utf-8")
        await rig.command("reload")
        await trial.gone(partial(rig.held, "pop1"), rig.clock.monotonic_s(), rig.lease_s + GRACE_S)
        rig.no_exits(trial)


async def _has_ended(rig: ActuatorRig) -> bool:
    return bool(rig.actuator.exits)


async def _is_less(rig: EdgeRig, overrides: int) -> bool:
    return min((await rig.at_edges()).values()) < overrides
