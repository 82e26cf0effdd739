"""The actuator of one PoP, put together: reconcilers, speakers, drivers, halt file and reaper. No Kafka."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from app.actuation.bmp_witness import BmpWitness, HeardOf
from app.actuation.driver import Driver
from app.actuation.dryrun import DryRunWitness
from app.actuation.journal import Journal
from app.actuation.reaper import Reaper
from app.actuation.reconciler import Reconciler, Timing
from app.bgp.blocking import BlockingSpeaker
from app.bgp.memory import MemorySpeaker
from app.bgp.speaker import BgpSpeaker
from app.clock import Clock, utc
from app.config.inventory import Pop, Router
from app.contract.schemas import Actuation, ActuatorStatus, Decision, Mode
from app.errors import SpeakerError
from app.te.routing.heard import always_heard
from app.te.routing.rib import Rib

REPORT_S = 5.0

log = logging.getLogger(__name__)


class PopPorts(NamedTuple):
    """What the actuator of a PoP needs from outside.

    `open_speaker` returns two connections to a router's injector, for the event loop and for the reaper's thread; it
    raises SpeakerError if another process writes to that injector. `run_reaper` makes a reaper look periodically.
    `report` publishes a sign of life; `heard` says how long BMP of a router has been silent.
    """

    clock: Clock
    open_speaker: Callable[[Router], tuple[BgpSpeaker, BlockingSpeaker]]
    publish: Callable[[Actuation], None]
    ready: Callable[[], bool]
    halted: Callable[[], bool]
    run_reaper: Callable[[Reaper], None]
    report: Callable[[ActuatorStatus], None]
    heard: HeardOf = always_heard


class PopActuator:
    """The actuator of one PoP. Decisions reach the routers only in auto mode; a dry run follows them in memory.

    Routes that an earlier auto run left in the gobgpds are guarded and withdrawn in every mode.
    """

    def __init__(self, pop: Pop, rib: Rib, mode: Mode, timing: Timing, ports: PopPorts) -> None:
        clock, publish, ready = ports.clock, ports.publish, ports.ready
        self._memory = {router: MemorySpeaker() for router in pop.routers}
        self.reconciler = Reconciler(
            BmpWitness(pop, rib, ports.heard), clock, Journal(pop.name, clock, publish, dry=False), ready, timing
        )
        dry_journal = Journal(pop.name, clock, publish, dry=True)
        self.dry = Reconciler(DryRunWitness(pop, rib, ports.heard, self._memory), clock, dry_journal, ready, timing)
        for router in self._memory:
            self.dry.listed(router, {})
        self.heard = ports.heard
        self._pop = pop
        self._mode = mode
        self._ports = ports
        self._speakers: dict[str, BgpSpeaker] = {}
        self._blocking: dict[str, BlockingSpeaker] = {}
        self._reaper: Reaper | None = None
        self.decided_s: float | None = None  # when the newest decision was made, Unix seconds
        self._decision: str | None = None  # its number

    @property
    def reaped_s(self) -> float | None:
        """When the reaper last looked, in monotonic seconds; None before its first round."""
        return self._reaper.looked_s if self._reaper else None

    def follow(self, decision: Decision) -> None:
        """Follow a decision as far as its mode and the mode of this actuator allow."""
        self.decided_s, self._decision = decision.made_at.timestamp(), f"{decision.epoch}.{decision.seq}"
        if self._mode == "auto" and decision.mode == "auto":
            self.reconciler.follow(decision)
        elif self._mode == "dry-run" and decision.mode != "observe":
            self.dry.follow(decision)

    def reconfigure(self, pop: Pop, mode: Mode) -> None:
        """Go on with another inventory of the same routers and another mode.

        Overrides of a mode that is left end in order, at the pace of leases that end.
        """
        for reconciler in (self.reconciler, self.dry):
            reconciler.reconfigure(pop)
        if self._mode == "auto" != mode:
            self.reconciler.overrides.end_leases()
        if self._mode == "dry-run" != mode:
            self.dry.overrides.end_leases()
        self._pop, self._mode = pop, mode

    def rib_changed(self, prefixes: Sequence[str]) -> None:
        """Reconsider these prefixes: BMP reported a change of their paths."""
        self.reconciler.rib_changed(prefixes)
        self.dry.rib_changed(prefixes)

    def halt(self, source: str, on: bool) -> None:
        """Set the kill switch `source` on or off."""
        self.reconciler.halt(source, on)
        self.dry.halt(source, on)

    async def run(self) -> None:
        """Run until cancelled; SpeakerError as from `open`. The routes stay, and the next actuator adopts them."""
        try:
            self.open()
            async with asyncio.TaskGroup() as tasks:
                for job in self.jobs():
                    tasks.create_task(job)
                if self._mode != "dry-run":  # it may be one later
                    tasks.create_task(Driver(self.dry, self._memory, self._ports.clock).run())
        finally:
            await self._close()

    def jobs(self) -> list[Coroutine[Any, Any, None]]:
        """Return the coroutines to run side by side after `open`, each until it is cancelled."""
        jobs = [Driver(self.reconciler, self._speakers, self._ports.clock).run()]
        if self._mode == "dry-run":
            jobs.append(Driver(self.dry, self._memory, self._ports.clock).run())
        return [*jobs, self._watch(), self._report()]

    def status(self) -> ActuatorStatus:
        """Return the sign of life of this moment."""
        now_s = self._ports.clock.now_s()
        return ActuatorStatus(
            id=f"{self._pop.name}@{round(now_s * 1000)}",
            pop=self._pop.name,
            at=utc(now_s),
            mode=self._mode,
            halted_by=tuple(sorted(self.reconciler.halts)),
            decision=self._decision,
            injectors={router: speaker.status() for router, speaker in self.reconciler.speakers.items()},
        )

    def open(self) -> None:
        """Connect to the injectors and start the reaper; in auto mode SpeakerError if another process writes to one."""
        for router in self._pop.router:
            try:
                speaker, blocking = self._ports.open_speaker(router)
            except SpeakerError as error:
                if self._mode == "auto":
                    raise
                log.warning(
                    "router %s is left alone, because %s mode announces nothing: %s",
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
        """Look at the halt file, every tick."""
        while True:
            self.halt("file", self._ports.halted())
            await asyncio.sleep(self.reconciler.timing.tick_s)

    async def _report(self) -> None:
        """Publish a sign of life every REPORT_S seconds; before the first, each gobgpd had the time to answer."""
        while True:
            await asyncio.sleep(REPORT_S)
            self._ports.report(self.status())

    async def _close(self) -> None:
        if self._reaper is not None:
            self._reaper.stop()
        for speaker in self._speakers.values():
            await speaker.close()
        for blocking in self._blocking.values():
            blocking.close()
