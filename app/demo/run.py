"""The demo: real daemons, a simulated PoP on top, our two workers, what the scenario breaks, and the verdict."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from app import topics
from app.clock import Clock, SystemClock
from app.demo import edges, gather
from app.demo.bounds import Figure
from app.demo.display import Display
from app.demo.evidence import Evidence, Progress
from app.demo.killer import read_tables
from app.demo.programme import programme
from app.demo.score import score
from app.demo.story import Story
from app.demo.truthfile import TruthFile
from app.errors import DaemonError
from app.inventory import load_pop
from app.kafkaread import read_topic
from app.local.ports import free_port, udp_drops
from app.local.stack import Stack
from app.schemas import Actuation, Decision, LinkUtilization
from app.sim.engine import count_overrides
from app.sim.pop import FILL, SimPop, generate
from app.sim.ribs import FrrRib, GobgpRib, RibReader
from app.sim.run import SimOptions, Simulation
from app.sim.scenario import STILL_NEEDED, Scenario, load_scenario

INVENTORY = Path(__file__).parents[2] / "deploy" / "local" / "rhv1000.toml"
READY_WITHIN_S = 60.0
DRAIN_WITHIN_S = 30.0
POLL_S = 0.2
TRUTH_FILE = "truth.jsonl"
# Shorter than the defaults of 300 s, so that the whole story fits into minutes; the display says so.
PACING = {"hold_s": 60.0, "min_hold_s": 20.0}


class Options(msgspec.Struct, frozen=True):
    """`scenario` is a name or the path of a file; it says how many `seconds` of traffic where None is given."""

    scenario: str = "surge"
    seconds: int | None = None
    seed: int = 1
    run_dir: Path | None = None


class RouterRib(msgspec.Struct, frozen=True):
    """What telemetry tells of one router's table."""

    prefixes: int
    peers: int


async def run_demo(options: Options, display: Display) -> dict[str, Figure]:
    """Run it all; the document of figures. ConfigError for the scenario, else what the stack raises."""
    clock = SystemClock()
    began_s = clock.monotonic_s()
    pop = load_pop(INVENTORY)
    scenario = load_scenario(options.scenario, pop, options.seconds)
    for line in programme(options.scenario, scenario):
        display.say(line)
    sim_pop = generate(pop, options.seed, fill={**FILL, **scenario.fill})
    state_port, view_port = free_port(), free_port()
    settings = {"mode": "auto", "state_port": state_port, "view_port": view_port, "pacing": PACING}
    display.note(f"holds are {PACING['min_hold_s']:g} s at least and {PACING['hold_s']:g} s at most here, not 300 s")
    stack = Stack(
        INVENTORY,
        sim_pop.announcements,
        options.run_dir,
        settings,
        display.note,
        on_broker=lambda: start_view(stack, display),
        export_policy=scenario.export_policy,
    )
    async with stack:
        demo = Demo(scenario, display, clock, stack, sim_pop, gather.StateClient(state_port, stack.pop.name))
        return await demo.run(began_s)


async def start_view(stack: Stack, display: Display) -> None:
    """To look at only: the demo goes on without it when it ends."""
    port = stack.deployment.settings.view_port
    argv = [sys.executable, "-m", "app", "view", "--config", str(stack.settings_file)]
    await stack.spawn("view", [*argv, "--truth", str(stack.run_dir / TRUTH_FILE)], restarts_max=0)
    try:
        await stack.runner.ready("view", partial(_serves, port))
    except DaemonError as error:
        display.note(str(error))
    else:
        display.say(f"open http://127.0.0.1:{port}")


async def _serves(port: int) -> str | None:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        return str(error)
    writer.close()
    await writer.wait_closed()
    return None


