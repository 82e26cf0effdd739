"""The telemetry worker of a simulated run: the code of production on simulated tables, clock and streams."""

from app.config.inventory import Pop
from app.config.settings import Settings
from app.simulation.worker import Worker
from app.telemetry import TelemetryPorts, assemble
from tables.rib import Pace

GROUP = "autopilot-telemetry-p"


class SimulatedTelemetry:
    """One telemetry process from its recovery to its end."""

    def __init__(self, worker: Worker, pop: Pop, settings: Settings, pace: Pace) -> None:
        self.worker = worker
        ports = TelemetryPorts(worker.app, worker.process.clock, worker.table, worker.read, pace)
        cell = assemble({pop.name: pop}, settings, ports)
        self.routes, self.counters, self.flows = cell.routes, cell.counters, cell.flows
