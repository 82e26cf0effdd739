"""Encodes sFlow version 5 datagrams: flow samples with one raw packet header, and generic interface counters.

The encoding is XDR. Field names and order follow sflow_version_5.txt (sflow.org); all records are of enterprise 0 and
in compact form.
"""

import ipaddress
import struct
from collections.abc import Sequence

import msgspec

VERSION = 5
ADDRESS_FAMILY = {4: 1, 6: 2}
FLOW_SAMPLE, COUNTERS_SAMPLE = 1, 2
RAW_PACKET_HEADER, GENERIC_INTERFACE = 1, 1
ETHERNET_HEADER, ETHERNET_CSMACD, FULL_DUPLEX, UP_UP = 1, 6, 1, 3
FCS_BYTES = 4  # counted in frame_length, never part of the header
HEADER_BYTES_MAX = 128
PAYLOAD_BYTES_MAX = 1400  # per datagram, so that it crosses an Ethernet unfragmented
SAMPLES_PER_DATAGRAM = 7  # a flow sample is at most 192 bytes
WRAP_32, WRAP_64 = 2**32, 2**64

_PREAMBLE = {4: struct.Struct("!II4sIIII"), 6: struct.Struct("!II16sIIII")}
_FLOW = struct.Struct("!16I")
_COUNTERS = struct.Struct("!9IQ2IQ6IQ6I")


class FlowSample(msgspec.Struct, frozen=True):
    """One sampled frame. `frame_bytes` is its length on the wire with FCS; `header` its first bytes, never the FCS."""

    sequence: int
    source_ifindex: int
    sampling_rate: int
    sample_pool: int
    input_ifindex: int
    output_ifindex: int
    frame_bytes: int
    header: bytes


class GenericCounters(msgspec.Struct, frozen=True):
    """Counters of one port that is up (ifXTable): totals since start. Encoding wraps them to their SNMP width."""

    sequence: int
    ifindex: int
    speed_bps: int
    in_octets: int
    in_packets: int
    out_octets: int
    out_packets: int
    out_discards: int


def encode_datagram(agent: str, sequence: int, uptime_ms: int, samples: Sequence[bytes]) -> bytes:
    """Encode one datagram of already encoded samples; `agent` is the IPv4 or IPv6 address of the sender."""
    address = ipaddress.ip_address(agent)
    preamble = _PREAMBLE[address.version].pack(
        VERSION,
        ADDRESS_FAMILY[address.version],
        address.packed,
        0,  # sub-agent
        sequence % WRAP_32,
        uptime_ms % WRAP_32,
        len(samples),
    )
    payload = preamble + b"".join(samples)
    assert len(payload) <= PAYLOAD_BYTES_MAX, "more samples than SAMPLES_PER_DATAGRAM"
    return payload


def encode_flow(sample: FlowSample) -> bytes:
    """Encode one flow sample with its raw packet header record."""
    header = sample.header[:HEADER_BYTES_MAX]
    padding = -len(header) % 4
    record_bytes = 16 + len(header) + padding
    return (
        _FLOW.pack(
            FLOW_SAMPLE,
            32 + 8 + record_bytes,
            sample.sequence % WRAP_32,
            sample.source_ifindex,
            sample.sampling_rate,
            sample.sample_pool % WRAP_32,
            0,  # drops: samples that the agent itself lost
            sample.input_ifindex,
            sample.output_ifindex,
            1,
            RAW_PACKET_HEADER,
            record_bytes,
            ETHERNET_HEADER,
            sample.frame_bytes,
            FCS_BYTES,
            len(header),
        )
        + header
        + bytes(padding)
    )


def encode_counters(sample: GenericCounters) -> bytes:
    """Encode one counters sample with its generic interface record."""
    return _COUNTERS.pack(
        COUNTERS_SAMPLE,
        _COUNTERS.size - 8,
        sample.sequence % WRAP_32,
        sample.ifindex,
        1,
        GENERIC_INTERFACE,
        _COUNTERS.size - 28,
        sample.ifindex,
        ETHERNET_CSMACD,
        sample.speed_bps % WRAP_64,
        FULL_DUPLEX,
        UP_UP,
        sample.in_octets % WRAP_64,
        sample.in_packets % WRAP_32,
        *(0, 0, 0, 0, 0),  # multicast, broadcast, discards, errors, unknown protocols
        sample.out_octets % WRAP_64,
        sample.out_packets % WRAP_32,
        *(0, 0),  # multicast, broadcast
        sample.out_discards % WRAP_32,
        *(0, 0),  # errors, promiscuous mode
    )
