"""The routers of the demo's PoP, and traffic that overloads a link until the end, on the network of a booted system.

`python -m tests.systemd.edges FOLDER` writes a line of JSON when all routes have reached Kafka, and one for each line
of stdin: `Used`, by router. It ends with stdin.
"""

import asyncio
import sys
from collections.abc import Callable

import msgspec

from app.clock import SystemClock
from app.config.inventory import Pop, load_pop
from app.errors import SpeakerError
from app.lab.demo.display import Display
from app.lab.demo.run import INVENTORY
from app.lab.pop.model import RouterTable
from app.lab.pop.pop import generate
from app.lab.pop.ribs import FrrRib, GobgpRib, RibReader
from app.lab.pop.run import SimOptions, Simulation
from app.lab.pop.scenario import load_scenario
from tests.cluster.outside import SEED, Outside, Place
from tests.systemd.host import BROKER

STEADY = "tests/cluster/steady.toml"
SECONDS = 10_000
PEAK_SHARE = 2.0  # of the link's capacity: a simulator that other work keeps waiting sends only a part of it
EVERY_S = 0.5


class Used(msgspec.Struct):
    """How many overrides a router forwards by: now, and at least since the last answer."""

    now: int
    least: int


class Patient:
    """A reader of a router that answers late when other work has the machine: until then, its table is the last one."""

    def __init__(self, reader: RibReader, note: Callable[[str], None]) -> None:
        self._reader, self._note = reader, note
        self._table: RouterTable = {}

    async def best(self) -> RouterTable:
        try:
            self._table = await self._reader.best()
        except SpeakerError as error:
            self._note(str(error))
        return self._table

    async def close(self) -> None:
        await self._reader.close()


class Looks:
    """Counts the overrides in the routers' tables."""

    def __init__(self, pop: Pop) -> None:
        self._pop = pop
        self._used = {router.name: Used(0, 0) for router in pop.router}

    async def watch(self, router: str, reader: RibReader) -> None:
        """Look at the table of a router for ever; no other router keeps it waiting."""
        while True:
            table = await reader.best()
            now = sum(self._pop.marker_community in path.communities for path in table.values())
            self._used[router] = Used(now, min(now, self._used[router].least))
            await asyncio.sleep(EVERY_S)

    def answer(self) -> bytes:
        """What was seen since the last answer, as a line."""
        line = msgspec.json.encode(self._used)
        self._used = {router: Used(used.now, used.now) for router, used in self._used.items()}
        return line


async def serve(folder: str) -> None:
    """Start the routers and the traffic, and answer until stdin ends."""
    pop = load_pop(INVENTORY)
    sim_pop = generate(pop, SEED)
    settings = {"kafka": {"broker": BROKER}}
    here = Place(folder, str(INVENTORY), settings, sflow="127.0.0.1", bmp="127.0.0.1", pki="", state="")
    display = Display(live=False)
    asked = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    async with Outside(here, sim_pop.announcements, display.note) as outside:
        scenario = msgspec.structs.replace(load_scenario(STEADY, pop, SECONDS), peak_share=PEAK_SHARE)
        tables: tuple[RibReader, RibReader] = GobgpRib(outside.r1_grpc), FrrRib(outside.r2_vty)
        readers: dict[str, RibReader] = {
            router.name: Patient(table, display.note) for router, table in zip(pop.router, tables, strict=True)
        }
        options = SimOptions(sampling_rate=scenario.sampling_rate)
        sim = Simulation(sim_pop, scenario, readers, outside.sflow, SystemClock(), options)
        looks = Looks(pop)

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(looks.watch(router, reader)) for router, reader in readers.items()]
            running.append(tasks.create_task(sim.run(SECONDS)))
            print("{}", flush=True)
            while await asked.readline():
                print(looks.answer().decode(), flush=True)
            for task in running:
                task.cancel()
        for reader in readers.values():
            await reader.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
