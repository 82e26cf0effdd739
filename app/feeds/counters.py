"""sfacctd's counter topic: one sFlow counter sample per message."""

from typing import Annotated

import msgspec

from app.feeds.lines import Bad, bad

Counter = Annotated[int, msgspec.Meta(ge=0, le=(1 << 64) - 1)]
OPER_UP = 2  # ifStatus: bit 0 admin, bit 1 operational state (sFlow version 5, generic interface counters)


class InterfaceCounters(msgspec.Struct, frozen=True):
    """Generic interface counters of one port, as sent by its router."""

    exporter: str = msgspec.field(name="peer_ip_src")
    ifindex: Counter = msgspec.field(name="ifIndex")
    speed_bps: Counter = msgspec.field(name="ifSpeed")
    status: Counter = msgspec.field(name="ifStatus")
    in_octets: Counter = msgspec.field(name="ifInOctets")
    out_octets: Counter = msgspec.field(name="ifOutOctets")
    out_packets: Counter = msgspec.field(name="ifOutUcastPkts")
    out_discards: Counter = msgspec.field(name="ifOutDiscards")

    @property
    def up(self) -> bool:
        return bool(self.status & OPER_UP)


class _Envelope(msgspec.Struct, frozen=True):
    event_type: str
    sf_cnt_type: str = ""


_envelope = msgspec.json.Decoder(_Envelope)
_counters = msgspec.json.Decoder(InterfaceCounters)


def decode(message: bytes) -> InterfaceCounters | Bad | None:
    """The counters of one message; None for what is valid and not for us (log_init, other counter types)."""
    try:
        if _envelope.decode(message).sf_cnt_type != "sflow_cnt_generic":
            return None
        return _counters.decode(message)
    except (msgspec.MsgspecError, RecursionError) as error:
        return bad(message, error)
