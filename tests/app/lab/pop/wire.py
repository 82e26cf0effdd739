"""A reader of sFlow version 5 for tests, written from the specification and apart from the encoder."""

import ipaddress
from dataclasses import dataclass, field
from typing import Any


class _Xdr:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        assert self.at + count <= len(self.data), "truncated"
        self.at += count
        return self.data[self.at - count : self.at]

    def u32(self) -> int:
        return int.from_bytes(self.take(4))

    def u64(self) -> int:
        return int.from_bytes(self.take(8))

    def opaque(self) -> "_Xdr":
        count = self.u32()
        inner = _Xdr(self.take(count))
        self.take(-count % 4)
        return inner

    def done(self) -> bool:
        return self.at == len(self.data)


@dataclass
class Decoded:
    agent: str
    sequence: int
    uptime_ms: int
    flows: list[dict[str, Any]] = field(default_factory=list)
    counters: list[dict[str, Any]] = field(default_factory=list)


def decode(payload: bytes) -> Decoded:
    xdr = _Xdr(payload)
    assert xdr.u32() == 5
    agent = str(ipaddress.ip_address(xdr.take({1: 4, 2: 16}[xdr.u32()])))
    assert xdr.u32() == 0, "sub-agent"
    decoded = Decoded(agent, xdr.u32(), xdr.u32())
    for _ in range(xdr.u32()):
        kind, sample = xdr.u32(), xdr.opaque()
        if kind == 1:
            decoded.flows.append(_flow(sample))
        else:
            assert kind == 2
            decoded.counters.append(_counters(sample))
        assert sample.done()
    assert xdr.done()
    return decoded


def _flow(xdr: _Xdr) -> dict[str, Any]:
    names = ("sequence", "source", "rate", "pool", "drops", "input", "output", "records")
    flow: dict[str, Any] = {name: xdr.u32() for name in names}
    assert flow["records"] == 1
    assert xdr.u32() == 1, "raw packet header"
    record = xdr.opaque()
    flow |= {name: record.u32() for name in ("protocol", "frame_length", "stripped")}
    header = record.opaque()
    assert record.done()
    return flow | {"header": header.data}


def _counters(xdr: _Xdr) -> dict[str, Any]:
    counters: dict[str, Any] = {name: xdr.u32() for name in ("sequence", "source", "records")}
    assert counters["records"] == 1
    assert xdr.u32() == 1, "generic interface counters"
    record = xdr.opaque()
    fields = "ifIndex ifType ifSpeed:64 ifDirection ifStatus ifInOctets:64 ifInUcastPkts ifInMulticastPkts "
    fields += "ifInBroadcastPkts ifInDiscards ifInErrors ifInUnknownProtos ifOutOctets:64 ifOutUcastPkts "
    fields += "ifOutMulticastPkts ifOutBroadcastPkts ifOutDiscards ifOutErrors ifPromiscuousMode"
    for name in fields.split():
        counters[name.removesuffix(":64")] = record.u64() if name.endswith(":64") else record.u32()
    assert record.done()
    return counters


def destination(frame: bytes) -> str:
    """The destination address of an Ethernet frame with IPv4 or IPv6 in it."""
    return str(ipaddress.ip_address(frame[30:34] if frame[12:14] == b"\x08\x00" else frame[38:54]))
