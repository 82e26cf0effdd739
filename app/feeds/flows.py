"""sfacctd's flow topic: JSON lines joined by newlines, with purge markers between them.

pmacct 1.7.7 with `kafka_multi_values` puts many records into one message; a flushed buffer ends with an empty line.
Markers come every refresh even without traffic, and so serve as the heartbeat of the feed.
"""

from collections.abc import Iterator
from typing import Annotated, ClassVar

import msgspec

from app.feeds.rejected import Rejected, decode_or_rejected, rejected
from app.te.traffic.windows import PurgeKind

COUNT_MAX = 1 << 40  # bytes of one record, scaled or not: more comes from a broken exporter, not from traffic
AT_S_MAX = 1 << 40
TEXT_CHARS_MAX = 64  # an address has up to 45, a time about 20; longer texts would fill caches
WRITER_CHARS_MAX = 256  # pmacct's own limit is 64
BAD_LINES_MAX = 100  # per message: a megabyte of junk must not become half a million dead letters
Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
Index = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARS_MAX)]


class Flow(msgspec.Struct, frozen=True, gc=False, tag_field="event_type", tag="purge"):
    """Sampled traffic of one second to one destination; `size_bytes` and `samples` are not scaled yet."""

    exporter: Text = msgspec.field(name="peer_ip_src")
    iface_in: Index
    iface_out: Index
    destination: Text = msgspec.field(name="ip_dst")
    arrived: Text = msgspec.field(name="timestamp_arrival")
    sampling_rate: Count
    samples: Count = msgspec.field(name="packets")
    size_bytes: Count = msgspec.field(name="bytes")

    @property
    def at_s(self) -> int:
        """When the samples arrived at the collector, in whole unix seconds; capped, so that absurd times fit 64 bits.

        ValueError or OverflowError if `arrived` is not a number.
        """
        return min(int(float(self.arrived)), AT_S_MAX)


class Marker(msgspec.Struct, frozen=True, tag_field="event_type"):
    """The begin or the end of a purge. Each purge runs in its own process, and several can be open."""

    kind: ClassVar[PurgeKind]
    writer: Annotated[str, msgspec.Meta(max_length=WRITER_CHARS_MAX)] = msgspec.field(name="writer_id")


class PurgeInit(Marker, frozen=True, tag="purge_init"):
    kind = "purge_init"


class PurgeClose(Marker, frozen=True, tag="purge_close"):
    kind = "purge_close"


Item = Flow | PurgeInit | PurgeClose
_decoder: msgspec.json.Decoder[Item] = msgspec.json.Decoder(Item)


def decode(message: bytes) -> Iterator[Item | Rejected]:
    """Decode every line of one Kafka message; never raises.

    A line that cannot be used yields a Rejected; beyond BAD_LINES_MAX of them, a last one counts the rest.
    """
    unusable = 0
    for line in message.split(b"\n"):
        if not line.strip():
            continue
        parsed = decode_or_rejected(_decode_line, line)
        unusable += isinstance(parsed, Rejected)
        if unusable <= BAD_LINES_MAX or not isinstance(parsed, Rejected):
            yield parsed
    if (more := unusable - BAD_LINES_MAX) > 0:
        yield rejected(message, ValueError(f"{more} more lines of this message cannot be used"), more)


def _decode_line(line: bytes) -> Item:
    parsed = _decoder.decode(line)
    if isinstance(parsed, Flow):
        _check(parsed)
    return parsed


def _check(flow: Flow) -> None:
    """ValueError for a time before 1970, which has no window, and for more bytes than a second can have."""
    try:
        at_s = flow.at_s
    except (ValueError, OverflowError) as error:
        raise ValueError(f"timestamp_arrival {flow.arrived!r} is not a time: {error}") from None
    if at_s < 0:
        raise ValueError(f"timestamp_arrival {flow.arrived!r} is before 1970")
    if flow.size_bytes * flow.sampling_rate > COUNT_MAX:
        raise ValueError(f"{flow.size_bytes} bytes x sampling rate {flow.sampling_rate} is above {COUNT_MAX}")
