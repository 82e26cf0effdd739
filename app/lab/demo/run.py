"""Runs the demo: real daemons, a simulated PoP on top, our two workers, the scenario's faults, and the verdict."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec

from app.clock import SystemClock
from app.config.inventory import load_pop
from app.contract.topics import Component
from app.errors import AutopilotError, DaemonError
from app.lab.daemons.ports import free_port
from app.lab.daemons.stack import Stack, StackOptions
from app.lab.demo.bounds import FigureValue
from app.lab.demo.context import RunContext
from app.lab.demo.display import Display
from app.lab.demo.evidence import ByteAccount
from app.lab.demo.killer import read_tables
from app.lab.demo.observe import observe, overrides_now
from app.lab.demo.score import score
from app.lab.demo.state_client import StateClient
from app.lab.demo.story import Story
from app.lab.demo.timeline import timeline
from app.lab.demo.truthfile import TruthFile
from app.lab.pop.engine import count_overrides
from app.lab.pop.natural import differing, natural_tables
from app.lab.pop.pop import FILL, SimPop, generate
from app.lab.pop.ribs import FrrRib, GobgpRib, RibReader
from app.lab.pop.run import SimOptions, Simulation
from app.lab.pop.scenario import STILL_NEEDED, Scenario, load_scenario

INVENTORY = Path(__file__).parents[3] / "deploy" / "local" / "rhv1000.toml"
READY_WITHIN_S = 180.0
DRAIN_WITHIN_S = 120.0
POLL_S = 0.2
TRUTH_FILE = "truth.jsonl"
# Shorter than the defaults of 300 s, so that the whole story fits into minutes; the demo says so when it starts.
PACING = {"lease_s": 60.0, "min_stay_s": 20.0}


class Options(msgspec.Struct, frozen=True):
    """Options of the demo. `scenario` is a name or a path; `seconds` of None means the scenario's own length.

    With `secure` the broker lets in only who has a certificate, and each may do only what it needs.
    """

    scenario: str = "surge"
    seconds: int | None = None
    seed: int = 1
    secure: bool = False
    run_dir: Path | None = None


class RouterRib(msgspec.Struct, frozen=True):
    """What telemetry reports about one router's table in `/state/rib`."""

    prefixes: int
    peers: int


async def run_demo(options: Options, display: Display) -> dict[str, FigureValue]:
    """Run the whole demo; its figures by name. ConfigError for a bad scenario, otherwise the errors of the stack."""
    clock = SystemClock()
    began_s = clock.monotonic_s()
    pop = load_pop(INVENTORY)
    scenario = load_scenario(options.scenario, pop, options.seconds)
    for line in timeline(options.scenario, scenario):
        display.say(line)
    sim_pop = generate(pop, options.seed, fill={**FILL, **scenario.fill})
    state_port, view_port = free_port(), free_port()
    ports = {"state_port": state_port, "actuator_port": free_port(), "view_port": view_port}
    settings = {"mode": "auto", **ports, "pacing": PACING}
    display.note(
        f"in this demo a move stays at least {PACING['min_stay_s']:g} s and its lease lasts {PACING['lease_s']:g} s"
        " (the default for both is 300 s)"
    )
    stack = Stack(
        INVENTORY,
        sim_pop.announcements,
        StackOptions(options.run_dir, settings, scenario.export_policy, guarded=options.secure),
        display.note,
        on_broker=lambda: start_view(stack, display),
    )
    async with stack:
        context = make_context(scenario, stack, sim_pop, StateClient(state_port, stack.pop.name), clock)
        try:
            return await Demo(context, display).run(began_s)
        finally:
            for reader in context.readers.values():
                await reader.close()


def make_context(
    scenario: Scenario, stack: Stack, sim_pop: SimPop, state: StateClient, clock: SystemClock
) -> RunContext:
    """Put the simulated PoP on top of a running stack."""
    r1, r2 = stack.pop.router
    readers: dict[str, RibReader] = {r1.name: GobgpRib(stack.r1_grpc), r2.name: FrrRib(stack.r2_vty)}
    sim = Simulation(sim_pop, scenario, readers, stack.sflow, clock, SimOptions(sampling_rate=scenario.sampling_rate))
    return RunContext(scenario, stack, sim_pop, sim, readers, state, clock)


async def start_view(stack: Stack, display: Display) -> None:
    """Start the web page. It is only for watching: the demo goes on if it fails to start or ends."""
    port = stack.deployment.settings.view_port
    argv = [sys.executable, "-m", "app", "view", "--config", str(stack.settings_file)]
    argv += ["--truth", str(stack.run_dir / TRUTH_FILE)]
    await stack.spawn("view", argv, stack.identity_of("view"), restarts_max=0)
    try:
        await stack.runner.ready("view", partial(_serves, port))
    except DaemonError as error:
        display.note(str(error))
    else:
        display.say(f"open http://127.0.0.1:{port} in a browser to watch")


