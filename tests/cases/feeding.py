"""A broker, and a telemetry worker on it that is started again when it ends, for cases about topics and records."""

import asyncio
import gzip
import json
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import cramjam
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.record.util import encode_varint

from app.contract import topics
from app.errors import DaemonError
from app.kafka.admin import create, create_topics
from app.lab.daemons.deployment import to_toml, with_sockets_in
from app.lab.daemons.kafka import format_storage, reached_at, start_kafka
from app.lab.daemons.machine import make_run_dir, open_site
from app.lab.daemons.ports import free_port
from app.lab.daemons.runner import Runner
from app.lab.demo.state_client import StateClient
from tests.app.feeds.test_flows import RECORD
from tests.app.stream.test_fetching import batch, signed
from tests.patience import PATIENCE_S
from tests.pops import INVENTORY

CELL = "cases"
OWN_ASN = 64513  # of the first PoP, and so on: PoPs of one AS may not share addresses
LISTENERS = """
listeners=BROKER://127.0.0.1:{port},SIX://[::1]:{six},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=BROKER://127.0.0.1:{port},SIX://[::1]:{six}
listener.security.protocol.map=BROKER:PLAINTEXT,SIX:PLAINTEXT,CONTROLLER:PLAINTEXT
"""
FLOW = json.dumps(RECORD).encode()


class Counted(msgspec.Struct):
    """What a worker has counted in one PoP."""

    records: int


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


class Feeding:
    """What a case has in hand: a broker with the topics of some PoPs, and a deployment of them in one cell."""

    def __init__(self, folder: Path, broker: str, worker_broker: str, pops: Sequence[str]) -> None:
        self.broker, self.worker_broker, self.pops = broker, worker_broker, pops
        self.kafka = reached_at(broker)
        self.log, self.ends = folder / "worker.log", list[int]()
        self._folder, self._port = folder, free_port()
        self._process: asyncio.subprocess.Process | None = None
        for number, pop in enumerate(pops):
            text = with_sockets_in(Path("/nonexistent", pop), INVENTORY.read_text())
            text = text.replace('name = "rhv1000"\nasn = 64512', f'name = "{pop}"\nasn = {OWN_ASN + number}', 1)
            (folder / f"{pop}.toml").write_text(text)
        settings: dict[str, object] = {
            "pops": [f"{pop}.toml" for pop in pops],
            "data_dir": str(folder / "data"),
            "state_port": self._port,
            "cells": {CELL: list(pops)},
            "kafka": {"broker": worker_broker, "replication_factor": 1, "session_timeout_s": 6},
        }
        (folder / "autopilot.toml").write_text(to_toml(settings))

    async def send(self, topic: str, *values: bytes | None, **options: Any) -> None:
        """Write records; `options` are those of the producer, or the key and headers of all these records."""
        record = {name: options.pop(name) for name in ("key", "headers") if name in options}
        async with self.producer(**options) as producer:
            for value in values:
                await producer.send_and_wait(topic, value, **record)

    @asynccontextmanager
    async def producer(self, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(bootstrap_servers=self.broker, **options)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def send_batch(self, topic: str, made: bytes) -> None:
        """Write a batch of our own making, as it is."""
        async with self.producer() as producer:
            sent = producer.create_batch()
            sent.append(key=None, value=b"", timestamp=None)
            sent.close()
            sent._buffer = bytearray(made)
            await (await producer.send_batch(sent, topic, partition=0))

    async def command(self, *arguments: str) -> tuple[int | None, bytes]:
        """Exit status and stdout of a command."""
        argv = (sys.executable, "-m", "app", *arguments, "--config", str(self._folder / "autopilot.toml"))
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        return process.returncode, out

    async def records(self, pop: str) -> int:
        """How many flow records the worker has counted; -1 while it does not answer."""
        try:
            return (await StateClient(self._port, pop).get("progress", Counted)).records
        except DaemonError:
            return -1

    async def counts(self, wanted: Mapping[str, int]) -> None:
        """Until the worker has counted as many records in these PoPs; it is started again whenever it ends."""

        seen: dict[str, int] = {}

        async def counted() -> bool:
            seen.update({pop: await self.records(pop) for pop in wanted})
            return seen == wanted

        try:
            await self.until(counted)
        except TimeoutError as error:
            differ = {pop: seen[pop] for pop in wanted if seen[pop] != wanted[pop]}
            raise TimeoutError(f"counted {differ} of {wanted}; log: {self.log.read_text()[-2000:]}") from error

    async def until(self, happened: Callable[[], Awaitable[bool]]) -> None:
        """Await a condition, with the worker running; TimeoutError if it never holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not await happened():
                await self.run()
                await asyncio.sleep(0.2)

    async def run(self) -> None:
        """Start the worker unless it runs."""
        if self._process is not None and self._process.returncode is not None:
            self.ends.append(self._process.returncode)
            self._process = None
        if self._process is None:
            config = str(self._folder / "autopilot.toml")
            argv = (sys.executable, "-m", "app", "telemetry", "--cell", CELL, "--config", config)
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=log)

    def peak_memory_bytes(self) -> int:
        """The most memory that the worker has had (VmHWM)."""
        assert self._process is not None, "no worker runs"
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
            await self._process.wait()
            self._process = None


@asynccontextmanager
async def feeding(folder: Path, pops: Sequence[str], configs: Mapping[str, dict[str, str]]) -> AsyncIterator[Feeding]:
    """A broker, reached by the worker at [::1] if there is one, with all topics of these PoPs.

    `configs` adds to the configuration of a topic.
    """
    site = open_site(make_run_dir(None))
    six = free_port()
    more = LISTENERS.format(port=site.ports.kafka, six=six, controller=site.ports.controller) if has_ipv6() else ""
    try:
        async with Runner(site.run_dir, site.user) as runner:
            await format_storage(runner, site, more)
            broker = await start_kafka(runner, site)
            named = topics.named(pops)
            changed = {name: named[name].config | more for name, more in configs.items()}
            await create(reached_at(broker), [NewTopic(name, 1, 1, topic_configs=all) for name, all in changed.items()])
            await create_topics(reached_at(broker), {name: named[name] for name in named if name not in changed})
            fed = Feeding(folder, broker, f"[::1]:{six}" if more else broker, pops)
            try:
                yield fed
            finally:
                await fed.stop(signal.SIGKILL)
    finally:
        shutil.rmtree(site.run_dir)


def bomb(codec: str, size_bytes: int) -> bytes:
    """A batch of one record of so many zeros."""
    compressors: dict[str, tuple[int, Callable[[bytes], Any]]] = {
        "gzip": (1, gzip.compress),
        "zstd": (4, cramjam.zstd.compress),
    }
    number, compress = compressors[codec]
    fields = bytearray(b"\0\0\0\1")  # attributes, time, offset, no key
    encode_varint(size_bytes, fields.append)
    record = bytearray()
    encode_varint(len(fields) + size_bytes + 1, record.append)
    records = b"".join([record, fields, bytes(size_bytes), b"\0"])
    head = bytearray(batch(0, b"")[:61])
    return signed(bytes(head) + bytes(compress(records)), 0, number)
