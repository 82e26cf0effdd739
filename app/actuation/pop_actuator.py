"""The actuator of one PoP, put together: reconcilers, speakers, drivers and halt file. No Kafka."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from app.actuation.bmp_witness import BmpWitness, HeardOf
from app.actuation.driver import Driver
from app.actuation.dryrun import DryRunWitness
from app.actuation.journal import Journal
from app.actuation.reconciler import Reconciler
from app.actuation.timing import Timing
from app.bgp.memory import MemorySpeaker
from app.bgp.speaker import BgpSpeaker
from app.clock import Clock, utc
from app.config.inventory import Pop, Router
from app.contract.schemas import Actuation, ActuatorStatus, Decision, Mode
from app.tasks import Job, lasting
from app.te.routing.heard import always_heard
from app.te.routing.rib import Rib

REPORT_S = 5.0
HALT_FILE_S = 0.25  # how often the halt file is looked at


class PopPorts(NamedTuple):
    """What the actuator of a PoP needs from outside.

    `open_speaker` returns a connection to a router's injector; it may raise SpeakerError, and is then called again.
    `report` publishes a sign of life; `owner` is the name of this process as a writer to gobgpds; `heard` says how long
    BMP of a router has been silent.
    """

    clock: Clock
    open_speaker: Callable[[Router], BgpSpeaker]
    publish: Callable[[Actuation], None]
    ready: Callable[[], bool]
    halted: Callable[[], bool]
    report: Callable[[ActuatorStatus], None]
    owner: str
    heard: HeardOf = always_heard


class PopActuator:
    """The actuator of one PoP. Only in auto mode it connects to the injectors; a dry run follows decisions in memory.

    Routes that an earlier auto run left in the gobgpds end with the leases that they carry.
    """

    def __init__(self, pop: Pop, rib: Rib, mode: Mode, timing: Timing, ports: PopPorts) -> None:
        clock, publish, ready = ports.clock, ports.publish, ports.ready
        memory = {router: MemorySpeaker() for router in pop.routers}
        self.reconciler = Reconciler(
            BmpWitness(pop, rib, ports.heard), clock, Journal(pop, clock, publish, dry=False), ready, timing
        )
        self.dry = Reconciler(
            DryRunWitness(pop, rib, ports.heard, memory),
            clock,
            Journal(pop, clock, publish, dry=True),
            ready,
            timing,
        )
        for router in memory:
            self.dry.listed(router, {})
        self.heard = ports.heard
        self.decided_s: float | None = None  # when the newest decision was made that was followed, Unix seconds
        self._decision: str | None = None  # its number
        self._pop = pop
        self._mode = mode
        self._ports = ports
        self._is_auto = asyncio.Event()
        self._driver = Driver(
            self.reconciler,
            {router.name: partial(ports.open_speaker, router) for router in pop.router},
            clock,
            ports.owner,
        )
        self._dry_driver = Driver(self.dry, {router: _always(speaker) for router, speaker in memory.items()}, clock)
        self.reconfigure(pop, mode)

    def reconfigure(self, pop: Pop, mode: Mode) -> None:
        """Go on with another inventory, which has the same routers, and another mode.

        When it is not auto any more, no override is renewed: each goes when its lease ends, in order.
        """
        self._pop, self._mode = pop, mode
        self.reconciler.reconfigure(pop)
        self.dry.reconfigure(pop)
        if mode == "auto":
            self._is_auto.set()
        else:
            self.reconciler.forget_waiting()

    def follow(self, decision: Decision) -> None:
        """Follow a decision as far as its mode and the mode of this actuator allow."""
        if self._mode == "auto" and decision.mode == "auto":
            is_followed = self.reconciler.follow(decision)
        elif self._mode == "dry-run" and decision.mode != "observe":
            is_followed = self.dry.follow(decision)
        else:
            is_followed = True  # as far as the modes allow
        if decision.mode != "auto":
            self.reconciler.forget_waiting()
        if is_followed:
            self.decided_s, self._decision = decision.made_at.timestamp(), f"{decision.epoch}.{decision.seq}"

    def rib_changed(self, prefixes: Sequence[str]) -> None:
        """Reconsider these prefixes: BMP reported a change of their paths."""
        self.reconciler.rib_changed(prefixes)
        self.dry.rib_changed(prefixes)

    def halt(self, source: str, on: bool) -> None:
        """Set the kill switch `source` on or off."""
        self.reconciler.halt(source, on)
        self.dry.halt(source, on)

    async def run(self) -> None:
        """Run until cancelled. The routes stay, and the next actuator adopts them."""
        async with asyncio.TaskGroup() as tasks:
            for job in self.jobs():
                tasks.create_task(lasting(job))

    def jobs(self) -> list[Job]:
        """Return what to run side by side, each until it is cancelled."""
        return [self._drive, self._dry_driver.run, self._watch, self._report]

    def status(self) -> ActuatorStatus:
        """Return the sign of life of this moment. Without auto mode, nothing is known of the injectors."""
        now_s = self._ports.clock.now_s()
        speakers = self.reconciler.speakers if self._is_auto.is_set() else {}
        return ActuatorStatus(
            id=f"{self._pop.name}@{round(now_s * 1000)}",
            pop=self._pop.name,
            at=utc(now_s),
            mode=self._mode,
            halted_by=tuple(sorted(self.reconciler.halts)),
            decision=self._decision,
            injectors={router: speaker.status() for router, speaker in speakers.items()},
        )

    async def _drive(self) -> None:
        """Connect to the injectors once the mode is auto, and stay connected: what they hold has to end in order."""
        await self._is_auto.wait()
        await self._driver.run()

    async def _watch(self) -> None:
        """Look at the halt file, again and again."""
        while True:
            self.halt("file", self._ports.halted())
            await asyncio.sleep(HALT_FILE_S)

    async def _report(self) -> None:
        """Publish a sign of life every REPORT_S seconds; before the first, each gobgpd had the time to answer."""
        while True:
            await asyncio.sleep(REPORT_S)
            self._ports.report(self.status())


def _always(speaker: MemorySpeaker) -> Callable[[], BgpSpeaker]:
    return lambda: speaker
