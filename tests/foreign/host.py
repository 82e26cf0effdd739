"""What these tests need of the machine: root, a network namespace, and other people's daemons."""

import ctypes
import fcntl
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import EnvironmentProblem
from app.lab.daemons.commands import output
from app.lab.daemons.machine import SEARCH_PATH, missing

PACKAGE_OF = {
    "bird": "bird2",
    "birdc": "bird2",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "ovs-ofctl": "openvswitch-switch",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-switch",
    "pmacctd": "pmacct",
}
TUN = Path("/dev/net/tun")
CLONE_NEWNET = 0x40000000  # linux/sched.h
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
# As in an ordinary router: it forwards, and does not ask whether the way back is the same. IPv6 is routed by BGP only;
# without it in the kernel no interface sends anything of its own.
SYSCTLS = {
    "ipv4/ip_forward": 1,
    "ipv4/conf/all/rp_filter": 0,
    "ipv4/conf/default/rp_filter": 0,
    "ipv6/conf/default/disable_ipv6": 1,
}


def tool(name: str) -> str:
    """The path of an executable; EnvironmentProblem names the Debian package to install if it is missing."""
    if path := shutil.which(name, path=SEARCH_PATH):
        return path
    raise EnvironmentProblem(f"{name} is not installed: install the package {PACKAGE_OF[name]}, or run `make install`")


def problems() -> list[str]:
    """Everything that this machine lacks for these tests, each with what to do about it."""
    lacking = []
    if os.geteuid():
        lacking.append("they need root, for network namespaces: run them as root, or leave them out (--ignore)")
    if not TUN.exists():
        lacking.append(f"{TUN} is missing: load the kernel module tun, or give the container that device")
    for name in PACKAGE_OF:
        try:
            tool(name)
        except EnvironmentProblem as problem:
            lacking.append(str(problem))
    return [*lacking, *missing()]


@contextmanager
def own_network() -> Iterator[None]:
    """An empty network namespace for this thread and every process that it starts; it ends with the last of them.

    Enter it in the main thread: asyncio starts children there. EnvironmentProblem if the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(CLONE_NEWNET):
            reason = os.strerror(ctypes.get_errno())
            raise EnvironmentProblem(f"no network namespace: {reason}; these tests need root with CAP_SYS_ADMIN")
        try:
            yield
        finally:
            if libc.setns(outside, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot return to the network namespace of the machine")
    finally:
        os.close(outside)


async def ip(*commands: str) -> None:
    """Run `ip` commands one after the other; DaemonError for the first that fails."""
    for command in commands:
        await output(tool("ip"), *command.split())


async def prepare_kernel() -> None:
    """Make this namespace a router with loopback addresses; EnvironmentProblem if its settings cannot be written."""
    for key, value in SYSCTLS.items():
        path = Path("/proc/sys/net") / key
        if path.exists():
            try:
                path.write_text(str(value))
            except OSError as error:
                raise EnvironmentProblem(f"{error}; in a container /proc/sys must be writable") from error
    await ip("link set lo up")


def open_tap(name: str) -> int:
    """Create a tap interface; its file descriptor is the far end of the wire, and closing it removes the interface.

    EnvironmentProblem if the device may not be opened.
    """
    try:
        descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise EnvironmentProblem(f"{error}; the container needs the device {TUN}") from error
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return descriptor
