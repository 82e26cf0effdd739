"""What a node's connection tracking does to sFlow when a collector is replaced, and what the chart does about it.

A Service, a NodePort or a hostPort is a rule of the packet filter that gives datagrams another destination. Only the
first datagram of a flow is looked at; the others follow an entry of conntrack. A router sends from one port all the
time, so its entry is always renewed, also when it leads to a pod that is gone. Here the node is a network namespace
with such a rule, the router and the pods are others. They need root, and conntrack and nftables of Debian.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.clock import SystemClock
from app.lab.daemons.commands import output
from tests.foreign.host import ip, own_network, prepare_kernel

pytestmark = pytest.mark.services

PORT, NODE = 6343, "10.214.0.1"
EVERY_S = 0.01
TIMEOUT_S = 2  # of an entry; 30 where nobody has set it
TIMEOUTS = ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream")
FLUSHED_AFTER_S = 3.0  # until whoever keeps the rules has seen that a pod leaves; the chart's pods hear on for 15 s
RULES = """
table ip service
delete table ip service
table ip service {{
    chain first {{
        type nat hook prerouting priority dstnat
        ip daddr {node} udp dport {port} dnat to {pod}:{port}
    }}
}}
"""
CLOCK = SystemClock()


class Place:
    """A network namespace on a cable to the node, and a socket in it."""

    def __init__(self, name: str, network: int, receives: socket.socket) -> None:
        self.name = name
        self.address = f"10.214.{network}.2"
        self.socket = receives
        self.heard = 0

    def drain(self) -> None:
        """Count what has arrived."""
        while self.socket.fileno() >= 0:
            try:
                self.socket.recv(64)
            except BlockingIOError:
                return
            self.heard += 1

    async def dies(self) -> None:
        """It goes with its cable."""
        self.drain()
        self.socket.close()
        await ip(f"link del {self.name}")


class Node:
    """The rule, the router, and two pods of a collector: one that has the traffic, and a spare that listens."""

    def __init__(self, router: Place, old: Place, new: Place) -> None:
        self._router, self.old, self.new = router, old, new
        self.sent = 0

    @property
    def lost(self) -> int:
        """How many datagrams nobody has heard."""
        return self.sent - self.old.heard - self.new.heard

    async def leads_to(self, pod: Place) -> None:
        """Replace the rule, as for the first datagram of whoever comes now."""
        await output("nft", "-f", "-", stdin=RULES.format(node=NODE, port=PORT, pod=pod.address))

    async def forget(self) -> None:
        """Remove the entries, as kube-proxy does where another pod serves."""
        await output("conntrack", "-D", "-p", "udp", "--orig-dst", NODE, "--dport", str(PORT))

    async def entry(self) -> str:
        """What conntrack knows of the router's datagrams."""
        return await output("conntrack", "-L", "-p", "udp", "--orig-dst", NODE)

    async def traffic(self, seconds: float) -> None:
        """The router sends without a pause, and the pods hear."""
        ends_s = CLOCK.monotonic_s() + seconds
        while CLOCK.monotonic_s() < ends_s:
            self._router.socket.sendto(b"sFlow", (NODE, PORT))
            self.sent += 1
            await asyncio.sleep(EVERY_S)
            self.old.drain()
            self.new.drain()


@pytest.fixture
def network() -> Iterator[None]:
    with own_network():
        yield


@asynccontextmanager
async def node() -> AsyncIterator[Node]:
    """A node whose rule leads to the old pod, which has the router's traffic."""
    await prepare_kernel()
    for name in TIMEOUTS:
        Path("/proc/sys/net/netfilter", name).write_text(str(TIMEOUT_S))
    router, old, new = [await _place(*named) for named in (("router", 0), ("old", 1), ("new", 2))]
    found = Node(router, old, new)
    try:
        await found.leads_to(old)
        await found.traffic(0.5)
        assert (found.lost, new.heard) == (0, 0)
        yield found
    finally:
        for place in (router, old, new):
            place.socket.close()


async def _place(name: str, network: int) -> Place:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        with own_network():
            there = f"/proc/{os.getpid()}/fd/{home}"
            await ip(
                f"link add eth0 type veth peer name {name} netns {there}",
                f"address add 10.214.{network}.2/24 dev eth0",
                "link set eth0 up",
                f"route add default via 10.214.{network}.1",
            )
            found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # it stays where it was made
            found.bind(("", PORT))
            found.setblocking(False)
    finally:
        os.close(home)
    await ip(f"address add 10.214.{network}.1/24 dev {name}", f"link set {name} up")
    return Place(name, network, found)


async def test_datagrams_follow_an_entry_to_a_pod_that_is_gone_until_somebody_removes_it(network: None) -> None:
    async with node() as found:
        await found.old.dies()
        await found.leads_to(found.new)
        await found.traffic(4 * TIMEOUT_S)
        assert found.new.heard == 0, "the rule is right, and no entry has ended in four times its life"
        assert f"src={found.old.address}" in await found.entry()
        await found.forget()
        before = found.sent
        await found.traffic(1.0)
        assert found.new.heard == found.sent - before > 0


async def test_without_a_pod_that_hears_on_all_is_lost_until_the_entry_is_removed(network: None) -> None:
    async with node() as found:
        await found.old.dies()
        await found.leads_to(found.new)
        before = found.sent
        await found.traffic(FLUSHED_AFTER_S)
        lost = found.sent - before
        await found.forget()
        await found.traffic(1.0)
        assert found.lost == lost > 0


async def test_with_a_spare_and_a_pod_that_hears_on_nothing_is_lost(network: None) -> None:
    async with node() as found:
        await found.leads_to(found.new)
        heard = found.old.heard
        await found.traffic(FLUSHED_AFTER_S)
        assert found.old.heard > heard, "who is to leave still has the traffic"
        assert found.new.heard == 0
        await found.forget()
        await found.traffic(0.5)
        await found.old.dies()
        await found.traffic(1.0)
        assert found.lost == 0
        assert found.new.heard > 0
