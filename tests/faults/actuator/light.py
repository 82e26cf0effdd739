"""Several PoPs without edges: their gobgpds with reapers, Kafka, and the actuator of one cell. Cheap, so many at once.

What a router would show over BMP is written by an Echo.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from app.clock import SystemClock
from app.config.inventory import load_pop
from app.contract import topics
from app.kafka.admin import create_topics
from app.lab.daemons import gobgp
from app.lab.daemons.deployment import with_sockets_in, write_inventory, write_settings
from app.lab.daemons.kafka import format_storage, reached_at, start_kafka
from app.lab.daemons.machine import Site, open_site
from app.lab.daemons.ports import free_port
from app.lab.daemons.runner import Program, Runner
from tests.faults.actuator.echo import Echo
from tests.faults.actuator.rig import (
    SHORT,
    WINDOWS,
    ActuatorRig,
    Broker,
    Decider,
    Place,
    Renewal,
    move,
    stop,
    with_budget,
)
from tests.faults.actuator.verdict import Trial
from tests.faults.feed import exact_producer
from tests.keys import UNSIGNED
from tests.pops import INVENTORY

AWAY = "away"


class LightRig(ActuatorRig):
    """PoPs whose routers are seen only through what their gobgpds hold; `echoes` by PoP."""

    def __init__(
        self, places: Sequence[Place], broker: Broker, settings_file: Path, decider: Decider, echoes: Mapping[str, Echo]
    ) -> None:
        super().__init__(places, broker, settings_file, decider)
        self.echoes = echoes

    async def start_reapers(self) -> None:
        """One beside each gobgpd."""
        for place in self.places.values():
            for router in place.pop.routers:
                ours = ("--target", place.target(router), "--marker", place.pop.marker_community)
                more = ("--halt-file", str(self.halt_file), "--lease-s", str(self.lease_s))
                argv = (sys.executable, "-m", "app", "reaper", *ours, *more)
                await place.runner.start(Program(name=f"reaper-{router}", argv=argv, keeps_user=True))

    async def decide(self, peer: str, wanted: Sequence[str], *pops: str) -> None:
        """Decide these moves in every PoP, and wait until all gobgpds of these PoPs hold them, or of all."""
        self.decider.overrides = {
            name: tuple(move(place.pop, peer, prefix) for prefix in wanted) for name, place in self.places.items()
        }
        for pop in pops or self.places:
            await self.all_held(pop, len(wanted))

    def changed(self) -> int:
        """How many routes of ours came, changed or went so far in all gobgpds; renewals are none."""
        counts = [changes for echo in self.echoes.values() for changes in echo.changes.values()]
        return sum(changes.announced + changes.withdrawn for changes in counts)

    async def held(self, pop: str) -> int:
        """How many of our routes the gobgpds of a PoP hold; one that does not answer holds none that we know."""
        return sum(len(held or ()) for held in self.echoes[pop].held.values())

    async def all_held(self, pop: str, overrides: int) -> None:
        """Wait until every gobgpd of a PoP holds so many routes of ours."""

        async def are() -> bool:
            return all(held is not None and len(held) == overrides for held in self.echoes[pop].held.values())

        await self.until(are, lambda: f"not every gobgpd of {pop} holds {overrides} overrides")


@asynccontextmanager
async def on_injectors(
    trial: Trial,
    routes: Mapping[str, Sequence[str]],
    pops: int = 1,
    budget: int = 100,
    away: str | None = None,
    renewal: Renewal = SHORT,
) -> AsyncIterator[LightRig]:
    """So many PoPs whose neighbours announce these prefixes, by the neighbours' addresses.

    The gobgpd of the router `away` of the last PoP is not started, and its folder AWAY is not there.
    """
    async with AsyncExitStack() as exit_:
        run_dir = trial.run_dir
        site = open_site(run_dir)
        runner = await exit_.enter_async_context(Runner(run_dir, site.user))
        await format_storage(runner, site)
        kafka = reached_at(await start_kafka(runner, site))
        names = [f"pop{number + 1}" for number in range(pops)]
        await create_topics(kafka, topics.named(names))
        inventories = {name: _inventory(site, number, name, budget) for number, name in enumerate(names)}
        if away is not None:
            _send_away(inventories[names[-1]], away)
        ours = {
            "mode": "auto",
            "trust": UNSIGNED,
            "pops": [str(path.relative_to(run_dir)) for path in inventories.values()],
            "cells": {names[0]: names},
            "windows": WINDOWS,
            "pacing": {"lease_s": renewal.lease_s},
            "actuator_port": free_port(),
        }
        settings_file = write_settings(run_dir, inventories[names[0]], kafka.broker, ours)
        places, echoes = [], {}
        producer = await exit_.enter_async_context(exact_producer(kafka.broker))
        for name, path in inventories.items():
            own = Site(run_dir / name, site.ports, site.user)
            place = Place(load_pop(path), own, await exit_.enter_async_context(Runner(own.run_dir, own.user)))
            for router in (one for one in place.pop.router if (name, one.name) != (names[-1], away)):
                await gobgp.start_injector(place.runner, own, place.pop, router)
            targets = {router: place.target(router) for router in place.pop.routers}
            echoes[name] = Echo(place.pop, targets, producer)
            places.append(place)
            await echoes[name].begin(routes)
            exit_.push_async_callback(stop, asyncio.create_task(echoes[name].run(), name=f"echo of {name}"))
        decider = Decider(kafka, SystemClock(), renewal)
        rig = LightRig(places, Broker(site, runner), settings_file, decider, echoes)
        rig.lease_s = renewal.lease_s
        await rig.start_reapers()
        await rig.start(exit_)
        yield rig


def _inventory(site: Site, number: int, name: str, budget: int) -> Path:
    """The demo's PoP under another name and in a network of its own, so that none of its addresses is shared."""
    text = with_budget(INVENTORY.read_text(encoding="utf-8"), budget)
    folder = site.make_directory(name)
    text = with_sockets_in(folder, text).replace('name = "rhv1000"', f'name = "{name}"')
    text = text.replace("asn = 64512", f"asn = {64512 + number}", 1)
    source = folder / f"{name}.toml"
    source.write_text(text, encoding="utf-8")
    return write_inventory(site.run_dir, source)


def _send_away(inventory: Path, router: str) -> None:
    """Let the socket of a router's gobgpd be in a folder of its own."""
    socket = f"injector-{router}.sock"
    inventory.write_text(inventory.read_text(encoding="utf-8").replace(socket, f"{AWAY}/{socket}"), encoding="utf-8")
