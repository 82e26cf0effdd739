"""Ports of the local stack: free ones are chosen at start, and a port in use is reported with the process using it."""

import os
import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec

from app.errors import EnvironmentProblem

# Below the kernel's ephemeral range, so no outgoing connection takes a port between our choosing and using it.
RANGE = range(20_000, 32_000)


class StackPorts(msgspec.Struct, frozen=True):
    """The ports of one stack. `sflow` is UDP, the others TCP; all loopback addresses share the BGP port."""

    kafka: int
    controller: int
    sflow: int
    bmp: int
    bgp: int


def choose_ports(bgp_addresses: Sequence[str] = ()) -> StackPorts:
    """Choose ports that are free now. The BGP port is free on every one of `bgp_addresses`."""
    with ExitStack() as held:
        kafka, controller, bmp = (_hold_free(held, ["127.0.0.1"]) for _ in range(3))
        bgp = _hold_free(held, bgp_addresses or ["127.0.0.1"])
        taken = set(_inodes("udp"))
        sflow = next(port for port in random.sample(RANGE, len(RANGE)) if port not in taken)
    return StackPorts(kafka=kafka, controller=controller, sflow=sflow, bmp=bmp, bgp=bgp)


def free_port() -> int:
    """Choose a TCP port that is free on 127.0.0.1 now."""
    with ExitStack() as held:
        return _hold_free(held, ["127.0.0.1"])


def port_problems(ports: StackPorts, bgp_addresses: Sequence[str] = ()) -> Iterator[str]:
    """A message for every port that is already in use, naming the process if we may see it."""
    wanted = [("127.0.0.1", key, getattr(ports, key)) for key in ("kafka", "controller", "bmp")]
    wanted += [(address, "bgp", ports.bgp) for address in bgp_addresses]
    for address, key, port in wanted:
        with closing(socket.socket()) as probe:
            if not _bound(probe, address, port):
                yield f"TCP port {port} ({key}) on {address} is in use by {_owner('tcp', port)}"
    # Trying to bind proves nothing: sfacctd sets SO_REUSEPORT, and a second one silently takes half of the datagrams.
    if ports.sflow in _inodes("udp"):
        yield f"UDP port {ports.sflow} (sflow) is in use by {_owner('udp', ports.sflow)}"


def udp_holders(port: int) -> list[str]:
    """The processes that have this UDP port open, one entry per socket, such as "sfacctd (pid 17)"."""
    return [_process_of(inode) for inode in _inodes("udp").get(port, ())]


def udp_drops(port: int) -> int:
    """How many datagrams the kernel dropped because the reader of this UDP port was too slow."""
    return sum(int(fields[12]) for fields in _rows("udp") if _port(fields) == port)


def _hold_free(held: ExitStack, addresses: Sequence[str]) -> int:
    for port in random.sample(RANGE, len(RANGE)):
        with ExitStack() as attempt:
            sockets = [attempt.enter_context(closing(socket.socket())) for _ in addresses]
            if all(_bound(probe, address, port) for probe, address in zip(sockets, addresses, strict=True)):
                held.enter_context(attempt.pop_all())
                return port
    raise EnvironmentProblem(f"no TCP port between {RANGE.start} and {RANGE.stop} is free on {', '.join(addresses)}")


def _bound(probe: socket.socket, address: str, port: int) -> bool:
    # Daemons set this too: a port whose only connections are in TIME_WAIT counts as free.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((address, port))
    except OSError:
        return False
    return True


def _rows(protocol: str) -> Iterator[list[str]]:
    """The fields of /proc/net/udp or /proc/net/tcp and of their IPv6 twins, one list per socket."""
    for name in (protocol, f"{protocol}6"):
        path = Path("/proc/net") / name
        if path.exists():
            yield from (line.split() for line in path.read_text().splitlines()[1:])


def _port(fields: Sequence[str]) -> int:
    return int(fields[1].rpartition(":")[2], 16)


def _inodes(protocol: str) -> dict[int, list[str]]:
    """By local port, the inodes of the sockets bound to it; for TCP only listening ones."""
    inodes: dict[int, list[str]] = {}
    for fields in _rows(protocol):
        if protocol == "udp" or fields[3] == "0A":
            inodes.setdefault(_port(fields), []).append(fields[9])
    return inodes


def _owner(protocol: str, port: int) -> str:
    return ", ".join(_process_of(inode) for inode in _inodes(protocol).get(port, ())) or "an open connection"


def _process_of(inode: str) -> str:
    """The process that holds a socket, such as "sfacctd (pid 17)", if we may look into it."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) == f"socket:[{inode}]" for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
    return "a process of another user"
