"""What a run of the demo is made of, for those who act in it and those who look at it."""

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
    """A stack that is up with the simulated traffic on top; `readers` give each router's table."""

    scenario: Scenario
    stack: Stack
    sim_pop: SimPop
    sim: Simulation
    readers: Mapping[str, RibReader]
    state: StateClient
    clock: Clock
