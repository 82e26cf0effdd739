"""The world of one seed: a small PoP and the whole product around it."""

import random
from collections.abc import Callable
from typing import Literal

import msgspec

from app.config.settings import Settings
from app.config.thresholds import Pacing, WindowSettings
from app.simulation import actuator, telemetry
from app.simulation.actuator import SimulatedActuator
from app.simulation.broker import Broker
from app.simulation.collectors import WINDOW_S, Collectors
from app.simulation.invariants import Checks
from app.simulation.loop import Process, Violation, World
from app.simulation.network import SimulatedNetwork
from app.simulation.signers import TRUST
from app.simulation.telemetry import SimulatedTelemetry
from app.simulation.worker import Disk, Worker
from tables.rib import Pace

START_S = 1_795_246_100.0
FAULTS_S, END_S = 50.0, 105.0
LAG_S = 3.0  # nothing new comes for this long at the end; then nothing may be waiting
DOWN_S = (0.5, 0.5, 0.5, 1.0, 2.0, 12.0, 28.0)  # until a supervisor restarts a process
SETTINGS = Settings(
    pops=("p",),
    mode="auto",
    trust=TRUST,
    windows=WindowSettings(length_s=WINDOW_S, grace_s=1, refresh_s=2, retention_s=20),
    pacing=Pacing(
        add_within_s=15,
        lease_s=30,
        min_stay_s=10,
        share_decay_s=10,
        share_attack_s=5,
        quarantine_s=20,
        release_share=0.5,
    ),
)
# Rows of routes are written all at once, or little by little as with a full table.
PACES = (Pace(), Pace(records=40, bytes_min=1, idle_bytes_min=1))
# The reasons for which a worker may end itself; any other is a bug.
ALLOWED_ENDS = ("ExactnessError", "TimeoutError", "OSError", "frozen for", "killed")


class Run:
    """Everything in the run of one seed.

    `ends` says how: the traffic calms down, or everything but the actuator is lost. `on_event` gets every event.
    """

    def __init__(self, seed: int, with_faults: bool, on_event: Callable[[str], None] | None = None) -> None:
        self.world = World(seed, START_S)
        self.world.on_event = on_event
        traffic = random.Random(~seed)
        self.broker = Broker(self.world)
        self.network = SimulatedNetwork(self.world, self.broker, traffic)
        self.collectors = Collectors(self.network, traffic)
        self.checks = Checks(self.broker, self.network, self.collectors, SETTINGS)
        self.settings, self.lag_s = SETTINGS, LAG_S
        self.windows, self.pop = SETTINGS.windows, self.network.pop  # as telemetry is configured
        self.pace = PACES[seed % len(PACES)]
        self.disks = (Disk(), Disk())  # telemetry can run on two machines
        self.machine = 0
        self.actuator_disk = Disk()
        self.flaky, self.restarts = with_faults, True
        self.ends: Literal["calm", "lost"] = "lost" if traffic.random() < 0.2 else "calm"
        surge, low_s = traffic.uniform(1.45, 1.9), traffic.uniform(5.0, 12.0)
        self.world.after(low_s, lambda: self._surge(surge))
        self.world.after(FAULTS_S - 5 if self.ends == "calm" else 1e6, lambda: self._surge(0.8))
        self.world.every(1.0, lambda: self.checks.tick(self.actuator))
        self.network.lease_s = SETTINGS.pacing.lease_s
        for router in self.network.pop.routers:
            actuator.start_reaper(self.network, router, self._skew_s())
        self.start_telemetry()
        self.start_actuator()

    def _surge(self, factor: float) -> None:
        self.world.note(f"demand x {factor:.2f}")
        self.collectors.surge = factor

    def start_telemetry(self) -> None:
        """Start a telemetry process; a running one is superseded."""
        if (before := self.broker.owner.get(telemetry.GROUP)) is not None:
            before.superseded = True
        worker = self._worker("telemetry", telemetry.GROUP, self.disks[self.machine])
        settings = msgspec.structs.replace(SETTINGS, windows=self.windows)
        self.telemetry = SimulatedTelemetry(worker, self.pop, settings, self.pace)

    def reload_telemetry(self) -> None:
        """Let the running telemetry process take over the configuration of now."""
        self.telemetry.reload(self.pop, msgspec.structs.replace(SETTINGS, windows=self.windows))

    def start_actuator(self) -> None:
        """Start an actuator process in place of the last one."""
        worker = self._worker("actuator", actuator.GROUP, self.actuator_disk)
        self.actuator = self._actuator(worker)

    def start_second_writer(self) -> Process:
        """Start another actuator that reads and decides like the first one, as by mistake; return its process."""
        worker = self._worker("second writer", "autopilot-actuator-second", Disk())
        self._actuator(worker)
        return worker.process

    def _actuator(self, worker: Worker) -> SimulatedActuator:
        checks = self.world.watched(self.checks.announced), self.world.watched(self.checks.wrote)
        return SimulatedActuator(worker, self.network, SETTINGS, checks, self.pace)

    def _worker(self, name: str, group: str, disk: Disk) -> Worker:
        """A new process on this machine, which now owns the group."""
        process = Process(self.world, name, self._skew_s(), self._ended)
        return Worker(process, self.broker, group, disk, self.flaky)

    def _skew_s(self) -> float:
        return self.world.rng.uniform(-2, 2) if self.flaky else 0.0

    def _ended(self, process: Process, reason: str) -> None:
        """Restart a process that ended, as a supervisor does, unless a successor already runs on another machine."""
        if process.name == "second writer":
            return
        if not reason.startswith(ALLOWED_ENDS):
            self.world.violation = Violation(f"I0 {process.name} ended by itself: {reason}")
        current, start = (
            (self.telemetry, self.start_telemetry)
            if process.name == "telemetry"
            else (self.actuator, self.start_actuator)
        )
        if current.worker.process is process and self.restarts:
            down_s = min(self.world.rng.choice(DOWN_S), max(0.5, START_S + FAULTS_S - self.world.now_s))
            self.world.after(down_s, lambda: start() if self.restarts else None)

    def until(self, second: float) -> None:
        """Let time pass up to this second of the run."""
        self.world.run_until(START_S + second)

    def lose_everything(self) -> None:
        """Lose broker, telemetry and actuator for good; the actuator may start once more and can read nothing."""
        self.restarts = self.broker.up = False
        self.telemetry.worker.process.kill("killed for good")
        self.actuator.process.kill("killed for good")
        if self.world.rng.random() < 0.5:
            self.start_actuator()
