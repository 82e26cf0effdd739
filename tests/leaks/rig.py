"""Starts edges, injectors, neighbours and the actuator; follows decisions until each has settled, and watches."""

import asyncio
import shutil
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from agents.actuate import decode
from app.actuation.describe import describe_overrides, describe_speakers
from app.actuation.ownership import new_owner
from app.actuation.pop_actuator import PopActuator, PopPorts
from app.actuation.timing import Timing
from app.actuator import open_gobgpd
from app.clock import Clock, SystemClock
from app.config.gobgp_settings import Gobgp
from app.config.inventory import Pop, load_pop
from app.contract.decoding import Rejected
from app.contract.schemas import Actuation
from app.errors import AutopilotError
from app.lab.daemons import exabgp, gobgp
from app.lab.daemons.deployment import write_inventory
from app.lab.daemons.machine import make_run_dir, open_site
from app.lab.daemons.runner import Runner
from app.stream.consumer import Record
from app.te.routing.path import Path as RibPath
from app.te.routing.rib import Rib
from tests.keys import ANYBODY
from tests.leaks import configs
from tests.leaks.edges import Hops, edges
from tests.leaks.truth import Truth
from tests.leaks.watch import Watch
from tests.patience import PATIENCE_S

INVENTORY = Path(__file__).parent / "pop.toml"
SESSIONS_EVERY_S = 2.0
POLL_S = 0.005
SETTLED = ("standing", "unclaimed")


def make_actuator(pop: Pop, rib: Rib, clock: Clock, publish: "Journal") -> PopActuator:
    """The actuator of production on real gobgpds, without Kafka around it."""
    ports = PopPorts(
        clock,
        partial(open_gobgpd, clock, Gobgp(), pop),
        publish,
        lambda: True,
        lambda: False,
        lambda status: None,
        new_owner(),
    )
    return PopActuator(pop, rib, "auto", Timing(), ports)


