"""Runs the simulated PoP beside real routers: reads their tables, forwards a tick of traffic, reports it as sFlow."""

import asyncio
from collections.abc import Mapping

import msgspec
import numpy as np

from app.clock import Clock
from app.lab.pop.engine import Engine
from app.lab.pop.exits import Floats
from app.lab.pop.exporter import Datagram, Exporter
from app.lab.pop.model import Tables
from app.lab.pop.pop import SimPop
from app.lab.pop.report import Snapshot, Summary, snapshot, summarize
from app.lab.pop.ribs import RibReader
from app.lab.pop.sampler import Sampler
from app.lab.pop.scenario import Scenario
from app.lab.pop.sender import Account, Address, Sender
from app.lab.pop.traffic import PortCounters
from app.lab.pop.truth import Loads, stack

SLIP_S = 0.1  # a tick that is later than this delays those after it


class SimOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Rate and resolution of a run. Each table is read once per tick, so black holes are timed to a tick.

    A second must be a whole number of ticks; counters are polled every `poll_ticks` ticks.
    """

    sampling_rate: int = 32768
    tick_s: float = 0.5
    poll_ticks: int = 2
    window_s: int = 10


class Simulation:
    """One run. `readers` read each router's table, by router name; the caller closes them."""

    def __init__(
        self,
        sim: SimPop,
        scenario: Scenario,
        readers: Mapping[str, RibReader],
        collector: Address,
        clock: Clock,
        options: SimOptions,
    ) -> None:
        self._scenario, self._readers, self._clock, self._options = scenario, readers, clock, options
        self._engine = Engine(sim, scenario, options.tick_s)
        sampling, exporting = np.random.default_rng((sim.seed, 1)).spawn(2)
        self._sampler = Sampler(len(sim.pop.link), options.sampling_rate, sampling)
        self._exporter = Exporter(sim, options.sampling_rate, exporting)
        self._counters = PortCounters(sim.pop.link)
        self._sender = Sender(collector, clock, options.window_s)
        self._stopping = False
        self._late_s = 0.0
        self._ends_s: list[float] = []  # when each tick was reported, since the start

    def neighbour_died(self, peer: str) -> None:
        """Call this when the eBGP neighbour with this address is killed: traffic sent to it is lost from now on."""
        self._engine.neighbour_died(peer)

    def stop(self) -> None:
        """End the run after the tick in progress."""
        self._stopping = True

    @property
    def account(self) -> Account:
        """Which datagrams and samples the kernel has taken so far."""
        return self._sender.account

    @property
    def snapshot(self) -> Snapshot | None:
        """The state in the last tick, for a display; None before the first tick."""
        return snapshot(self._engine)

    @property
    def truth(self) -> Loads:
        """What really happened, in bytes by (second, link); at least one tick must have run."""
        return stack(self._engine.log, group=self._ticks_a_second)

    @property
    def truth_ends_s(self) -> Floats:
        """When each row of `truth` was reported, in seconds since the start; a busy machine is late."""
        group = self._ticks_a_second
        return np.array([self._ends_s[start : start + group][-1] for start in range(0, len(self._ends_s), group)])

    @property
    def _ticks_a_second(self) -> int:
        return round(1 / self._options.tick_s)

    def summary(self) -> Summary:
        """Summarize the run, which must be at least one tick long."""
        return summarize(self._engine, self._scenario, self._sender.account, self._late_s)

    async def run(self, duration_s: float) -> None:
        """Run tick by tick in real time for `duration_s`; SpeakerError if a router's table cannot be read.

        A late tick delays those after it: traffic that caught up would exceed what links can carry.
        """
        start_s, tick_s = self._clock.monotonic_s(), self._options.tick_s
        due_s = start_s
        try:
            for tick in range(round(duration_s / tick_s)):
                await asyncio.sleep(max(0.0, due_s - self._clock.monotonic_s()))
                if (late_s := self._clock.monotonic_s() - due_s) > SLIP_S:
                    self._late_s += late_s
                    due_s += late_s
                if self._stopping:
                    break
                await self._sender.send(self._advance(tick, await self._read()), due_s)
                due_s += tick_s
                self._ends_s.append(max(self._clock.monotonic_s(), due_s) - start_s)
        finally:
            self._sender.close()

    async def _read(self) -> Tables:
        tables = await asyncio.gather(*(reader.best() for reader in self._readers.values()))
        return dict(zip(self._readers, tables, strict=True))

    def _advance(self, tick: int, tables: Tables) -> list[Datagram]:
        """Forward one tick of traffic; the datagrams that report it."""
        tick_s = self._options.tick_s
        step = self._engine.step(tables)
        samples = self._sampler.sample(step.carried.by_pair, step.exits.link, tick_s)
        datagrams = self._exporter.flows(samples, tick * tick_s)
        self._counters.add(step.carried)
        if (tick + 1) % self._options.poll_ticks == 0:
            datagrams += self._exporter.counters(self._counters.poll(), tick * tick_s, tick_s)
        return datagrams
