"""How the Python peers read a message: msgspec decodes the fields they need, and a dict adds them up by second."""

from collections import defaultdict

import msgspec

WINDOW_S = 10
# By default a consumer that has emptied a full queue waits for most of a second (seen: half the rate).
LIBRDKAFKA: dict[str, str | int | float] = {
    "fetch.message.max.bytes": 8_388_608,
    "fetch.max.bytes": 67_108_864,
    "fetch.queue.backoff.ms": 5,
}
Seconds = defaultdict[tuple[str, int, str], int]  # (agent, ifIndex, second as it is written) -> scaled bytes


class Flow(msgspec.Struct, tag_field="event_type", tag="purge", gc=False):
    """A flow record."""

    peer_ip_src: str
    iface_out: int
    sampling_rate: int
    timestamp_arrival: str
    bytes: int


class Init(msgspec.Struct, tag_field="event_type", tag="purge_init", gc=False):
    """A marker."""


class Close(msgspec.Struct, tag_field="event_type", tag="purge_close", gc=False):
    """A marker."""


_decode = msgspec.json.Decoder(Flow | Init | Close).decode_lines


def flows(message: bytes) -> list[Flow]:
    """The records of a message, without markers."""
    return [line for line in _decode(message) if type(line) is Flow]


def add_up(records: list[Flow], into: Seconds) -> None:
    """Add records to the sums of their seconds, whose text needs no parsing yet."""
    for flow in records:
        into[flow.peer_ip_src, flow.iface_out, flow.timestamp_arrival] += flow.bytes * flow.sampling_rate


def whole_second(arrived: str) -> int:
    """Of "1795246100.000000"."""
    return int(arrived[:-7])


def by_window(seconds: Seconds) -> dict[str, int]:
    """The sums of windows, as they are reported."""
    sums: defaultdict[str, int] = defaultdict(int)
    for (agent, index, arrived), size_bytes in seconds.items():
        sums[f"{agent}/{index}@{whole_second(arrived) // WINDOW_S * WINDOW_S}"] += size_bytes
    return dict(sums)
