"""Records that are wrong, old, forged or repeated: none of them ends the actuator or changes what is right."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import msgspec

from app.contract import topics
from app.contract.schemas import Decision, SourcePath
from tests.faults.actuator.light import LightRig, on_injectors
from tests.faults.actuator.rig import NATURAL_PEER, Renewal, move, prefixes, stop
from tests.faults.actuator.verdict import Trial

PEER, OTHER_ROUTERS_PEER = "127.0.0.32", "127.0.0.35"
OTHER_PATH = {"source_path": SourcePath((65010,), "igp", 10)}
ONE_ROUTER = {"inject_on": ("r1",)}
OVERRIDES = 20
FOREVER = 2**32 - 1
FLAP_S, FLAPS = 1.0, 40
ROUNDS_MAX = 2  # in FLAPS seconds, if the damping after a first loss is 30 s
OLD_S = 580.0
STALE = "20.255.0.0/24"
LONGER = Renewal(60.0, 5.0)


async def bad_bytes(trial: Trial) -> None:
    """The row: a byte that is not UTF-8 in a decision, and in an order for all PoPs; both are read again at a start."""
    many = prefixes(OVERRIDES + trial.times)
    async with on_injectors(trial, {NATURAL_PEER: many, PEER: many}) as rig:
        await rig.decide(PEER, many[:OVERRIDES])
        for number in range(trial.times):
            made = rig.decider.decision("pop1")
            bad = msgspec.json.encode(made).replace(b"a link is congested", b"caf\xe9")
            await rig.write(topics.DECISIONS.for_pop("pop1"), b"pop1", bad)
            await rig.write(topics.CONTROL.name, b"*", b'{"schema":"control/1","pop":"*","by":"caf\xe9"}')
            await rig.actuator.stop()  # killed, it would keep its gobgpds for half a lease, and some leases would end
            await rig.actuator.start()
            await _followed(trial, rig, many[: OVERRIDES + number + 1])
        rig.no_exits(trial)


async def far_epoch(trial: Trial) -> None:
    """The row: a forged decision with the largest epoch; telemetry must not be locked out."""
    many = prefixes(OVERRIDES + trial.times)
    async with on_injectors(trial, {NATURAL_PEER: many, PEER: many}) as rig:
        await rig.decide(PEER, many[:OVERRIDES])
        for number in range(trial.times):
            await rig.decide_once("pop1", epoch=FOREVER, seq=FOREVER)
            await _followed(trial, rig, many[: OVERRIDES + number + 1])
        rig.no_exits(trial)


async def wrong_override(trial: Trial, wrong: Mapping[str, object]) -> None:
    """The row: one override of a decision has these keys, which are not what is live; it is refused."""
    mine = prefixes(OVERRIDES)
    async with on_injectors(trial, {NATURAL_PEER: mine, PEER: mine, OTHER_ROUTERS_PEER: mine}) as rig:
        [place] = rig.places.values()
        good = tuple(move(place.pop, PEER, prefix) for prefix in mine)
        await rig.decide(PEER, mine[1:])
        began_s = rig.clock.monotonic_s()
        rig.decider.overrides = {"pop1": (msgspec.structs.replace(good[0], **wrong), *good[1:])}
        action = await rig.told(mine[0])
        trial.seconds.append(rig.clock.monotonic_s() - began_s)
        if action != "refused":
            trial.leaked += 1
            trial.problems.append(f"an override with {wrong}: {action}")


async def flapping(trial: Trial) -> None:
    """The row: the path under some overrides comes and goes each second; they must not follow each time."""
    mine = prefixes(5)
    async with on_injectors(trial, {NATURAL_PEER: mine, PEER: mine}) as rig:
        await rig.decide(PEER, mine)
        before = {router: changes.announced for router, changes in rig.echoes["pop1"].changes.items()}
        for number in range(FLAPS):
            await asyncio.sleep(FLAP_S)
            if number % 2:
                await rig.echoes["pop1"].announce(PEER, mine)
            else:
                await rig.echoes["pop1"].withdraw(PEER, mine)
        rounds = max(changes.announced - before[router] for router, changes in rig.echoes["pop1"].changes.items())
        trial.figures["rounds"] = rounds / len(mine)
        if rounds > ROUNDS_MAX * len(mine):
            trial.problems.append(f"each prefix was announced {rounds / len(mine):g} times in {FLAPS * FLAP_S:g} s")
        trial.seconds.append(0.0)


async def same_again(trial: Trial) -> None:
    """The row: telemetry begins again with the same set, then the actuator does; nothing is announced again.

    A restart has to fit into the last sixth of a lease.
    """
    many = prefixes(OVERRIDES + trial.times)
    async with on_injectors(trial, {NATURAL_PEER: many, PEER: many}, renewal=LONGER) as rig:
        await rig.decide(PEER, many[:OVERRIDES])
        for number in range(trial.times):
            before = rig.changed()
            rig.decider.epoch = max(rig.decider.epoch + 1, int(rig.clock.now_s()))
            await asyncio.sleep(rig.lease_s)  # so that each lease is renewed under the new epoch
            await rig.actuator.stop()  # as above
            await rig.actuator.start()
            await _followed(trial, rig, many[: OVERRIDES + number + 1])
            again = rig.changed() - before - len(rig.echoes["pop1"].held)  # but for the one that is new
            trial.worst("routes_changed", again)
            if again:
                trial.problems.append(f"{again} routes changed that stood already")


async def wrong_clock(trial: Trial, skew_s: float) -> None:
    """The row: an actuator with a wrong clock announces nothing stale and drops nothing that is live."""
    mine = prefixes(OVERRIDES)
    async with on_injectors(trial, {NATURAL_PEER: mine, PEER: [*mine, STALE]}) as rig:
        [place] = rig.places.values()
        await rig.decide(PEER, mine)
        before = rig.changed()
        right = rig.actuator.argv
        await rig.actuator.stop()  # killed, it would keep its gobgpds for half a lease, and some leases would end
        rig.actuator.argv = (right[0], "-m", "tests.faults.skewed", f"{skew_s:g}", *right[3:])
        await rig.actuator.start()
        await rig.is_running()
        stale = msgspec.structs.replace(
            rig.decider.decision("pop1"), overrides=(*rig.decider.overrides["pop1"], move(place.pop, PEER, STALE))
        )
        await rig.publish(_aged(stale, OLD_S))
        await asyncio.sleep(2 * rig.lease_s)
        changed = rig.changed() - before
        trial.figures["routes_changed"] = changed
        trial.leaked += STALE in rig.echoes["pop1"].seen
        if changed:
            trial.problems.append(f"{changed} routes changed under an actuator whose clock is wrong by {skew_s:g} s")
        trial.seconds.append(0.0)


async def hold_end(trial: Trial, overrides: int) -> None:
    """The row: nobody renews many overrides; they end in time, and not all in the same moment."""
    many = prefixes(overrides)
    async with on_injectors(trial, {NATURAL_PEER: many, PEER: many}, budget=overrides) as rig:
        await rig.decide(PEER, many)
        rig.decider.overrides = {}
        counting = asyncio.create_task(_count_withdrawals(trial, rig))
        await trial.gone(partial(rig.held, "pop1"), rig.decider.decided_s, rig.lease_s + 10.0)
        await stop(counting)
        rig.no_exits(trial)


async def _count_withdrawals(trial: Trial, rig: LightRig) -> None:
    """Note the most withdrawals of a second."""
    while True:
        before = sum(changes.withdrawn for changes in rig.echoes["pop1"].changes.values())
        await asyncio.sleep(1.0)
        after = sum(changes.withdrawn for changes in rig.echoes["pop1"].changes.values())
        trial.worst("withdrawn_in_a_second_max", after - before)


def _aged(decision: Decision, age_s: float) -> Decision:
    """The same decision, made so long ago."""
    age = timedelta(seconds=age_s)
    moments = {key: getattr(decision, key) - age for key in ("window_start", "made_at", "add_until", "hold_until")}
    return msgspec.structs.replace(decision, **moments)


async def _followed(trial: Trial, rig: LightRig, wanted: list[str]) -> None:
    """Decide one more override; it must stand soon after the actuator runs."""
    began_s = rig.clock.monotonic_s()
    await rig.decide(PEER, wanted)
    trial.seconds.append(rig.clock.monotonic_s() - began_s)
