"""sfacctd's counter topic: one sFlow counter sample per message."""

import math

import msgspec

from app.feeds.rejected import RECORD_BYTES_MAX, Rejected, decode_or_rejected
from app.te.traffic.port import CounterSample

COUNTER_MAX = (1 << 64) - 1
OPER_UP = 2  # ifStatus: bit 0 admin, bit 1 operational state (sFlow version 5, generic interface counters)


class InterfaceCounters(msgspec.Struct, frozen=True):
    """The generic interface counters of one port, as its router sent them."""

    exporter: str = msgspec.field(name="peer_ip_src")
    arrived: str = msgspec.field(name="timestamp")
    ifindex: int = msgspec.field(name="ifIndex")
    speed_bps: int = msgspec.field(name="ifSpeed")
    status: int = msgspec.field(name="ifStatus")
    in_octets: int = msgspec.field(name="ifInOctets")
    out_octets: int = msgspec.field(name="ifOutOctets")
    out_packets: int = msgspec.field(name="ifOutUcastPkts")
    out_discards: int = msgspec.field(name="ifOutDiscards")
    kind: int = msgspec.field(name="ifType", default=0)
    source: int = msgspec.field(name="source_id_index", default=0)
    sequence: int = msgspec.field(name="sflow_cnt_seq", default=0)

    @property
    def at_s(self) -> float:
        """When the sample arrived at the collector, in unix seconds: the same clock as in flow records.

        ValueError if `arrived` is not a number.
        """
        return float(self.arrived)

    @property
    def up(self) -> bool:
        """Whether the port is operationally up."""
        return bool(self.status & OPER_UP)

    @property
    def sample(self) -> CounterSample:
        """The reading without the names of its router and port."""
        return CounterSample(
            at_s=self.at_s,
            in_octets=self.in_octets,
            out_octets=self.out_octets,
            out_packets=self.out_packets,
            out_discards=self.out_discards,
            speed_bps=self.speed_bps,
            up=self.up,
            kind=self.kind,
            source=self.source,
            sequence=self.sequence,
        )


class Unused(msgspec.Struct, frozen=True):
    """A record that is in order but not for us; `kind` is one of a few fixed words, to count it by."""

    kind: str


class _Envelope(msgspec.Struct, frozen=True):
    event_type: str
    sf_cnt_type: str = ""


GENERIC = "sflow_cnt_generic"
# What pmacct 1.7.7 names. It writes a line without a name for each block that it cannot read: LAG, optics, processor
# and host counters, port names, and whatever a vendor adds.
BLOCKS = ("sflow_cnt_ethernet", "sflow_cnt_vlan")
UNNAMED, OTHER, LOG = "unnamed-block", "other-block", "log-event"

_envelope = msgspec.json.Decoder(_Envelope)
_counters = msgspec.json.Decoder(InterfaceCounters)


def decode(message: bytes) -> InterfaceCounters | Unused | Rejected:
    """The counters of one message, or what kind of record it is that we have no use for. Never raises."""
    return decode_or_rejected(_decode, message, RECORD_BYTES_MAX)


def _decode(message: bytes) -> InterfaceCounters | Unused:
    envelope = _envelope.decode(message)
    if envelope.sf_cnt_type != GENERIC:
        return Unused(_kind(envelope))
    counters = _counters.decode(message)
    _check(counters)
    return counters


def _kind(envelope: _Envelope) -> str:
    if envelope.event_type != "log":
        return LOG
    if not envelope.sf_cnt_type:
        return UNNAMED
    return envelope.sf_cnt_type if envelope.sf_cnt_type in BLOCKS else OTHER


def _check(counters: InterfaceCounters) -> None:
    """ValueError for what msgspec cannot check: times given as text, and integers beyond 64 bits."""
    try:
        at_s = counters.at_s
    except ValueError:
        at_s = math.nan
    if not (math.isfinite(at_s) and at_s >= 0):
        raise ValueError(f"timestamp {counters.arrived!r} is not a time")
    for name, value in msgspec.to_builtins(counters).items():
        if isinstance(value, int) and not 0 <= value <= COUNTER_MAX:
            raise ValueError(f"{name} {value} is negative or does not fit 64 bits")
