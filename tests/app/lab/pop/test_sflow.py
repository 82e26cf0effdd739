"""The encoder against a reader of its own, and the packets inside."""

import ipaddress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lab.pop.packets import FRAME_BYTES, FRAME_BYTES_MEAN, FRAME_SHARE, tcp_frame
from app.lab.pop.sflow import (
    PAYLOAD_BYTES_MAX,
    SAMPLES_PER_DATAGRAM,
    FlowSample,
    GenericCounters,
    encode_counters,
    encode_datagram,
    encode_flow,
)
from tests.app.lab.pop.wire import decode

SAMPLE = FlowSample(
    sequence=7,
    source_ifindex=101,
    sampling_rate=32768,
    sample_pool=2**32 + 5,
    input_ifindex=2,
    output_ifindex=101,
    frame_bytes=1518,
    header=tcp_frame("198.18.0.1", "8.8.8.8", 1518, 40000),
)


def test_a_flow_sample_reads_back() -> None:
    decoded = decode(encode_datagram("192.0.2.1", 3, 12_000, [encode_flow(SAMPLE)]))
    assert (decoded.agent, decoded.sequence, decoded.uptime_ms) == ("192.0.2.1", 3, 12_000)
    (flow,) = decoded.flows
    header = flow.pop("header")
    assert flow == {
        "sequence": 7,
        "source": 101,
        "rate": 32768,
        "pool": 5,
        "drops": 0,
        "input": 2,
        "output": 101,
        "records": 1,
        "protocol": 1,
        "frame_length": 1518,
        "stripped": 4,
    }
    assert len(header) == 128


def test_counters_read_back_and_wrap_at_their_width() -> None:
    reading = GenericCounters(
        sequence=1,
        ifindex=101,
        speed_bps=100_000_000_000,
        in_octets=5,
        in_packets=6,
        out_octets=2**32 + 7,
        out_packets=2**32 + 8,
        out_discards=2**32 + 9,
    )
    (counters,) = decode(encode_datagram("2001:db8::1", 1, 0, [encode_counters(reading)])).counters
    assert {name: value for name, value in counters.items() if value} == {
        "sequence": 1,
        "source": 101,
        "records": 1,
        "ifIndex": 101,
        "ifType": 6,
        "ifSpeed": 100_000_000_000,
        "ifDirection": 1,
        "ifStatus": 3,
        "ifInOctets": 5,
        "ifInUcastPkts": 6,
        "ifOutOctets": 2**32 + 7,
        "ifOutUcastPkts": 8,
        "ifOutDiscards": 9,
    }


@given(st.lists(st.binary(max_size=200), max_size=SAMPLES_PER_DATAGRAM))
def test_any_header_length_is_padded_and_the_datagram_stays_small(headers: list[bytes]) -> None:
    samples = [FlowSample(i, 1, 1, i, 1, 1, 1518, header) for i, header in enumerate(headers)]
    payload = encode_datagram("2001:db8::1", 1, 0, [encode_flow(sample) for sample in samples])
    assert len(payload) <= PAYLOAD_BYTES_MAX
    assert [flow["header"] for flow in decode(payload).flows] == [header[:128] for header in headers]


@pytest.mark.parametrize(
    ("source", "destination", "at"),
    [("198.18.0.1", "8.8.8.8", 14 + 16), ("2001:db8::1", "2600::8", 14 + 24)],
)
@pytest.mark.parametrize("frame_bytes", [594, 1518])
def test_a_frame_says_its_destination_and_its_own_length(
    source: str, destination: str, at: int, frame_bytes: int
) -> None:
    frame = tcp_frame(source, destination, frame_bytes, 40000)
    address = ipaddress.ip_address(destination)
    assert frame[at : at + len(address.packed)] == address.packed
    length_at, not_counted = (16, 18) if address.version == 4 else (18, 18 + 40)
    assert int.from_bytes(frame[length_at : length_at + 2]) == frame_bytes - not_counted
    assert len(frame) == 128


def test_a_short_frame_gives_all_it_has_without_fcs() -> None:
    assert len(tcp_frame("198.18.0.1", "8.8.8.8", 64, 40000)) == 60


def test_the_mix_is_the_one_of_a_content_network() -> None:
    deviation = np.sqrt((FRAME_BYTES**2) @ FRAME_SHARE - FRAME_BYTES_MEAN**2)
    assert FRAME_SHARE.sum() == pytest.approx(1)
    assert pytest.approx(1315, rel=0.02) == FRAME_BYTES_MEAN
    assert deviation / FRAME_BYTES_MEAN == pytest.approx(0.34, abs=0.02)
