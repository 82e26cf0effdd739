"""PoPs whose routers stand outside of the cluster, each in a network namespace of its own, on a cable to the node."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from app.errors import DaemonError
from app.lab.demo.run import INVENTORY, PACING
from tests.cluster import broker
from tests.cluster.cluster import Cluster
from tests.cluster.outside import Place, Play, Played
from tests.deploy.chart import NAMESPACE

ROOT = Path(__file__).parents[2]
STATE = "/api/v1/namespaces/{namespace}/pods/autopilot-telemetry-{pop}-0:6070/proxy"
STARTS_WITHIN_S, PLAYS_WITHIN_S, ENDS_WITHIN_S = 900.0, 1500.0, 30.0
TAIL_LINES = 15


class Cable:
    """The addresses of a PoP: of both ends of its cable, and what its routers send sFlow and BMP to."""

    def __init__(self, number: int) -> None:
        self.namespace = f"pop{number}"
        self.node, self.r1, self.r2 = (f"10.99.{number + 1}.{host}" for host in (1, 11, 12))
        self.sflow, self.bmp = (f"10.96.{number}.{host}" for host in (1, 2))


def inventory(pop: str, number: int) -> str:
    """The demo's inventory as that of this PoP. Its gobgpds are behind the node, so its address is theirs."""
    cable = Cable(number)
    text = INVENTORY.read_text(encoding="utf-8")
    for before, after in (
        ('"rhv1000"', f'"{pop}"'),
        ('"127.0.0.1"', f'"{cable.r1}"'),
        ('"127.0.0.11"', f'"{cable.r1}"'),
        ('"127.0.0.12"', f'"{cable.r2}"'),
        ('"127.0.0.21"', f'"{cable.node}"'),
        ('"127.0.0.22"', f'"{cable.node}"'),
        ('"192.0.2.', f'"10.{100 + number}.1.'),
        ("2001:db8:ffff::", f"2001:db8:ffff:{number + 1:x}::"),
        ("/injector-", f"/{pop}-"),
        ('bmp_sysname = "', f'bmp_sysname = "{pop}-'),
    ):
        text = text.replace(before, after)
    return text


def entry(pop: str, number: int) -> dict[str, Any]:
    """What stands in `pops` of the chart's values."""
    cable = Cable(number)
    return {"name": pop, "mode": "auto", "sflowAddress": cable.sflow, "bmpAddress": cable.bmp}


async def lay(cluster: Cluster, number: int) -> None:
    """Lay the cable of a PoP. Its daemons are not root there, and open the port of BGP."""
    cable = Cable(number)
    inside, end = ("ip", "-n", cable.namespace), f"{cable.namespace}-out"
    for command in (
        ("ip", "netns", "add", cable.namespace),
        ("ip", "link", "add", cable.namespace, "type", "veth", "peer", "name", end, "netns", cable.namespace),
        ("ip", "address", "add", f"{cable.node}/24", "dev", cable.namespace),
        ("ip", "link", "set", cable.namespace, "up"),
        (*inside, "link", "set", "lo", "up"),
        (*inside, "address", "add", f"{cable.r1}/24", "dev", end),
        (*inside, "address", "add", f"{cable.r2}/24", "dev", end),
        (*inside, "link", "set", end, "up"),
        (*inside, "route", "add", "default", "via", cable.node),
        ("ip", "netns", "exec", cable.namespace, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start"),
    ):
        await cluster.sandbox.run(*command)


class PopOutside:
    """What plays scenarios in one PoP."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process, self._log = process, log

    async def play(self, wanted: Play) -> Played:
        """Play a scenario to its end; DaemonError with the end of the log if that fails."""
        self._say(msgspec.json.encode(wanted))
        return msgspec.json.decode(await self.answer(PLAYS_WITHIN_S), type=Played)

    async def begin(self, wanted: Play) -> None:
        """Begin a scenario that has no end of its own; return when overrides stand."""
        self._say(msgspec.json.encode(wanted))
        await self.answer(PLAYS_WITHIN_S)

    async def end(self) -> Played:
        """End it, as soon as overrides stand again."""
        self._say(b"{}")
        return msgspec.json.decode(await self.answer(PLAYS_WITHIN_S), type=Played)

    def _say(self, line: bytes) -> None:
        assert self._process.stdin is not None, "a pipe"
        self._process.stdin.write(line + b"\n")

    async def answer(self, within_s: float) -> bytes:
        """The next line that it writes."""
        assert self._process.stdout is not None, "a pipe"
        line = b""
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(self._process.stdout.readline(), within_s)
        if not line:
            tail = "\n".join(self._log.read_text(encoding="utf-8").splitlines()[-TAIL_LINES:])
            raise DaemonError(f"outside of the cluster, within {within_s:g} s; log {self._log} ends with:\n{tail}")
        return line


@asynccontextmanager
async def outside(cluster: Cluster, pop: str, number: int) -> AsyncIterator[PopOutside]:
    """The routers of a PoP, all of whose routes have reached Kafka. Telemetry has one pod."""
    await lay(cluster, number)
    folder, cable = cluster.sandbox.folder, Cable(number)
    file, log = folder / f"{pop}.json", folder / "log" / f"{pop}.log"
    listed = folder / f"{pop}.toml"
    listed.write_text(inventory(pop, number), encoding="utf-8")
    place = Place(
        str(folder / pop),
        str(listed),
        {"mode": "auto", "pacing": PACING, "kafka": operator(folder)},
        cable.sflow,
        cable.bmp,
        str(folder / "pki"),
        STATE.format(namespace=NAMESPACE, pop=pop),
    )
    file.write_bytes(msgspec.json.encode(place))
    python = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.cluster.outside", str(file))
    argv = cluster.sandbox.inside("ip", "netns", "exec", cable.namespace, *python)
    with log.open("wb") as written:
        process = await _spawn(argv, written)
    try:
        found = PopOutside(process, log)
        await found.answer(STARTS_WITHIN_S)
        yield found
    finally:
        assert process.stdin is not None, "a pipe"
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), ENDS_WITHIN_S)
        except TimeoutError:
            process.kill()  # and with it the kernel ends its daemons
            await process.wait()


async def _spawn(argv: Sequence[str], log: IO[bytes]) -> asyncio.subprocess.Process:
    pipe = subprocess.PIPE
    return await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=log, cwd=ROOT, limit=1 << 24)


def operator(folder: Path) -> dict[str, Any]:
    """How an operator reaches the broker from there."""
    name = folder / "kafka" / "autopilot-operator"
    files = {"ca_file": folder / "kafka" / "ca.crt", "cert_file": f"{name}.crt", "key_file": f"{name}.key"}
    return {"broker": broker.BROKER, "security": "mtls"} | {key: str(path) for key, path in files.items()}
