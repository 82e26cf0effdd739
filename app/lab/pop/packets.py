"""The packets of the simulated PoP: the lengths of their frames, and their first bytes as a sampler sees them."""

import ipaddress
import struct
from typing import Final

import numpy as np

ETHERNET_BYTES, FCS_BYTES, IPV4_BYTES, IPV6_BYTES, TCP_BYTES = 14, 4, 20, 40, 20
TCP, HTTPS_PORT = 6, 443

# Frame lengths on the wire (IP length + 18) and their shares in the traffic of a content network. The shortest is an
# acknowledgement over IPv6.
FRAME_BYTES: Final = np.array([1518, 594, 78])
FRAME_SHARE: Final = np.array([0.82, 0.10, 0.08])
FRAME_BYTES_MEAN: Final = float(FRAME_BYTES @ FRAME_SHARE)

_ETHERNET = struct.Struct("!6s6sH")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_TCP = struct.Struct("!HHIIBBHHH")
_ETHERTYPE = {4: 0x0800, 6: 0x86DD}
_MAC = bytes.fromhex("020000000001")  # locally administered


def tcp_frame(source: str, destination: str, frame_bytes: int, client_port: int) -> bytes:
    """The first bytes of a TCP data frame, at most 128; checksums are 0.

    `frame_bytes` is the length on the wire with FCS. Source and destination must be of the same address family.
    """
    from_host, to_host = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    ip_bytes = frame_bytes - ETHERNET_BYTES - FCS_BYTES
    network = (
        _IPV4.pack(0x45, 0, ip_bytes, 0, 0, 64, TCP, 0, from_host.packed, to_host.packed)
        if to_host.version == 4
        else _IPV6.pack(6 << 28, ip_bytes - IPV6_BYTES, TCP, 64, from_host.packed, to_host.packed)
    )
    transport = _TCP.pack(HTTPS_PORT, client_port, 0, 0, 5 << 4, 0x10, 65535, 0, 0)
    frame = _ETHERNET.pack(_MAC, _MAC, _ETHERTYPE[to_host.version]) + network + transport
    return frame.ljust(frame_bytes - FCS_BYTES, b"\0")[:128]
