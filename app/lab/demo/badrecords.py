"""Bad input of known size beside the real traffic: as sFlow if sfacctd passes it on, else straight into Kafka."""

import asyncio
import ipaddress
import json
import socket
from collections import Counter
from collections.abc import Iterator

import msgspec

from app.config.forms import SELF_IFINDEX
from app.config.inventory import Pop
from app.contract import topics
from app.feeds.attribution import CLOCK_SKEW_MAX_S
from app.kafka import client
from app.lab.daemons.stack import Stack
from app.lab.demo.evidence import Injected
from app.lab.pop.packets import tcp_frame
from app.lab.pop.sflow import SAMPLES_PER_DATAGRAM, FlowSample, encode_datagram, encode_flow

RATE, FRAME_BYTES = 32768, 1018
UNKNOWN = 999_999  # no interface of any router has this ifIndex
SEVERAL_OUTPUTS = 0x8000_0002  # what an agent sends for a packet that was copied to two ports
UNKNOWN_AGENT, UNROUTABLE = "192.0.2.199", "203.0.113.7"  # documentation addresses
LATE_S = 3600.0
# Lines that are no flow record; each becomes a dead letter.
MALFORMED = (b"nonsense", b"{", b'{"event_type": "purge"}', b'{"event_type": "purge", "bytes": -1}', b"[1, 2]")


class Sample(msgspec.Struct, frozen=True):
    """A kind of sFlow sample that belongs to no link: the reason, and how many to send.

    A field that is None has the value of a good sample.
    """

    reason: str
    count: int  # different for each reason, so that no two sums can be confused
    output_ifindex: int | None = None
    input_ifindex: int | None = None
    destination: str | None = None
    agent: str | None = None


SAMPLES = (
    Sample("unknown-interface", 11, output_ifindex=UNKNOWN),
    Sample("special-interface", 2, output_ifindex=0),
    Sample("special-interface", 3, output_ifindex=SELF_IFINDEX),
    Sample("special-interface", 4, output_ifindex=SEVERAL_OUTPUTS),
    Sample("unknown-ingress", 5, input_ifindex=UNKNOWN),
    Sample("unroutable", 6, destination=UNROUTABLE),
    Sample("unknown-router", 7, agent=UNKNOWN_AGENT),
)


async def inject(stack: Stack, destination: str, now_s: float) -> Injected:
    """Send all the bad input now; what was sent. `destination` is an address that has a route."""
    pop = stack.pop
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for payload in datagrams(pop, destination):
            sender.sendto(payload, stack.sflow)
            await asyncio.sleep(0.01)
    flows, injected = records(pop, destination, now_s)
    async with client.started(client.producer(stack.kafka_of("sfacctd"))) as producer:
        for message in (flows, b"\n".join(MALFORMED)):
            await producer.send_and_wait(topics.FLOWS.for_pop(pop.name), message)
    return injected


def datagrams(pop: Pop, destination: str) -> Iterator[bytes]:
    """SAMPLES as sFlow datagrams, on the first link of the PoP; `destination` is an address that has a route."""
    link = pop.link[0]
    router = pop.routers[link.router]
    inside = router.internal_ifindexes[0]
    source = str(ipaddress.ip_network(pop.own_prefixes[0])[1])
    sequence = 0
    for kind in SAMPLES:
        output = link.ifindexes[0] if kind.output_ifindex is None else kind.output_ifindex
        encoded = []
        for _ in range(kind.count):
            sequence += 1
            encoded.append(
                encode_flow(
                    FlowSample(
                        sequence=sequence,
                        source_ifindex=output,
                        sampling_rate=RATE,
                        sample_pool=RATE * sequence,
                        input_ifindex=inside if kind.input_ifindex is None else kind.input_ifindex,
                        output_ifindex=output,
                        frame_bytes=FRAME_BYTES,
                        header=tcp_frame(source, kind.destination or destination, FRAME_BYTES, 50000),
                    )
                )
            )
        for at in range(0, kind.count, SAMPLES_PER_DATAGRAM):
            part = encoded[at : at + SAMPLES_PER_DATAGRAM]
            yield encode_datagram(kind.agent or router.agent_address, sequence + at, 1000 * sequence, part)


def records(pop: Pop, destination: str, now_s: float) -> tuple[bytes, Injected]:
    """Flow records that sfacctd would never write, as one Kafka message, and where all the bad input must show up."""
    link = pop.link[0]
    router = pop.routers[link.router]
    record: dict[str, object] = {
        "event_type": "purge",
        "peer_ip_src": router.agent_address,
        "iface_in": router.internal_ifindexes[0],
        "iface_out": link.ifindexes[0],
        "ip_dst": destination,
        "timestamp_arrival": f"{now_s:.6f}",
        "sampling_rate": RATE,
        "packets": 1,
        "bytes": FRAME_BYTES,
    }
    late = record | {"timestamp_arrival": f"{now_s - LATE_S:.6f}", "bytes": 8 * FRAME_BYTES}
    early = record | {"timestamp_arrival": f"{now_s + 10 * CLOCK_SKEW_MAX_S:.6f}", "bytes": 12 * FRAME_BYTES}
    unscaled = record | {"sampling_rate": 0, "bytes": 10 * FRAME_BYTES}
    unattributed = Counter({"clock-skew": 12 * FRAME_BYTES * RATE, "unknown-sampling-rate": 10 * FRAME_BYTES})
    for kind in SAMPLES:
        unattributed[kind.reason] += kind.count * FRAME_BYTES * RATE
    message = b"\n".join(json.dumps(line).encode() for line in (late, early, unscaled))
    return message, Injected(dict(unattributed), 8 * FRAME_BYTES * RATE, len(MALFORMED))
