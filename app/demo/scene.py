"""What a run of the demo is made of, for those who act in it and those who look at it."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.clock import Clock
from app.demo.gather import StateClient
from app.local.stack import Stack
from app.sim.pop import SimPop
from app.sim.ribs import RibReader
from app.sim.run import Simulation
from app.sim.scenario import Scenario


@dataclass(frozen=True, eq=False)
class Scene:
    """A stack that is up with the simulated traffic on top; `readers` give each router's table."""

    scenario: Scenario
    stack: Stack
    sim_pop: SimPop
    sim: Simulation
    readers: Mapping[str, RibReader]
    state: StateClient
    clock: Clock
