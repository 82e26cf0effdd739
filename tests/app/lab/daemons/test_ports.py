"""Ports: free ones are chosen, and one that is taken is named with its owner."""

import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec

from app.lab.daemons.ports import choose_ports, free_port, port_problems, udp_drops, udp_holders

LOOPBACKS = ("127.0.0.11", "127.0.0.12")
COMM = Path("/proc/self/comm").read_text().strip()
OURSELVES = f"{COMM} (pid {os.getpid()})"


def test_chosen_ports_are_free_and_differ() -> None:
    ports = choose_ports(LOOPBACKS)
    assert list(port_problems(ports, LOOPBACKS)) == []
    tcp = [ports.kafka, ports.controller, ports.bmp, ports.bgp]
    assert len(set(tcp)) == len(tcp)


def test_a_udp_port_in_use_is_named_though_a_second_bind_would_succeed() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        ports = msgspec.structs.replace(choose_ports(), sflow=port)
        assert list(port_problems(ports)) == [f"UDP port {port} (sflow) is in use by {OURSELVES}"]
        assert udp_holders(port) == [OURSELVES]
    assert udp_holders(port) == []


def test_a_tcp_port_in_use_is_named() -> None:
    with closing(socket.create_server(("127.0.0.11", 0))) as holder:
        port = holder.getsockname()[1]
        ports = msgspec.structs.replace(choose_ports(), bgp=port)
        (problem,) = port_problems(ports, LOOPBACKS)
    assert problem == f"TCP port {port} (bgp) on 127.0.0.11 is in use by {OURSELVES}"


def test_datagrams_that_the_kernel_drops_are_counted() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        reader.bind(("127.0.0.1", 0))
        port = reader.getsockname()[1]
        assert udp_drops(port) == 0
        for _ in range(50):
            reader.sendto(bytes(1000), ("127.0.0.1", port))
        assert udp_drops(port) > 0


def test_a_free_port_can_be_listened_on() -> None:
    with closing(socket.create_server(("127.0.0.1", free_port()))) as server:
        assert server.getsockname()[1] > 0


def test_a_port_once_chosen_is_not_chosen_by_another_process() -> None:
    """Two demos that start together would else get the same port, and neither listens on it yet."""
    port = free_port()
    choice = f"from app.lab.daemons import ports; ports.RANGE = range({port}, {port + 1}); ports.free_port()"
    outcome = subprocess.run([sys.executable, "-c", choice], capture_output=True, text=True, check=False)
    assert f"no TCP port between {port} and {port + 1} is free on 127.0.0.1" in outcome.stderr
