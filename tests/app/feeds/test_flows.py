"""Decoding sfacctd's flow topic: records, markers, and what is neither."""

import json

import pytest

from app.feeds.flows import TEXT_CHARS_MAX, WRITER_CHARS_MAX, Flow, Marker, PurgeClose, PurgeInit, decode
from app.feeds.rejected import RAW_BYTES_MAX, Rejected

RECORD = {
    "event_type": "purge",
    "peer_ip_src": "192.0.2.1",
    "iface_in": 1,
    "iface_out": 101,
    "ip_dst": "203.0.113.9",
    "timestamp_arrival": "1795246109.000000",
    "sampling_rate": 32768,
    "packets": 2,
    "bytes": 3000,
    "writer_id": "flows/17",
}


def line(**changes: object) -> bytes:
    return json.dumps(RECORD | changes).encode()


def test_a_message_holds_many_records_and_ends_with_an_empty_line() -> None:
    flows = list(decode(line() + b"\n" + line(iface_out=102) + b"\n\n"))
    assert [flow.iface_out for flow in flows if isinstance(flow, Flow)] == [101, 102]
    assert isinstance(flows[0], Flow)
    assert (flows[0].at_s, flows[0].samples, flows[0].size_bytes) == (1795246109, 2, 3000)


@pytest.mark.parametrize("marker", [PurgeInit("flows/17"), PurgeClose("flows/17")])
def test_markers_name_their_writer(marker: Marker) -> None:
    assert list(decode(json.dumps({"event_type": marker.kind, "writer_id": "flows/17"}).encode())) == [marker]


@pytest.mark.parametrize(
    "broken",
    [
        b"not json",
        b"\xff\xfe",
        b"[" * 100_000,
        b"42",
        line(bytes=-1),
        line(bytes=2**63),
        line(packets="two"),
        line(iface_out=2**33),
        line(timestamp_arrival="noon"),
        line(timestamp_arrival="inf"),
        line(event_type="surprise"),
        line(ip_dst="2" * (TEXT_CHARS_MAX + 1)),
        line(event_type="purge_init", writer_id="w" * (WRITER_CHARS_MAX + 1)),
        json.dumps({key: value for key, value in RECORD.items() if key != "ip_dst"}).encode(),
    ],
)
def test_what_cannot_be_used_is_bad_and_does_not_hide_its_neighbours(broken: bytes) -> None:
    before, rejected, after = decode(line() + b"\n" + broken + b"\n" + line())
    assert isinstance(rejected, Rejected)
    assert rejected.reason
    assert len(rejected.raw) <= RAW_BYTES_MAX
    assert isinstance(before, Flow)
    assert isinstance(after, Flow)
