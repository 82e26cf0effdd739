"""sfacctd's counter topic: one sFlow counter sample per message."""

import math

import msgspec

from app.feeds.rejected import RECORD_BYTES_MAX, Rejected, decode_or_rejected

COUNTER_MAX = (1 << 64) - 1
SPEED_MAX_BPS = 10**14  # a link that claims more would always look empty
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


class _Envelope(msgspec.Struct, frozen=True):
    event_type: str
    sf_cnt_type: str = ""


_envelope = msgspec.json.Decoder(_Envelope)
_counters = msgspec.json.Decoder(InterfaceCounters)


def decode(message: bytes) -> InterfaceCounters | Rejected | None:
    """The counters of one message; None if it is valid but not used (log_init, other counter types). Never raises."""
    return decode_or_rejected(_decode, message, RECORD_BYTES_MAX)


def _decode(message: bytes) -> InterfaceCounters | None:
    envelope = _envelope.decode(message)
    if envelope.event_type == "log" and not envelope.sf_cnt_type:
        raise ValueError("a counter sample without sf_cnt_type")
    if envelope.sf_cnt_type != "sflow_cnt_generic":
        return None
    counters = _counters.decode(message)
    _check(counters)
    return counters


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
    if counters.speed_bps > SPEED_MAX_BPS:
        raise ValueError(f"ifSpeed {counters.speed_bps} is above {SPEED_MAX_BPS} bit/s")
