"""Everything that actuates one PoP, put together: reconcilers, speakers, drivers, halt file and reaper. No Kafka."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from app.actuation.bmp_witness import BmpWitness
from app.actuation.driver import Driver
from app.actuation.dryrun import DryRunWitness
from app.actuation.journal import Journal
from app.actuation.reaper import BlockingSpeaker, Reaper
from app.actuation.reconciler import Reconciler, Timing
from app.bgp.memory import MemorySpeaker
from app.bgp.speaker import BgpSpeaker
from app.clock import Clock
from app.config.inventory import Pop, Router
from app.contract.schemas import Actuation, Decision, Mode
from app.errors import SpeakerError
from app.te.routing.rib import Rib

log = logging.getLogger(__name__)


class PopPorts(NamedTuple):
    """What a PoP's actuator needs of the world around it.

    `open_speaker` gives the two connections to a router's injector, for the event loop and for the reaper's thread, and
    raises SpeakerError where another process writes to it. `run_reaper` lets a reaper look again and again.
    """

    clock: Clock
    open_speaker: Callable[[Router], tuple[BgpSpeaker, BlockingSpeaker]]
    publish: Callable[[Actuation], None]
    ready: Callable[[], bool]
    halted: Callable[[], bool]
    run_reaper: Callable[[Reaper], None]


class PopActuator:
    """One PoP. Only in auto mode do decisions reach the routers; in a dry run they are followed in memory.

    What an earlier auto run left in the gobgpds is guarded and taken back in every mode.
    """

    def __init__(self, pop: Pop, rib: Rib, mode: Mode, timing: Timing, ports: PopPorts) -> None:
        clock, publish, ready = ports.clock, ports.publish, ports.ready
        self._memory = {router: MemorySpeaker() for router in pop.routers}
        self.reconciler = Reconciler(
            BmpWitness(pop, rib), clock, Journal(pop.name, clock, publish, dry=False), ready, timing
        )
        dry_journal = Journal(pop.name, clock, publish, dry=True)
        self.dry = Reconciler(DryRunWitness(pop, rib, self._memory), clock, dry_journal, ready, timing)
        for router in self._memory:
            self.dry.listed(router, {})
        self._pop = pop
        self._mode = mode
        self._ports = ports
        self._speakers: dict[str, BgpSpeaker] = {}
        self._blocking: dict[str, BlockingSpeaker] = {}
        self._reaper: Reaper | None = None
        self.decided_s: float | None = None  # when the newest decision was made, Unix seconds

    @property
    def reaped_s(self) -> float | None:
        """When the reaper looked last, monotonic seconds."""
        return self._reaper.looked_s if self._reaper else None

    def follow(self, decision: Decision) -> None:
        """Follow a decision as far as its mode and ours allow."""
        self.decided_s = decision.made_at.timestamp()
        if self._mode == "auto" and decision.mode == "auto":
            self.reconciler.follow(decision)
        elif self._mode == "dry-run" and decision.mode != "observe":
            self.dry.follow(decision)

    def rib_changed(self, prefixes: Sequence[str]) -> None:
        """BMP told of these prefixes."""
        self.reconciler.rib_changed(prefixes)
        self.dry.rib_changed(prefixes)

    def halt(self, source: str, on: bool) -> None:
        """A kill switch stands so."""
        self.reconciler.halt(source, on)
        self.dry.halt(source, on)

    async def run(self) -> None:
        """Until cancelled; then the routes stay, for whoever comes next to adopt. SpeakerError as from `open`."""
        try:
            self.open()
            async with asyncio.TaskGroup() as tasks:
                for job in self.jobs():
                    tasks.create_task(job)
        finally:
            await self._close()

    def jobs(self) -> list[Coroutine[Any, Any, None]]:
        """What runs side by side once it is open, each until it is cancelled."""
        jobs = [Driver(self.reconciler, self._speakers, self._ports.clock).run()]
        if self._mode == "dry-run":
            jobs.append(Driver(self.dry, self._memory, self._ports.clock).run())
        return [*jobs, self._watch()]

    def open(self) -> None:
        """Connect to the injectors; SpeakerError in auto mode where another process writes to one of them."""
        for router in self._pop.router:
            try:
                speaker, blocking = self._ports.open_speaker(router)
            except SpeakerError as error:
                if self._mode == "auto":
                    raise
                log.warning(
                    "router %s is left alone, for in %s mode nothing is added: %s",
                    router.name,
                    self._mode,
                    error,
                    extra={"pop": self._pop.name, "router": router.name},
                )
                continue
            self._speakers[router.name], self._blocking[router.name] = speaker, blocking
        timing, ports = self.reconciler.timing, self._ports
        self._reaper = Reaper(self._pop, self._blocking, ports.clock, ports.halted, timing.lease_s, timing.reap_grace_s)
        ports.run_reaper(self._reaper)

    async def _watch(self) -> None:
        """The halt file, and what the reaper must know."""
        while True:
            self.halt("file", self._ports.halted())
            if self._reaper is not None:
                self._reaper.deadlines = self.reconciler.deadlines()
            await asyncio.sleep(self.reconciler.timing.tick_s)

    async def _close(self) -> None:
        if self._reaper is not None:
            self._reaper.stop()
        for speaker in self._speakers.values():
            await speaker.close()
        for blocking in self._blocking.values():
            blocking.close()
