"""The telemetry worker of a simulated run: the code of production on simulated tables, clock and streams."""

import asyncio

from app.config.inventory import Pop
from app.config.settings import Settings
from app.simulation.signers import SIGNER
from app.simulation.worker import Worker
from app.stream.app import between_events
from app.telemetry import TelemetryPorts, assemble
from tables.rib import Pace

GROUP = "autopilot-telemetry-p"


class SimulatedTelemetry:
    """One telemetry process from its recovery to its end."""

    def __init__(self, worker: Worker, pop: Pop, settings: Settings, pace: Pace) -> None:
        self.worker = worker
        ports = TelemetryPorts(worker.app, worker.process.clock, worker.table, worker.read, pace, SIGNER)
        self._cell = cell = assemble({pop.name: pop}, settings, ports)
        self.routes, self.counters, self.flows = cell.routes, cell.counters, cell.flows

    def reload(self, pop: Pop, settings: Settings) -> None:
        """Take over another configuration between two events, as at SIGHUP."""

        async def take_over() -> None:
            async with between_events(self.worker.readers):
                self._cell.reconfigure({pop.name: pop}, settings)
            await asyncio.Event().wait()  # a job lasts as long as its process

        self.worker.process.spawn(take_over())
