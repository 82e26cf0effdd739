"""What we say we sent is what a real sfacctd counts: frame length x sampling rate, to the byte."""

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.clock import SystemClock
from app.lab.daemons.machine import binary
from app.lab.daemons.ports import choose_ports, udp_drops
from app.lab.daemons.runner import Program, Runner
from app.lab.pop.exporter import Datagram, Exporter
from app.lab.pop.sampler import Sampler
from app.lab.pop.sender import Account, Sender
from app.lab.pop.traffic import PortCounters
from tests.app.lab.pop.daemons import needed
from tests.app.lab.pop.wire import decode, destination
from tests.app.lab.pop.world import inventory, natural_exits, world
from tests.patience import PATIENCE_S

CONFIG = """\
sfacctd_ip: 127.0.0.1
sfacctd_port: {port}
sfacctd_pipe_size: 4194304
sfacctd_renormalize: false
timestamps_secs: true
timestamps_since_epoch: true
sfacctd_counter_file: {counters}
sfacctd_counter_output: json
plugins: print[flows]
aggregate[flows]: peer_src_ip, in_iface, out_iface, dst_host, timestamp_arrival, sampling_rate
plugin_pipe_zmq[flows]: true
print_refresh_time[flows]: 1
print_output[flows]: json
print_output_file[flows]: {flows}
print_output_file_append[flows]: true
"""
RATE = 8192  # gives some 2,000 samples in one tick of the whole PoP


Key = tuple[str, int, int, str]  # agent, input, output, destination


@pytest.mark.services
async def test_sums_of_a_real_collector_equal_ours(tmp_path: Path) -> None:
    port, flows, counters = choose_ports().sflow, tmp_path / "flows.json", tmp_path / "counters.json"
    config = tmp_path / "sfacctd.conf"
    config.write_text(CONFIG.format(port=port, flows=flows, counters=counters))
    with needed():
        argv = (binary("sfacctd"), "-f", str(config))
    sfacctd = Program(name="sfacctd", argv=argv, stop_signal=signal.SIGINT)
    datagrams = one_tick()

    async def purges() -> str | None:
        # What reaches the collector before its plugin listens is lost.
        return None if "Purging cache" in runner.log("sfacctd").read_text() else "the first purge"

    async def has_all() -> str | None:
        missing = sum(len(each.sampled) for each in datagrams) - sum(row["packets"] for row in rows(flows))
        return f"{missing} samples" if missing > 0 or not rows(counters) else None

    async with Runner(tmp_path) as runner:
        await runner.start(sfacctd, purges, within_s=PATIENCE_S)
        account = await send(datagrams, ("127.0.0.1", port))
        await runner.ready("sfacctd", has_all, within_s=PATIENCE_S)
        assert udp_drops(port) == 0

    assert account.records.total() > 1500
    assert counted(flows) == sent(datagrams)
    by_link = Counter[str]()
    for (agent, _, output, _), size_bytes in counted(flows).items():
        by_link[inventory().link_by_interface[inventory().router_by_agent[agent], output]] += size_bytes
    assert by_link == account.sampled_bytes
    polled = {(row["peer_ip_src"], row["ifIndex"], row["ifSpeed"]) for row in rows(counters) if "ifIndex" in row}
    assert polled == {
        (inventory().routers[link.router].agent_address, link.ifindexes[0], int(link.capacity_bps))
        for link in inventory().link
    }


def one_tick() -> list[Datagram]:
    """What the agents send in a second of calm, with one counter poll."""
    sim, rng = world(), np.random.default_rng(5)
    exporter = Exporter(sim, RATE, rng)
    samples = Sampler(len(sim.pop.link), RATE, rng).sample(sim.demand_bps / 8, natural_exits().link, 1.0)
    return exporter.flows(samples, 0.0) + exporter.counters(PortCounters(sim.pop.link).poll(), 0.0, 1.0)


async def send(datagrams: list[Datagram], collector: tuple[str, int]) -> Account:
    clock = SystemClock()
    sender = Sender(collector, clock)
    await sender.send(datagrams, clock.monotonic_s() - 1)  # all are late: as fast as bursts allow
    sender.close()
    return sender.account


def sent(datagrams: list[Datagram]) -> Counter[Key]:
    """Frame length x rate, as a reader of the wire sees it."""
    sums = Counter[Key]()
    for datagram in (decode(each.payload) for each in datagrams):
        for flow in datagram.flows:
            host = destination(flow["header"])
            sums[datagram.agent, flow["input"], flow["output"], host] += flow["frame_length"] * flow["rate"]
    return sums


def counted(path: Path) -> Counter[Key]:
    sums = Counter[Key]()
    for row in rows(path):
        size_bytes = row["bytes"] * row["sampling_rate"]
        sums[row["peer_ip_src"], row["iface_in"], row["iface_out"], row["ip_dst"]] += size_bytes
    return sums


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
