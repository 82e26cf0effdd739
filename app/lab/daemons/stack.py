"""The whole local stack as one async context manager: broker, collectors, routers, injectors, neighbours.

Entering it returns when every daemon reports that it is up; leaving it stops all of them.
"""

import asyncio
import shutil
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from app.clock import Clock, SystemClock
from app.config.inventory import Pop, Router, Session, load_pop
from app.config.settings import OVERLAY, Deployment, Kafka
from app.contract import topics
from app.contract.identities import name_of
from app.contract.topics import Component
from app.errors import AutopilotError, ConfigError, EnvironmentProblem
from app.kafka.admin import create_topics
from app.lab.daemons import collectors, exabgp, frr, gobgp
from app.lab.daemons.deployment import load_local, merged, write_inventory, write_settings
from app.lab.daemons.guard import Guard
from app.lab.daemons.kafka import format_storage, reached_at, start_kafka
from app.lab.daemons.machine import make_run_dir, open_site
from app.lab.daemons.ports import StackPorts
from app.lab.daemons.runner import Program, Runner
from app.lab.pop.model import Announcement


class StackOptions(NamedTuple):
    """What may differ between stacks. `export_policy=False` removes the export guard of the gobgpd edge (r1).

    With `guarded` each client of the broker has an identity of its own, by certificate, and only the rights it needs.
    """

    run_dir: Path | None = None  # None: a temporary directory
    settings: Mapping[str, object] = {}  # override the stack's own settings, table by table
    export_policy: bool = True
    ports: StackPorts | None = None  # None: free ports are chosen
    guarded: bool = False


NO_OPTIONS = StackOptions()


