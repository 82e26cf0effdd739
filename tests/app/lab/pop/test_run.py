"""A run in real time, short ticks, against tables made here and a socket that listens."""

import socket
from collections.abc import Callable, Iterator, Mapping

import pytest

from app.clock import Clock, SystemClock
from app.errors import SpeakerError
from app.lab.pop.model import RouterTable
from app.lab.pop.run import SimOptions, Simulation
from app.lab.pop.scenario import Scenario
from tests.app.lab.pop.wire import Decoded, decode
from tests.app.lab.pop.world import IXP_1, IXP_1_PEER, PNI_1, natural, world

OPTIONS = SimOptions(tick_s=0.05, poll_ticks=2)
SURGE = Scenario(calm_s=0, ramp_s=0.05, surge_until_s=60)


class ScriptedRib:
    """A router whose table never changes; runs a step of a script when it is read for the n-th time."""

    def __init__(self, table: RouterTable, script: Mapping[int, Callable[[], None]]) -> None:
        self._table, self._script, self._reads = table, script, 0

    async def best(self) -> RouterTable:
        self._reads += 1
        if step := self._script.get(self._reads):
            step()
        return self._table

    async def close(self) -> None:
        """Nothing to close."""


class LosingClock(SystemClock):
    """The clock of a machine that gave others some of our time."""

    lost_s = 0.0

    def lose(self) -> None:
        self.lost_s += 0.5

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.lost_s


def simulation(
    collector: socket.socket, script: Mapping[int, Callable[[], None]], clock: Clock | None = None
) -> Simulation:
    tables = natural(0)
    readers = {"r1": ScriptedRib(tables["r1"], script), "r2": ScriptedRib(tables["r2"], {})}
    return Simulation(world(), SURGE, readers, collector.getsockname(), clock or SystemClock(), OPTIONS)


@pytest.fixture
def collector() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.setblocking(False)
        yield bound


def received(collector: socket.socket) -> list[Decoded]:
    datagrams = []
    while True:
        try:
            datagrams.append(decode(collector.recv(2000)))
        except BlockingIOError:
            return datagrams


async def test_what_arrives_is_what_is_accounted_and_the_truth_stands_beside(collector: socket.socket) -> None:
    sim = simulation(collector, {})
    began_s = SystemClock().monotonic_s()
    await sim.run(0.2)
    took_s = SystemClock().monotonic_s() - began_s
    summary, datagrams = sim.summary(), received(collector)
    flows = [flow for datagram in datagrams for flow in datagram.flows]
    assert summary.sampled_bytes == sum(flow["frame_length"] * flow["rate"] for flow in flows)
    assert (summary.sampled_records, summary.datagrams) == (len(flows), len(datagrams))
    assert summary.sampled_bytes == pytest.approx(summary.wanted_bytes - summary.dropped_bytes, rel=0.4)
    assert summary.dropped_bytes == summary.dropped_bytes_without_overrides > 0
    polls = [counters for each in datagrams for counters in each.counters]
    assert len(polls) == 2 * 6
    octets = [each["ifOutOctets"] for each in polls if each["ifSpeed"] == 100e9 and each["ifIndex"] == 101]
    assert octets[-1] == pytest.approx(sim.truth.carried[0, PNI_1], abs=1)
    assert sim.truth.carried.shape == (1, 6), "one row for each second, also one begun"
    assert len(sim.truth_ends_s) == 1
    assert 0.2 + summary.late_s <= sim.truth_ends_s[0] + 1e-6 <= took_s + OPTIONS.tick_s


async def test_a_death_and_a_stop_in_the_middle_of_a_run(collector: socket.socket) -> None:
    script: dict[int, Callable[[], None]] = {}
    sim = simulation(collector, script)
    script |= {3: lambda: sim.neighbour_died(IXP_1_PEER), 5: sim.stop}
    await sim.run(60)
    last, summary = sim.snapshot, sim.summary()
    assert last is not None
    assert last.blackholed_bps == pytest.approx(37e9, rel=0.05)
    assert (last.links[IXP_1].carried, last.links[IXP_1].natural) == (0, 0)
    assert summary.duration_s == pytest.approx(5 * OPTIONS.tick_s)
    assert summary.blackholed_bytes == pytest.approx(3 * OPTIONS.tick_s * 37e9 / 8, rel=0.05)


async def test_a_router_that_cannot_be_read_ends_the_run(collector: socket.socket) -> None:
    def gone() -> None:
        raise SpeakerError("gone")

    sim = simulation(collector, {1: gone})
    with pytest.raises(SpeakerError, match="gone"):
        await sim.run(1)
    assert sim.snapshot is None


async def test_a_late_tick_delays_those_after_it(collector: socket.socket) -> None:
    """Traffic that catches up would look like a link that carries more than it can."""
    clock = LosingClock()
    sim = simulation(collector, {3: clock.lose}, clock)
    await sim.run(1.0)
    assert sim.summary().late_s > 0.3
    assert sim.truth_ends_s[-1] > 1.3