class Journal:
    """Counts what the actuator publishes: actions, and refusals by reason."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, record: Actuation) -> None:
        self.counts[record.action] += 1
        if record.action == "refused":
            self.counts[f"refused: {record.reason}"] += 1


class Rig:
    """The running PoP. `leaky` weakens the export policies; `lying` makes the actuator believe in paths that are none.

    BIRD 2.0 speaks no BMP, so the actuator's Rib is filled here: with what the neighbours announce, once every edge has
    it, and with what each edge says that its injector has sent it. The edges are asked all the time.
    """

    def __init__(self, leaky: bool = False, lying: bool = False) -> None:
        self._leaky, self._lying = leaky, lying
        self._exit = AsyncExitStack()
        self._tables: dict[str, Hops] = {}
        self._sessions_s = 0.0
        self._clock = SystemClock()
        self.journal = Journal()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self._exit.aclose()
        if kind is None:
            shutil.rmtree(self.run_dir)

    async def follow(self, value: bytes) -> str | None:
        """Pass on one decision record and wait until it has settled; why it could not be read, if it could not."""
        decision = decode(self.pop.name, ANYBODY, Record(0, self._clock.now_s(), None, value))
        if isinstance(decision, Rejected):
            self.watch.look({})
            return decision.reason
        self.actuator.follow(decision)
        await self.settle()
        return None

    async def settle(self) -> None:
        """Wait until injectors and edges hold what the actuator wants, and it wants nothing else any more."""
        missing: str | None = "nothing was asked yet"
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not self.has_ended and missing is not None:
                    try:
                        await self._look()
                        missing = self._unsettled()
                    except (AutopilotError, OSError, EOFError) as error:  # an edge does not answer: has it ended?
                        missing = str(error)
                    if missing is not None:
                        await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise AssertionError(f"not settled after {PATIENCE_S:g} s: {missing}; logs: {self.run_dir}") from None

    async def strip(self, on: bool) -> None:
        """Make the edges take NO_EXPORT from our routes, or leave it."""
        for edge in self.edges:
            await edge.strip(on)

    async def drain(self) -> None:
        """Wait until the neighbours have heard everything: sessions keep their order, so something new is sent last."""
        before = dict(self.watch.own_heard)
        for edge in self.edges:
            await edge.announce_again()
        async with asyncio.timeout(PATIENCE_S):
            while any(self.watch.own_heard[peer] <= before.get(peer, 0) for peer in self.truth.announced):
                await self._look()
                await asyncio.sleep(POLL_S)
        await self.watch.look_at_sessions()

    @property
    def has_ended(self) -> bool:
        """Whether the actuator or a daemon has ended."""
        return self._running.done() or bool(self.watch.crashed)

    @property
    def crashed(self) -> int:
        """How many processes have ended by themselves; the actuator counts as one, though it runs in this process."""
        return len(self.watch.crashed) + self._running.done()

    async def _start(self) -> None:
        self.run_dir = make_run_dir(None)
        self.pop = load_pop(write_inventory(self.run_dir, INVENTORY))
        self.truth = Truth(self.pop)
        inside = [address for router in self.pop.router for address in (router.ibgp_address, router.injector.address)]
        self.site = site = open_site(self.run_dir, [*inside, *self.truth.announced])
        self.runner = runner = await self._exit.enter_async_context(Runner(self.run_dir, site.user))
        self.edges = edges(site, self.pop)
        for edge in self.edges:
            await edge.start(runner, self._leaky)
        for router in self.pop.router:
            await gobgp.start(runner, site, f"injector-{router.name}", configs.injector(site, self.pop, router))
        self.watch = Watch(self.pop, self.truth, site, runner)
        await self.watch.start()
        sessions = [(self.pop.routers[link.router], session) for link in self.pop.link for session in link.sessions]
        for router, session in sessions:
            await exabgp.start_neighbour(runner, site, self.pop, router, session, self.truth.announced[session.peer])
        for edge in self.edges:
            received = {s.peer: len(self.truth.announced[s.peer]) for router, s in sessions if router.name == edge.name}
            await runner.ready(edge.program, edge.is_ready(received))
        for _, session in sessions:
            hears = exabgp.hears(site, session.peer, self.pop.own_prefixes)
            await runner.ready(exabgp.name_of(session.peer), hears)
        self._start_actuator()
        await self.settle()

    def _start_actuator(self) -> None:
        self.rib = Rib()
        self.truth.fill(self.rib)
        if self._lying:
            self.truth.fill_with_lies(self.rib)
        self.actuator = make_actuator(self.pop, self.rib, self._clock, self.journal)
        self._running = asyncio.create_task(self.actuator.run(), name="actuator")
        self._exit.push_async_callback(self._stop_actuator)

    async def _stop_actuator(self) -> None:
        self._running.cancel()
        await asyncio.wait([self._running])

    async def _look(self) -> None:
        """Ask every edge for the routes of its injector, tell the actuator as BMP would, and judge them."""
        answers = await asyncio.gather(*(edge.hops() for edge in self.edges))
        changed: set[str] = set()
        for edge, hops in zip(self.edges, answers, strict=True):
            changed |= self._echo(edge.name, hops)
        self.watch.look(self._tables)
        if changed:
            self.actuator.rib_changed(sorted(changed))
        if (now_s := self._clock.monotonic_s()) - self._sessions_s > SESSIONS_EVERY_S:
            self._sessions_s = now_s
            await self.watch.look_at_sessions()

    def _echo(self, router: str, hops: Hops) -> set[str]:
        """Bring the Rib up to what a router has from its injector; the prefixes that changed."""
        injector, before = self.pop.routers[router].injector.address, self._tables.get(router, {})
        changed = {prefix for prefix in before.keys() | hops.keys() if before.get(prefix) != hops.get(prefix)}
        for prefix in changed:
            if (next_hop := hops.get(prefix)) is None:
                self.rib.withdraw(router, prefix, injector)
            else:
                communities = (self.pop.marker_community,)
                self.rib.update(router, prefix, RibPath(injector, next_hop, (), communities=communities, ebgp=False))
        self._tables[router] = hops
        return changed

    def _unsettled(self) -> str | None:
        for router, speaker in describe_speakers(self.actuator.reconciler).items():
            if not (speaker["reachable"] and speaker["owned"]):
                return f"the injector of {router} is not ours: {speaker}"
        for router, injector in self.actuator.status().injectors.items():
            if not injector.held == injector.wanted == injector.shown == len(self._tables[router]):
                return f"{router} has {len(self._tables[router])} of our routes, and its injector {injector}"
        for prefix, entry in describe_overrides(self.actuator.reconciler).items():
            if entry["state"] not in SETTLED:
                return f"{prefix}: {entry}"
        return None
