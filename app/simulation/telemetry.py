"""The telemetry worker of a simulated run: what production runs, on tables, a clock and streams of its own."""

from app.config.inventory import Pop
from app.config.settings import Settings
from app.simulation.broker import Broker
from app.simulation.loop import Process
from app.simulation.worker import Disk, Worker
from app.telemetry import TelemetryPorts, assemble
from tables.rib import Pace

GROUP = "autopilot-telemetry-p"


class SimulatedTelemetry:
    """One process from its recovery to its end."""

    def __init__(
        self, process: Process, broker: Broker, disk: Disk, pop: Pop, settings: Settings, flaky: bool, pace: Pace
    ) -> None:
        self.worker = worker = Worker(process, broker, GROUP, disk, flaky)
        ports = TelemetryPorts(worker.app, process.clock, worker.table, worker.read, pace)
        self.routes, self.counters, self.flows = assemble({pop.name: pop}, settings, ports)
