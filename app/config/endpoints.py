"""Where a daemon listens: one canonical spelling of HOST:PORT and unix:///PATH, so that equal targets are equal texts.

Every function raises ValueError with what is wrong, as the rest of a sentence that begins with the value.
"""

import ipaddress
import posixpath
import re

PORT_MAX = 2**16 - 1
SOCKET_PATH_MAX = 107  # sockaddr_un
UNIX = "unix://"
THIS_HOST = "localhost"
_GRPC_ADVICE = "write HOST:PORT, [IPV6]:PORT or unix:///PATH"
_BROKER_ADVICE = "write HOST:PORT or [IPV6]:PORT, several separated by commas"


def grpc(target: str) -> str:
    """Where a gobgpd listens for gRPC."""
    if not target.startswith(UNIX):
        return host_port(target, _GRPC_ADVICE)
    path = target.removeprefix(UNIX)
    if not path.startswith("/"):
        raise ValueError("has no absolute path; write unix:///PATH")
    if not path.isprintable() or "$" in path:
        raise ValueError("is no path of a socket: nothing is filled in here; write unix:///PATH")
    if len(path.encode()) > SOCKET_PATH_MAX:
        raise ValueError(f"is longer than a socket's path may be ({SOCKET_PATH_MAX} bytes)")
    return f"{UNIX}/{posixpath.normpath(path).lstrip('/')}"


def brokers(addresses: str) -> str:
    """One or several addresses of brokers, separated by commas."""
    return ",".join(host_port(address.strip(), _BROKER_ADVICE) for address in addresses.split(","))


def host_port(target: str, advice: str) -> str:
    """HOST:PORT, with an IPv6 address in brackets; ValueError ends with `advice`."""
    host, colon, port = target.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or not host:
        raise ValueError(f"is not HOST:PORT; {advice}")
    if ":" in host and not host.startswith("["):
        fixed = f"if the port is {port}, write '[{host}]:{port}'" if _address(host) else advice
        raise ValueError(f"is not HOST:PORT; {fixed}")
    if not 0 < int(port) <= PORT_MAX:
        raise ValueError(f"has no port from 1 to {PORT_MAX}; {advice}")
    return f"{_host(host, advice)}:{int(port)}"


def same_place(target: str) -> str:
    """A canonical target as it is compared: all names and addresses that usually mean this host are one."""
    host, _, port = target.rpartition(":")
    return f"{THIS_HOST}:{port}" if host in (THIS_HOST, "127.0.0.1", "[::1]") else target


def is_local(target: str) -> bool:
    """Whether a canonical target means another daemon on each host."""
    if target.startswith(UNIX):
        return True
    host = target.rpartition(":")[0]
    address = _address(host.strip("[]"))
    return address.is_loopback if address is not None else host == THIS_HOST


def _host(host: str, advice: str) -> str:
    """A host name in lower case, or an address as RFC 5952 has it."""
    if host.startswith("["):
        address = _address(host.removeprefix("[").removesuffix("]")) if host.endswith("]") else None
        if not isinstance(address, ipaddress.IPv6Address):
            raise ValueError(f"is not HOST:PORT; {advice}")
        address = address.ipv4_mapped or address
    else:
        labels = host.lower().removesuffix(".").split(".")
        if not all(re.fullmatch(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", label) for label in labels):
            raise ValueError(f"is not HOST:PORT; {advice}")
        if not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):  # else resolvers take it for an address, as 10.1 is
            return ".".join(labels)
        address = _address(host)
    if address is None:
        raise ValueError(f"has no address of four numbers from 0 to 255; {advice}")
    if address.is_unspecified or address.is_multicast:
        raise ValueError("is where a daemon listens, not one host; write the address that it is reached at")
    return str(address) if address.version == 4 else f"[{address}]"


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None
