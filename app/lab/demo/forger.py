"""Forged input in the name of a router, from addresses that the collectors believe: nothing of it may move anything.

sFlow and BMP know no passwords. Whoever reaches a collector from an address on its list can say what he likes.
"""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Iterator

from app.config.inventory import Pop
from app.lab.daemons.stack import Stack
from app.lab.pop.packets import tcp_frame
from app.lab.pop.sflow import FlowSample, GenericCounters, encode_counters, encode_datagram, encode_flow

EVERY_S = 2.0
RATE, FRAME_BYTES = 100_000_000, 1018  # one sample stands for 80 Gb/s in a window of 10 s
OCTETS = 10**14  # far ahead of what the port has sent
SYSNAME_TLV, INITIATION = 2, 4  # RFC 7854, section 4.3
REASON = "unusual-sampling-rate"
# Kinds of the notices that must name it.
NAMED = frozenset({REASON, "counters-refused", "bmp-name-taken"})


async def forge(stack: Stack, destination: str, for_s: float) -> dict[str, int]:
    """Forge for `for_s` seconds: one counter datagram, one BMP initiation, and a flow sample every two seconds.

    `destination` is an address that has a route. Returns the forged bytes, scaled by their rate, by reason.
    """
    forged_bytes = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(counters(stack.pop), stack.sflow)
        initiate(stack)
        for payload in flows(stack.pop, destination, round(for_s / EVERY_S)):
            sender.sendto(payload, stack.sflow)
            forged_bytes += RATE * FRAME_BYTES
            await asyncio.sleep(EVERY_S)
    return {REASON: forged_bytes}


def initiate(stack: Stack) -> None:
    """Open a BMP session from the second router's address that says to be the first router, and close it again."""
    first, second = stack.pop.router[:2]
    sysname = first.bmp_sysname.encode()
    message = struct.pack("!HH", SYSNAME_TLV, len(sysname)) + sysname
    with socket.create_connection(
        ("127.0.0.1", stack.site.ports.bmp), source_address=(second.ibgp_address, 0)
    ) as session:
        session.sendall(struct.pack("!BIB", 3, 6 + len(message), INITIATION) + message)


def counters(pop: Pop) -> bytes:
    """A datagram with counters of the first link, whose octets leapt ahead."""
    link = pop.link[0]
    sample = GenericCounters(
        sequence=1,
        ifindex=link.ifindexes[0],
        speed_bps=int(link.configured_bps or 0),
        in_octets=OCTETS,
        in_packets=OCTETS // FRAME_BYTES,
        out_octets=OCTETS,
        out_packets=OCTETS // FRAME_BYTES,
        out_discards=0,
    )
    return encode_datagram(pop.routers[link.router].agent_address, 1, 1, [encode_counters(sample)])


def flows(pop: Pop, destination: str, count: int) -> Iterator[bytes]:
    """Datagrams of one sample each, of a packet that left by the first link."""
    link = pop.link[0]
    router = pop.routers[link.router]
    source = str(ipaddress.ip_network(pop.own_prefixes[0])[1])
    for sequence in range(1, count + 1):
        sample = FlowSample(
            sequence=sequence,
            source_ifindex=link.ifindexes[0],
            sampling_rate=RATE,
            sample_pool=RATE * sequence,
            input_ifindex=router.internal_ifindexes[0],
            output_ifindex=link.ifindexes[0],
            frame_bytes=FRAME_BYTES,
            header=tcp_frame(source, destination, FRAME_BYTES, 50000),
        )
        yield encode_datagram(router.agent_address, sequence, 1000 * sequence, [encode_flow(sample)])
