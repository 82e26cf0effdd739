"""A second actuator beside the one that acts, as on another host: whatever its mode, it must change no route."""

import asyncio
from pathlib import Path

from app.contract.schemas import Mode
from app.lab.daemons.deployment import write_inventory, write_settings
from app.lab.daemons.ports import free_port
from tests.faults.actuator.light import LightRig, on_injectors
from tests.faults.actuator.rig import NATURAL_PEER, WINDOWS, prefixes
from tests.faults.actuator.verdict import Trial
from tests.faults.worker import Worker
from tests.keys import UNSIGNED

PEER = "127.0.0.32"
OVERRIDES = 20
LEASES = 2.5  # so long it is watched


async def watch(trial: Trial, mode: Mode, reads: bool) -> None:
    """The row: a second actuator in this mode; it `reads` every decision, or is a standby without partitions."""
    mine = prefixes(OVERRIDES)
    async with on_injectors(trial, {NATURAL_PEER: mine, PEER: mine}) as rig:
        for _ in range(trial.times):
            await rig.decide(PEER, mine)
            before = rig.changed()
            second = second_actuator(rig, mode, reads)
            await second.start()
            try:
                await asyncio.sleep(LEASES * rig.lease_s)
            finally:
                await second.stop()
            changed = rig.changed() - before
            trial.worst("routes_changed", changed)
            trial.worst("second_ended", second.exits.total())
            if changed:
                trial.problems.append(f"{changed} routes changed while a second actuator ran")
            trial.say(f"{changed} routes changed")
            trial.seconds.append(0.0)


def second_actuator(rig: LightRig, mode: Mode, reads: bool) -> Worker:
    """The same cell with files of its own: only links lead to the gobgpds, so a lock beside them is another one."""
    [place] = rig.places.values()
    here = place.site.run_dir / "second"
    here.mkdir(exist_ok=True)
    for router in place.pop.routers:
        target = Path(place.target(router).removeprefix("unix://"))
        if not (link := here / target.name).is_symlink():
            link.symlink_to(target)
    source = place.site.run_dir / f"{place.pop.name}.toml"
    copy = here / source.name
    copy.write_text(source.read_text(encoding="utf-8").replace(f"{source.parent}/", f"{here}/"), encoding="utf-8")
    cell = "second" if reads else place.pop.name
    settings = {
        "mode": mode,
        "trust": UNSIGNED,
        "cells": {cell: [place.pop.name]},
        "windows": WINDOWS,
        "pacing": {"lease_s": rig.lease_s},
        "actuator_port": free_port(),
    }
    settings_file = write_settings(here, write_inventory(here, copy), rig.kafka.broker, settings)
    return rig.process("second", "actuator", "--cell", cell, settings_file=settings_file)
