"""Bytes of the wire through a real sfacctd or pmbmpd with the settings that we ship, and what it writes.

Only the output differs: a file instead of a topic, so no broker is needed. The lines are those that Kafka would get,
except that flows do not name their writer.
"""

import asyncio
import json
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from app.lab.daemons.machine import binary, fill
from app.lab.daemons.ports import free_port, udp_holders
from app.lab.daemons.runner import POLL_S, Program, Runner
from app.lab.pop.packets import tcp_frame
from app.lab.pop.sflow import FlowSample, encode_datagram, encode_flow
from tests.patience import PATIENCE_S

HERE = "127.0.0.1"
AGENT_AROUND = "192.0.2.254"  # of samples before and behind all others
FIRST, LAST = "192.0.2.252", "192.0.2.253"  # their destinations
TOPIC_KEYS = re.compile(r"kafka_(broker|topic|multi_values|partition_key|config_file)")
Line = dict[str, object]


def read_hex(path: Path) -> dict[str, bytes]:
    """The payloads of a file, one a line after its name, in their order; lines that begin with # are comments."""
    lines = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: bytes.fromhex(payload) for name, payload in lines}


def to_file(config: str, outputs: Mapping[str, Path]) -> str:
    """A collector's configuration with files in the place of topics; `outputs` are keys with their paths."""
    kept = [line for line in config.splitlines() if not TOPIC_KEYS.search(line)]
    kept += [f"{key}: {path}" for key, path in outputs.items()]
    return "\n".join(kept).replace("kafka[", "print[").replace("kafka_", "print_") + "\n"


class Collector:
    """A running daemon that appends JSON lines to its output files."""

    def __init__(self, port: int, outputs: Sequence[Path], log: Path, pid: int) -> None:
        self.port = port
        self._outputs = outputs
        self._log = log
        self._pid = pid

    @property
    def writers(self) -> list[str]:
        """The processes that write right now. Each purge of a plugin has its own, so a later one may be done before."""
        plugins = _children(str(self._pid))
        return [writer for plugin in plugins for writer in _children(plugin)]

    def lines(self) -> list[bytes]:
        """What it has written so far, file by file, without the line that it may still be writing."""
        texts = [path.read_bytes() for path in self._outputs if path.exists()]
        return [line for text in texts for line in text.rpartition(b"\n")[0].splitlines() if line]

    def log(self) -> str:
        """What the daemon said of itself."""
        return self._log.read_text(errors="replace")

    async def lines_until(self, enough: Callable[[list[Line]], bool]) -> list[bytes]:
        """What it has written, once that is `enough`; TimeoutError if it never is."""
        await until(lambda: enough([json.loads(line) for line in self.lines()]))
        return self.lines()


@asynccontextmanager
async def sfacctd(config: Callable[[int], str]) -> AsyncIterator[Collector]:
    """Run sfacctd with the configuration for a UDP port, which `config` returns; it writes flows, then counters."""
    port = free_port()

    async def listens() -> str | None:
        return None if udp_holders(port) else f"nobody listens on UDP port {port} yet"

    async with _room() as (folder, runner):
        outputs = {"print_output_file[flows]": folder / "flows", "sfacctd_counter_file": folder / "counters"}
        path = folder / "sfacctd.conf"
        path.write_text(to_file(config(port), outputs) + "print_output_file_append[flows]: true\n")
        program = Program(name="sfacctd", argv=(binary("sfacctd"), "-f", str(path)), stop_signal=signal.SIGINT)
        await runner.start(program, listens)
        yield Collector(port, list(outputs.values()), runner.log("sfacctd"), runner.pid("sfacctd"))


@asynccontextmanager
async def pmbmpd(config: Callable[[int], str]) -> AsyncIterator[Collector]:
    """Run pmbmpd with the configuration for a TCP port, which `config` returns."""
    port = free_port()

    async with _room() as (folder, runner):
        output, path = folder / "bmp", folder / "pmbmpd.conf"
        path.write_text(to_file(config(port), {"bmp_daemon_msglog_file": output}))
        program = Program(name="pmbmpd", argv=(binary("pmbmpd"), "-f", str(path)), stop_signal=signal.SIGINT)

        async def listens() -> str | None:
            waiting = "waiting for BMP data" in runner.log("pmbmpd").read_text(errors="replace")
            return None if waiting else "it does not wait for BMP data yet"

        await runner.start(program, listens)
        yield Collector(port, [output], runner.log("pmbmpd"), runner.pid("pmbmpd"))


async def sflow_lines(payloads: Iterable[bytes]) -> list[bytes]:
    """The lines that sfacctd writes for these datagrams, markers included: flows first, then counters."""
    async with sfacctd(shipped_sfacctd) as collector:
        await _comes_out(collector, FIRST)  # its plugin hears the core process only some time after the port is bound
        send(collector.port, payloads)
        await _comes_out(collector, LAST)
        await until(lambda: not collector.writers)
        lines = collector.lines()
    return [line for line in lines if not _is_around(json.loads(line))]


async def _comes_out(collector: Collector, destination: str) -> None:
    """Send a sample to this destination, again and again, until sfacctd has written one."""

    def is_out(lines: list[Line]) -> bool:
        send(collector.port, [_datagram(destination)])
        return any(line.get("ip_dst") == destination for line in lines)

    await collector.lines_until(is_out)


async def bmp_lines(messages: Iterable[bytes]) -> list[bytes]:
    """The lines that pmbmpd writes for these messages of one session from 127.0.0.1, until the session ends."""
    async with pmbmpd(shipped_pmbmpd) as collector:
        with connect(collector.port) as session:
            session.sendall(b"".join(messages))
        return await collector.lines_until(lambda lines: any(line["event_type"] == "log_close" for line in lines))


def send(port: int, payloads: Iterable[bytes], source: str = HERE) -> None:
    """Send datagrams to a local port in their order."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        for payload in payloads:
            sender.sendto(payload, (HERE, port))


def connect(port: int, source: str = HERE) -> socket.socket:
    """Connect to a local port from this address."""
    return socket.create_connection((HERE, port), source_address=(source, 0))


async def until(met: Callable[[], bool]) -> None:
    """Wait until a condition is met; TimeoutError if it never is."""
    async with asyncio.timeout(PATIENCE_S):
        while not met():
            await asyncio.sleep(POLL_S)


def shipped_sfacctd(port: int) -> str:
    """The configuration of sfacctd that we ship."""
    topics = {"flows_topic": "flows", "counters_topic": "counters"}
    return fill("sfacctd.conf", sflow=port, kafka=0, refresh_s=1, **topics)


def shipped_pmbmpd(port: int) -> str:
    """The configuration of pmbmpd that we ship."""
    return fill("pmbmpd.conf", bmp=port, kafka=0, bmp_topic="bmp")


@asynccontextmanager
async def _room() -> AsyncIterator[tuple[Path, Runner]]:
    """A folder of its own, and a runner that ends what was started in it."""
    folder = Path(tempfile.mkdtemp(prefix="autopilot-wire-"))
    try:
        async with Runner(folder) as runner:
            yield folder, runner
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)


def _children(pid: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:  # it has ended
        return []


def _datagram(destination: str) -> bytes:
    header = tcp_frame("198.18.0.1", destination, 100, 50000)
    return encode_datagram(AGENT_AROUND, 1, 1, [encode_flow(FlowSample(1, 1, 1, 1, 1, 1, 100, header))])


def _is_around(line: Line) -> bool:
    return AGENT_AROUND in (line.get("peer_ip_src"), line.get("peer_src_ip")) or line.get("ip_dst") in (FIRST, LAST)
