"""sfacctd's counter topic: one sFlow counter sample per message."""

import math

import msgspec

from app.feeds.rejected import Rejected, check_size, rejected

COUNTER_MAX = (1 << 64) - 1
SPEED_MAX_BPS = 10**14  # a link that claims more would look empty for ever
OPER_UP = 2  # ifStatus: bit 0 admin, bit 1 operational state (sFlow version 5, generic interface counters)


class InterfaceCounters(msgspec.Struct, frozen=True):
    """Generic interface counters of one port, as sent by its router."""

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
        """When the sample arrived at the collector, unix seconds: the clock that flow records have, too."""
        return float(self.arrived)

    @property
    def up(self) -> bool:
        return bool(self.status & OPER_UP)


class _Envelope(msgspec.Struct, frozen=True):
    event_type: str
    sf_cnt_type: str = ""


_envelope = msgspec.json.Decoder(_Envelope)
_counters = msgspec.json.Decoder(InterfaceCounters)


def decode(message: bytes) -> InterfaceCounters | Rejected | None:
    """The counters of one message; None for what is valid and not for us (log_init, other counter types)."""
    try:
        check_size(message)
        envelope = _envelope.decode(message)
        if envelope.event_type == "log" and not envelope.sf_cnt_type:
            raise ValueError("a counter sample without sf_cnt_type")
        if envelope.sf_cnt_type != "sflow_cnt_generic":
            return None
        counters = _counters.decode(message)
        _check(counters)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return rejected(message, error)
    return counters


def _check(counters: InterfaceCounters) -> None:
    """msgspec cannot bound an integer at 64 bits, nor see a time in a text."""
    if not (math.isfinite(counters.at_s) and counters.at_s >= 0):
        raise ValueError(f"timestamp {counters.arrived} is no time")
    for name, value in msgspec.structs.asdict(counters).items():
        if isinstance(value, int) and not 0 <= value <= COUNTER_MAX:
            raise ValueError(f"{name} {value} is no counter")
    if counters.speed_bps > SPEED_MAX_BPS:
        raise ValueError(f"ifSpeed {counters.speed_bps} is no speed")