async def _serves(port: int) -> str | None:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return f"nothing listens on 127.0.0.1:{port} yet"
    writer.close()
    await writer.wait_closed()
    return None


class Demo:
    """One run of the demo on a running stack."""

    def __init__(self, context: RunContext, display: Display) -> None:
        self._context, self._stack, self._clock, self._display = context, context.stack, context.clock, display
        self._story = Story(context, self._window_closed, display.note)

    async def run(self, began_s: float) -> dict[str, FigureValue]:
        """Start the workers, run the traffic, drain; the figures. The demo began at `began_s`, monotonic."""
        await self._routers_settled()
        await self._start_workers()
        ready_s, traffic_s = self._clock.monotonic_s() - began_s, self._clock.now_s()
        await self._traffic()
        drained = await self._drain()
        return score(await observe(self._context, self._story, ready_s, traffic_s, drained))

    async def _routers_settled(self) -> None:
        """Wait until every router uses the path that plain BGP chooses, so that iBGP has carried every route."""
        self._display.note("waiting until every router forwards as plain BGP does")
        sim_pop = self._context.sim_pop
        natural = natural_tables(sim_pop.pop, sim_pop.announcements)
        astray: list[tuple[str, str]] = []

        async def settled() -> bool:
            astray[:] = differing(await read_tables(self._context.readers), natural)
            return not astray

        if not await self._until(settled, READY_WITHIN_S):
            (router, prefix), *others = astray
            raise DaemonError(
                f"after {READY_WITHIN_S:g} s {router} does not forward {prefix} as plain BGP does,"
                f" nor {len(others)} others; see the logs in {self._stack.run_dir}"
            )

    async def _start_workers(self) -> None:
        self._display.note("starting telemetry and actuator")
        workers: tuple[Component, ...] = ("telemetry", "actuator")
        for process in workers:
            argv = [sys.executable, "-m", "app", process, "--cell", self._stack.pop.name]
            argv += ["--config", str(self._stack.settings_file)]
            await self._stack.spawn(process, argv, self._stack.identity_of(process))
        if not await self._until(self._routes_known, READY_WITHIN_S):
            log = self._stack.runner.log("telemetry")
            raise DaemonError(f"telemetry still lacks routes after {READY_WITHIN_S:g} s; see its log {log}")

    async def _routes_known(self) -> bool:
        try:
            ribs = await self._context.state.get("rib", dict[str, RouterRib])
        except DaemonError:
            return False  # still starting
        return all(rib.prefixes >= len(self._context.sim_pop.home_link) for rib in ribs.values())

    async def _traffic(self) -> None:
        """Run the traffic, show every second of it, and play the scenario's events at their times."""
        try:
            async with asyncio.TaskGroup() as tasks:
                flowing = tasks.create_task(self._context.sim.run(self._context.scenario.seconds))
                tasks.create_task(self._story.run())
                await self._show(flowing)
        except* AutopilotError as errors:
            raise errors.exceptions[0] from None

    async def _show(self, flowing: asyncio.Task[None]) -> None:
        sim, sim_pop = self._context.sim, self._context.sim_pop
        truth = TruthFile(self._stack.run_dir / TRUTH_FILE, sim_pop, self._clock.now_s())
        while not flowing.done():
            if (snapshot := sim.snapshot) is not None:
                self._display.tick(snapshot)
                truth.write(sim.truth, int(snapshot.at_s))
            await asyncio.wait([flowing], timeout=1.0)

    async def _window_closed(self) -> None:
        """Wait until telemetry has closed its first window; DaemonError if it closes none within DRAIN_WITHIN_S."""

        async def closed() -> bool:
            return (await self._context.state.get("progress", ByteAccount)).closed_up_to_s is not None

        if not await self._until(closed, DRAIN_WITHIN_S):
            raise DaemonError(f"telemetry has closed no window within {DRAIN_WITHIN_S:g} s")

    async def _drain(self) -> bool:
        """Wait until all traffic is counted and, if the overload ends, every move taken back; False if that fails."""
        self._display.note("traffic has ended; waiting for the last windows and releases")
        length_s = self._stack.deployment.settings.windows.length_s
        last_end_s = int(self._clock.now_s() // length_s + 1) * length_s

        async def drained() -> bool:
            progress = await self._context.state.get("progress", ByteAccount)
            closed = (progress.closed_up_to_s or 0) >= last_end_s
            if self._context.scenario.verdict in STILL_NEEDED:
                return closed
            overrides = count_overrides(await read_tables(self._context.readers), self._stack.pop.marker_community)
            return closed and not overrides and not await overrides_now(self._stack.kafka, self._stack.pop.name)

        return await self._until(drained, DRAIN_WITHIN_S)

    async def _until(self, happened: Callable[[], Awaitable[bool]], within_s: float) -> bool:
        give_up_s = self._clock.monotonic_s() + within_s
        while not await happened():
            if self._clock.monotonic_s() > give_up_s:
                return False
            await asyncio.sleep(POLL_S)
        return True
