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
_reserved: list[ExitStack] = []  # sockets that hold the ports we chose, until this process ends


class StackPorts(msgspec.Struct, frozen=True):
    """The ports of one stack. `sflow` is UDP, the others TCP; all loopback addresses share the BGP port."""

    kafka: int
    controller: int
    sflow: int
    bmp: int
    bgp: int


def choose_ports(bgp_addresses: Sequence[str] = ()) -> StackPorts:
    """Choose ports that are free now. The BGP port is free on every one of `bgp_addresses`."""
    kafka, controller, bmp = (free_port() for _ in range(3))
    bgp = _reserve(bgp_addresses or ["127.0.0.1"])
    taken = set(_inodes("udp"))
    sflow = next(port for port in iter(free_port, None) if port not in taken)
    return StackPorts(kafka=kafka, controller=controller, sflow=sflow, bmp=bmp, bgp=bgp)


def free_port() -> int:
    """Choose a TCP port that is free on 127.0.0.1. No process that chooses after us gets it, as long as we live."""
    return _reserve(["127.0.0.1"])


def port_problems(ports: StackPorts, bgp_addresses: Sequence[str] = ()) -> Iterator[str]:
    """A message for every port that is already in use, naming the process if we may see it."""
    wanted = [("127.0.0.1", key, getattr(ports, key)) for key in ("kafka", "controller", "bmp")]
    wanted += [(address, "bgp", ports.bgp) for address in bgp_addresses]
    for address, key, port in wanted:
        with closing(socket.socket()) as probe:
            # Daemons set this too. Ports of which only connections in TIME_WAIT are left count as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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


def _reserve(addresses: Sequence[str]) -> int:
    """Bind a free port on all addresses and keep it bound, so that another stack beside us does not choose it too.

    A daemon can still listen there, because it and our socket, which does not listen, have SO_REUSEADDR. We set it only
    after binding: a socket without it is refused a port that is bound at all.
    """
    for port in random.sample(RANGE, len(RANGE)):
        with ExitStack() as attempt:
            sockets = [attempt.enter_context(closing(socket.socket())) for _ in addresses]
            if all(_bound(each, address, port) for each, address in zip(sockets, addresses, strict=True)):
                for each in sockets:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                _reserved.append(attempt.pop_all())
                return port
    raise EnvironmentProblem(f"no TCP port between {RANGE.start} and {RANGE.stop} is free on {', '.join(addresses)}")


def _bound(each: socket.socket, address: str, port: int) -> bool:
    try:
        each.bind((address, port))
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