class Stack:
    """A PoP of two edge routers (gobgpd and FRR) with its collectors, on loopback.

    `routes` maps a session's peer address to what that neighbour announces, with AS paths as the edge receives them.
    `on_broker` runs as soon as the broker has its topics, while the other daemons are still starting. Use it in the
    main thread only (see runner).
    """

    run_dir: Path
    kafka: Kafka
    sflow: tuple[str, int]
    settings_file: Path
    deployment: Deployment
    r1_grpc: str
    r2_vty: Path

    def __init__(
        self,
        inventory: Path,
        routes: Mapping[str, Sequence[Announcement]],
        options: StackOptions = NO_OPTIONS,
        on_progress: Callable[[str], None] = lambda line: None,
        on_broker: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._inventory = inventory
        self._routes = routes
        self._options = options
        self._progress = on_progress
        self._on_broker = on_broker
        self._clock: Clock = SystemClock()
        self._exit = AsyncExitStack()
        self._collects = asyncio.Event()  # whether pmbmpd takes BMP
        self._ended_early = False
        self._guard: Guard | None = None
        self.runner: Runner

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException as error:
            await self._end(error)
            raise
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress("stopping the daemons")
        await self._end(error)

    async def spawn(
        self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None, restarts_max: int = 5
    ) -> None:
        """Run one of our workers as our own user. If it ends by itself it is restarted, with backoff."""
        await self.runner.start(
            Program(name=name, argv=argv, env=env or {}, restarts_max=restarts_max, keeps_user=True)
        )

    def kafka_of(self, component: Component) -> Kafka:
        """How a component of this PoP reaches the broker."""
        if self._guard is None:
            return reached_at(f"127.0.0.1:{self.site.ports.kafka}")
        return self._guard.kafka(name_of(component, self.pop.name))

    def identity_of(self, component: Component) -> dict[str, str]:
        """The variables by which a process that has the settings of this stack is this component to the broker."""
        kafka = self.kafka_of(component)
        files = {"kafka.cert_file": kafka.cert_file, "kafka.key_file": kafka.key_file}
        return {OVERLAY[key]: file for key, file in files.items() if file is not None}

    async def kill_neighbour(self, peer: str) -> float:
        """SIGKILL one neighbour, as if its line card died; the time of the kill in Unix seconds."""
        killed_at = self._clock.now_s()
        await self.runner.kill(exabgp.name_of(peer))
        return killed_at

    def received(self, peer: str) -> list[str]:
        """Every announcement that reached this neighbour: prefix and communities, separated by spaces."""
        return exabgp.received(self.site, peer)

    async def stop_collectors(self) -> None:
        """Stop sfacctd and pmbmpd. sfacctd first writes what it still holds to Kafka."""
        await asyncio.gather(*(self.runner.stop(name) for name in collectors.NAMES))

    async def _start(self) -> None:
        self.run_dir = make_run_dir(self._options.run_dir)
        inventory = write_inventory(self.run_dir, self._inventory)
        self.pop = load_pop(inventory)
        self._check_pop()
        self.site = open_site(self.run_dir, _bgp_addresses(self.pop), self._options.ports)
        settings = self._options.settings
        if self._options.guarded:
            self._guard = Guard(self.site, {self.pop.name: [self.pop.name]})
            settings = merged({"kafka": self._guard.keys(name_of("operator", self.pop.name))}, settings)
        self.kafka = self.kafka_of("operator")
        self.sflow = ("127.0.0.1", self.site.ports.sflow)
        self.settings_file = write_settings(self.run_dir, inventory, self.kafka.broker, settings)
        self.deployment = load_local(self.settings_file)
        r1, r2 = self.pop.router
        self.r1_grpc = gobgp.target(self.site, r1.name)
        self.r2_vty = frr.vty_socket(self.site, r2)
        self.runner = await self._exit.enter_async_context(Runner(self.run_dir, self.site.user, self._progress))
        self._exit.callback(self._note_the_ended)
        # Both take seconds to stop, so they stop in parallel and before the other daemons.
        self._exit.push_async_callback(self.stop_collectors)
        await self._start_all(r1, r2)

    async def _start_all(self, r1: Router, r2: Router) -> None:
        """Start broker and collectors in parallel with the routers: both need seconds to find their peers.

        gobgpd looks for its BMP collector 0, 1, 3, 7 and 15 s after its start. The collector needs a broker, which
        takes 4 to 6 s to start after formatting, so gobgpd finds it on the fourth attempt. FRR waits for it: if it
        finds its collector while sessions come up, it may never report one of them (seen with 8.4, 2 starts in 10 on a
        busy machine).
        """
        self._progress("formatting Kafka's storage")
        await format_storage(self.runner, self.site, self._guard.properties() if self._guard else "")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._start_feeds(group))
                group.create_task(self._start_bgp(r1, r2))
        except* AutopilotError as errors:
            raise errors.exceptions[0] from None
        self._progress("waiting until every route has reached Kafka")
        await collectors.wait_for_bmp(self.runner, self.kafka, self.pop, self._reported(r1, r2), self._routes)
        self._progress("the daemons are ready")

    async def _start_feeds(self, beside: asyncio.TaskGroup) -> None:
        self._progress("starting Kafka")
        await start_kafka(self.runner, self.site)
        if self._guard:
            await self._guard.give_rights()
        await create_topics(self.kafka, topics.named([self.pop.name]))
        if self._on_broker is not None:
            beside.create_task(self._on_broker())
        self._progress("starting the collectors (pmacct)")
        await collectors.start_pmbmpd(self.runner, self.site, self.pop, self.kafka_of("pmbmpd"))
        self._collects.set()
        refresh_s = self.deployment.settings.windows.refresh_s
        ways = collectors.Ways(self.kafka_of("sfacctd"), self.kafka)
        await collectors.start_sfacctd(self.runner, self.site, self.pop, refresh_s, ways)
        self._progress("the collectors are up")

    async def _start_bgp(self, r1: Router, r2: Router) -> None:
        self._progress("starting the routers and their neighbours (GoBGP, FRR, ExaBGP)")
        await gobgp.start_edge(self.runner, self.site, self.pop, r1, self._options.export_policy)
        await self._collects.wait()
        await frr.start_edge(self.runner, self.site, self.pop, r2)
        await self._start_injectors()
        for router, session in _sessions(self.pop):
            routes = self._routes.get(session.peer, ())
            await exabgp.start_neighbour(self.runner, self.site, self.pop, router, session, routes)
        await self._wait_for_sessions(r1, r2)
        self._progress("all BGP sessions are up")

    async def _start_injectors(self) -> None:
        for router in self.pop.router:
            await gobgp.start_injector(self.runner, self.site, self.pop, router)
            await self._start_reaper(router)

    async def _start_reaper(self, router: Router) -> None:
        settings = self.deployment.settings
        options = {
            "--target": router.injector.grpc,
            "--marker": self.pop.marker_community,
            "--halt-file": settings.halt_file,
            "--lease-s": str(settings.pacing.lease_s),
        }
        argv = [sys.executable, "-m", "app", "reaper", *(word for option in options.items() for word in option)]
        await self.spawn(f"reaper-{router.name}", argv)

    async def _wait_for_sessions(self, r1: Router, r2: Router) -> None:
        await self.runner.ready(r1.name, gobgp.established(self.r1_grpc, self._expected(r1, r2)))
        await self.runner.ready(r2.name, frr.established(self.r2_vty, self._expected(r2, r1)))
        await self._wait_for_injectors()
        for _, session in _sessions(self.pop):
            await self.runner.ready(
                exabgp.name_of(session.peer), exabgp.hears(self.site, session.peer, self.pop.own_prefixes)
            )

    async def _wait_for_injectors(self) -> None:
        for router in self.pop.router:
            name = f"injector-{router.name}"
            up = gobgp.established(gobgp.target(self.site, name), {router.ibgp_address: 0})
            await self.runner.ready(name, up)

    def _expected(self, router: Router, other: Router) -> dict[str, int]:
        """By peer address, the least number of routes that this router must have received from it."""
        ebgp = {s.peer: len(self._routes.get(s.peer, ())) for owner, s in _sessions(self.pop) if owner is router}
        return ebgp | {other.ibgp_address: 0, router.injector.address: 0}

    async def _end(self, error: BaseException | None) -> None:
        """Stop everything, and delete a temporary run directory unless something failed and its logs are needed."""
        await self._exit.aclose()
        failed = isinstance(error, Exception) and not isinstance(error, (ConfigError, EnvironmentProblem))
        if failed or self._ended_early:
            self._progress(f"the logs are in {self.run_dir}")
        elif self._options.run_dir is None:
            shutil.rmtree(self.run_dir)

    def _note_the_ended(self) -> None:
        self._ended_early = bool(self.runner.ended)

    def _reported(self, r1: Router, r2: Router) -> set[str]:
        """Whose sessions the routers report by BMP."""
        return {*self._expected(r1, r2), *self._expected(r2, r1)}

    def _check_pop(self) -> None:
        problems = [
            f"routes: the inventory has no session with {peer}" for peer in self._routes if peer not in _peers(self.pop)
        ]
        if len(self.pop.router) != 2:
            problems.append(f"{self._inventory.name}: the local stack needs exactly two edge routers")
        if problems:
            raise ConfigError(problems)


def _sessions(pop: Pop) -> list[tuple[Router, Session]]:
    return [(pop.routers[link.router], session) for link in pop.link for session in link.sessions]


def _peers(pop: Pop) -> list[str]:
    return [session.peer for _, session in _sessions(pop)]


def _bgp_addresses(pop: Pop) -> list[str]:
    inside = [address for router in pop.router for address in (router.ibgp_address, router.injector.address)]
    return [*inside, *_peers(pop)]
