"""Datagrams of the agents: which interface, which agent, what numbering."""

import numpy as np
import pytest

from app.lab.pop.exporter import FLUSH_S, Datagram, Exporter
from app.lab.pop.packets import FRAME_BYTES_MEAN
from app.lab.pop.sampler import Sampler
from app.lab.pop.traffic import PortCounters
from tests.app.lab.pop.wire import Decoded, decode, destination
from tests.app.lab.pop.world import inventory, natural_exits, world

RATE = 32768
ROUTER = {"192.0.2.1": "r1", "192.0.2.2": "r2"}


@pytest.fixture(scope="module")
def datagrams() -> list[Datagram]:
    sim = world()
    rng = np.random.default_rng(1)
    samples = Sampler(6, RATE, rng).sample(sim.demand_bps / 8, natural_exits().link, 1.0)
    return Exporter(sim, RATE, rng).flows(samples, uptime_s=5.0)


def decoded(datagrams: list[Datagram]) -> list[Decoded]:
    return [decode(datagram.payload) for datagram in datagrams]


def test_each_agent_numbers_its_datagrams_in_order_of_time(datagrams: list[Datagram]) -> None:
    for agent in ROUTER:
        mine = [datagram for datagram in decoded(datagrams) if datagram.agent == agent]
        assert [datagram.sequence for datagram in mine] == list(range(1, len(mine) + 1))
        assert all(5000 <= datagram.uptime_ms <= 6000 for datagram in mine)
    due_s = [datagram.due_s for datagram in datagrams]
    assert due_s == sorted(due_s)
    assert max(np.diff(due_s)) < 2 * FLUSH_S


def test_input_tells_where_the_packet_entered_and_output_the_link(datagrams: list[Datagram]) -> None:
    sim, exits = world(), natural_exits().link
    index_of_host = {host: i for i, hosts in enumerate(sim.prefixes.hosts) for host in hosts}
    seen = set()
    for datagram in decoded(datagrams):
        exit_router = ROUTER[datagram.agent]
        for flow in datagram.flows:
            host = destination(flow["header"])
            ingress = inventory().ingress_by_interface[exit_router, flow["input"]]
            link = inventory().link_by_interface[exit_router, flow["output"]]
            where = exits[sim.router_names.index(ingress), index_of_host[host]]
            assert sim.link_ids[where] == link
            assert flow["source"] == flow["output"]
            seen.add((ingress, link))
    assert len(seen) > 8, "both ingress routers over most links"


def test_what_is_counted_is_what_the_samples_say(datagrams: list[Datagram]) -> None:
    for datagram in datagrams:
        router = ROUTER[decode(datagram.payload).agent]
        assert [(sampled.link, sampled.size_bytes) for sampled in datagram.sampled] == [
            (inventory().link_by_interface[router, flow["output"]], flow["frame_length"] * flow["rate"])
            for flow in decode(datagram.payload).flows
        ]
    total = sum(sampled.size_bytes for datagram in datagrams for sampled in datagram.sampled)
    assert total == pytest.approx(world().demand_bps.sum() / 8, rel=0.2)
    assert total / RATE / sum(len(datagram.sampled) for datagram in datagrams) == pytest.approx(
        FRAME_BYTES_MEAN, rel=0.1
    )


def test_counters_of_every_link_once_by_its_router() -> None:
    exporter = Exporter(world(), RATE, np.random.default_rng(1))
    out = decoded(exporter.counters(PortCounters(inventory().link).poll(), uptime_s=2.0, due_s=1.0))
    seen = {(ROUTER[each.agent], counters["ifIndex"]) for each in out for counters in each.counters}
    assert seen == set(inventory().link_by_interface)
    assert [each.uptime_ms for each in out] == [3000, 3000]
