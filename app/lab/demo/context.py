"""The parts of one run of the demo, for the code that acts in it and the code that observes it."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.clock import Clock
from app.lab.daemons.stack import Stack
from app.lab.demo.state_client import StateClient
from app.lab.pop.pop import SimPop
from app.lab.pop.ribs import RibReader
from app.lab.pop.run import Simulation
from app.lab.pop.scenario import Scenario


@dataclass(frozen=True, eq=False)
class RunContext:
    """A running stack with simulated traffic on top. `readers` read each router's table, by router name."""

    scenario: Scenario
    stack: Stack
    sim_pop: SimPop
    sim: Simulation
    readers: Mapping[str, RibReader]
    state: StateClient
    clock: Clock
