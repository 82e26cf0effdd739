"""What `check` finds out about the way to each gobgpd: who could write there, and until when its certificate holds."""

import asyncio
import contextlib
import pwd
import socket
import ssl
import stat
import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from app.bgp.tls import tls_to
from app.clock import utc
from app.config import endpoints
from app.config.gobgp_settings import Gobgp
from app.config.inventory import Pop
from app.config.tls_files import SOON_S, certificate
from app.errors import SpeakerError

ANSWER_S = 3.0
ASK_FOR_IT = "start it with --tls-client-ca-file, which GoBGP 4 has, or use a unix socket"
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)  # with SETTINGS that set nothing
SETTINGS_FRAME = 4
PEER = struct.Struct("3i")  # process, user and group that listen; the process is 0 if it is in another namespace


class Exposure(NamedTuple):
    """How a gobgpd is reached, and what is wrong with that beside what the configuration shows already."""

    text: str
    problem: str | None = None


async def exposures(pops: Mapping[str, Pop], gobgp: Gobgp, now_s: float) -> dict[tuple[str, str], Exposure]:
    """How the gobgpd beside every router is reached, by PoP and router."""
    targets = {(name, router.name): router.injector.grpc for name, pop in pops.items() for router in pop.router}
    found = await asyncio.gather(*(exposure(target, gobgp, now_s) for target in targets.values()))
    return dict(zip(targets, found, strict=True))


async def exposure(target: str, gobgp: Gobgp, now_s: float) -> Exposure:
    """Look at the socket, or shake hands. Whether gobgpd answers calls is found out elsewhere."""
    if target.startswith(endpoints.UNIX):
        return _socket(Path(target.removeprefix(endpoints.UNIX)))
    if (tls := tls_to(target, gobgp)) is None:
        return Exposure(f"TCP without TLS at {target}, where every user of its host may write")
    try:
        theirs, _ = await _greet(target, tls.current().context)
        stranger = tls.stranger()
    except (OSError, SpeakerError) as error:  # and TimeoutError
        return Exposure(f"TLS at {target}, not seen: {str(error) or 'no answer'}")
    lets_in = False
    with contextlib.suppress(OSError):
        _, lets_in = await _greet(target, stranger)
    ends_s = certificate(ssl.DER_cert_to_PEM_cert(theirs).encode()).ends_s
    text = f"TLS at {target}, whose certificate holds until {utc(ends_s)}"
    if lets_in:
        return Exposure(text, f"the gobgpd at {target} lets in who has no certificate: {ASK_FOR_IT}")
    if ends_s < now_s + SOON_S:
        return Exposure(text, f"the certificate of the gobgpd at {target} holds until {utc(ends_s)}: renew it")
    return Exposure(text)


def _socket(path: Path) -> Exposure:
    try:
        found = path.stat()
    except OSError:
        return Exposure(f"unix socket {path}, not seen from here")
    mode = stat.S_IMODE(found.st_mode)
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    text = f"unix socket {path}, mode {mode:04o} of {owner}"
    if mode & stat.S_IWOTH:
        return Exposure(text, f"{text}: every user of this host may announce routes: `chmod o-w {path}`")
    if more := also_opens(_arguments(path)):
        return Exposure(text, f"the gobgpd of {path} also has {more}")
    return Exposure(text)


def also_opens(arguments: Sequence[str]) -> str | None:
    """What a gobgpd with these arguments opens beside its unix socket, and what to do; None if that is nothing."""
    given = {"--api-hosts": "", "--pprof-host": "localhost:6060"}
    for name, value in pairwise([*arguments, ""]):
        option, equals, rest = name.partition("=")
        if option in given:
            given[option] = rest if equals else value
    if "--tls-client-ca-file" not in {argument.partition("=")[0] for argument in arguments}:
        hosts = [host for host in given["--api-hosts"].split(",") if host and not host.startswith(endpoints.UNIX)]
        if hosts:
            where = " and ".join(hosts)
            return f"its gRPC at {where}, where whoever reaches it may announce routes: take that out of --api-hosts"
    if arguments and "--pprof-disable" not in arguments:
        return f"its profile at {given['--pprof-host']}: start it with --pprof-disable"
    return None


def _arguments(path: Path) -> Sequence[str]:
    """The command line of the process that listens on this socket; empty if it cannot be seen from here."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(ANSWER_S)
        asking.connect(str(path))
        pid, _, _ = PEER.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[1:-1]
    return ()


async def _greet(target: str, context: ssl.SSLContext) -> tuple[bytes, bool]:
    """Their certificate, and whether they greet us: with TLS 1.3 a client without one learns of it only then."""
    host, _, port = target.rpartition(":")
    async with asyncio.timeout(ANSWER_S):
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
        try:
            theirs = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.write(GREETING)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                return theirs, (await reader.readexactly(4))[3] == SETTINGS_FRAME
            return theirs, False
        finally:
            writer.transport.abort()