class Demo:
    """One run over a stack that is up."""

    def __init__(
        self,
        scenario: Scenario,
        display: Display,
        clock: Clock,
        stack: Stack,
        sim_pop: SimPop,
        state: gather.StateClient,
    ) -> None:
        self._display = display
        self._clock = clock
        self._stack = stack
        self._sim_pop = sim_pop
        self._scenario = scenario
        self._state = state
        self._readers: dict[str, RibReader] = {
            stack.pop.router[0].name: GobgpRib(stack.r1_grpc),
            stack.pop.router[1].name: FrrRib(stack.r2_vty),
        }
        self._sim = Simulation(sim_pop, self._scenario, self._readers, stack.sflow, clock, SimOptions())
        self._story = Story(
            scenario,
            stack,
            sim_pop,
            self._readers,
            clock,
            self._sim.neighbour_died,
            self._window_closed,
            display.note,
        )

    async def run(self, began_s: float) -> dict[str, Figure]:
        """Workers up, traffic, drain, verdict."""
        try:
            await self._start_workers()
            ready_s = self._clock.monotonic_s() - began_s
            traffic_s = self._clock.now_s()
            await self._traffic()
            drained = await self._drain()
            return score(await self._evidence(ready_s, traffic_s, drained))
        finally:
            for reader in self._readers.values():
                await reader.close()

    async def _start_workers(self) -> None:
        self._display.note("starting telemetry and actuator")
        for process in ("telemetry", "actuator"):
            argv = [sys.executable, "-m", "app", process, "--cell", self._stack.pop.name]
            await self._stack.spawn(process, [*argv, "--config", str(self._stack.settings_file)])
        if not await self._until(self._routes_known, READY_WITHIN_S):
            log = self._stack.runner.log("telemetry")
            raise DaemonError(f"telemetry does not hold every route after {READY_WITHIN_S:g} s; its log: {log}")

    async def _routes_known(self) -> bool:
        try:
            ribs = await self._state.get("rib", dict[str, RouterRib])
        except DaemonError:
            return False  # still starting
        return all(rib.prefixes >= len(self._sim_pop.home_link) for rib in ribs.values())

    async def _traffic(self) -> None:
        """Let it flow, show every second of it, and tell the story at its moments."""
        async with asyncio.TaskGroup() as tasks:
            flowing = tasks.create_task(self._sim.run(self._scenario.seconds))
            tasks.create_task(self._story.run())
            truth = TruthFile(self._stack.run_dir / TRUTH_FILE, self._sim_pop, self._clock.now_s())
            while not flowing.done():
                if (snapshot := self._sim.snapshot) is not None:
                    self._display.tick(snapshot)
                    truth.write(self._sim.truth, int(snapshot.at_s))
                await asyncio.wait([flowing], timeout=1.0)

    async def _window_closed(self) -> None:
        """Wait for the first; DaemonError when none comes."""

        async def closed() -> bool:
            return (await self._state.get("progress", Progress)).closed_up_to_s is not None

        if not await self._until(closed, DRAIN_WITHIN_S):
            raise DaemonError(f"telemetry closed no window in {DRAIN_WITHIN_S:g} s")

    async def _drain(self) -> bool:
        """Everything sent is counted and, where the overload ends, every move taken back; False when too late."""
        self._display.note("draining: last windows, last releases")
        length_s = self._stack.deployment.settings.windows.length_s
        last_end_s = int(self._clock.now_s() // length_s + 1) * length_s

        async def drained() -> bool:
            progress = await self._state.get("progress", Progress)
            closed = (progress.closed_up_to_s or 0) >= last_end_s
            if self._scenario.verdict in STILL_NEEDED:
                return closed
            ours = count_overrides(await read_tables(self._readers), self._stack.pop.marker_community)
            return closed and not ours and not await gather.overrides_now(self._stack.broker, self._stack.pop.name)

        return await self._until(drained, DRAIN_WITHIN_S)

    async def _until(self, happened: Callable[[], Awaitable[bool]], within_s: float) -> bool:
        give_up_s = self._clock.monotonic_s() + within_s
        while not await happened():
            if self._clock.monotonic_s() > give_up_s:
                return False
            await asyncio.sleep(POLL_S)
        return True

    async def _evidence(self, ready_s: float, traffic_s: float, drained: bool) -> Evidence:
        stack, pop, windows = self._stack, self._stack.pop, self._stack.deployment.settings.windows
        surged = next(index for index, link in enumerate(pop.links) if link.endswith(self._scenario.link))
        mark = stack.deployment.settings.marks.enter
        own, story, summary = set(pop.own_prefixes), self._story, self._sim.summary()
        kill = story.kills[0] if story.kills else None
        after = await edges.show(stack)
        received = [line for peer in self._sim_pop.announcements for line in stack.received(peer)]
        leaked = tuple(line for line in received if line.split()[0] not in own)
        return Evidence(
            seconds_to_ready=ready_s,
            drained=drained,
            surged_link=list(pop.links)[surged],
            summary=summary,
            progress=await self._state.get("progress", Progress),
            dead_letters=len(await read_topic(stack.broker, topics.DEAD_LETTERS.name)),
            udp_drops=udp_drops(stack.sflow[1]),
            decisions=await gather.published(stack.broker, topics.DECISIONS.for_pop(pop.name), Decision),
            close_to_decision_s=await gather.close_to_decision(stack.broker, pop.name, windows, traffic_s),
            utilization=await gather.published(stack.broker, topics.LINK_UTILIZATION.name, LinkUtilization),
            truth=tuple(gather.link_truth(self._sim, surged, traffic_s, windows)),
            actuations=await gather.published(stack.broker, topics.ACTUATIONS.name, Actuation),
            surge=gather.surge(self._sim, self._sim_pop, surged, traffic_s, mark, kill),
            kill=kill,
            marked_during={shown.router: len(shown.lines) for shown in story.during},
            marked_copies={shown.router: shown.copies(self._sim_pop.announcements) for shown in story.during},
            marked_after={shown.router: len(shown.lines) for shown in after},
            announcements_leaked=leaked,
            overrides_leaked=sum(pop.marker_community in line.split() for line in leaked),
            announcements_received=len(received),
            restarts=sum(stack.runner.restarts.values()),
            verdict=self._scenario.verdict,
            pushed_over=tuple(self._pushed_over()),
            planted=tuple(story.planted),
            loop_after_removal_s=gather.loop_after_removal_s(story.planted, summary.last_loop_s, traffic_s),
            injected=story.injected,
        )

    def _pushed_over(self) -> Iterator[str]:
        settings, sim = self._stack.deployment.settings, self._sim_pop
        return gather.pushed_over(
            self._sim.truth, sim.link_ids, sim.capacity_bps, settings.windows.length_s, settings.marks.fill_to
        )
