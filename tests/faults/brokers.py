"""The brokers under test: one, or three with replication; killed, frozen and started again."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from app.kafka import client
from app.lab.daemons.kafka import format_storage, reached_at, start_kafka
from app.lab.daemons.machine import Site, open_site
from app.lab.daemons.runner import Runner

REPLICATED = """
node.id=$node
controller.quorum.voters=$voters
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
"""
WHOLE = -1  # all records that there are


async def delete_records(broker: str, before: Mapping[str, int]) -> None:
    """Delete the records before an offset, by topic."""
    async with client.started(client.admin(reached_at(broker))) as admin:
        await admin.delete_records({TopicPartition(name, 0): RecordsToDelete(end) for name, end in before.items()})


class Brokers:
    """A cluster in `run_dir`; `address` names all its brokers."""

    def __init__(self, run_dir: Path, count: int) -> None:
        self.count = count
        self._run_dir = run_dir
        self._sites: list[Site] = []
        self._runners: list[Runner] = []
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for number in range(self.count):
            run_dir = self._run_dir / f"broker-{number}"
            run_dir.mkdir()
            site = open_site(run_dir)
            self._sites.append(site)
            self._runners.append(await self._exit.enter_async_context(Runner(run_dir, site.user)))
        try:
            for number in range(self.count):
                await format_storage(self._runners[number], self._sites[number], self._more(number))
            await asyncio.gather(*(self.start(number) for number in range(self.count)))
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        for number in range(self.count):
            with contextlib.suppress(KeyError):  # a dead one
                self.thaw(number)
        await self._exit.aclose()

    @property
    def addresses(self) -> Sequence[str]:
        return [f"127.0.0.1:{site.ports.kafka}" for site in self._sites]

    @property
    def address(self) -> str:
        return ",".join(self.addresses)

    async def start(self, number: int = 0) -> None:
        await start_kafka(self._runners[number], self._sites[number])

    async def kill(self, number: int = 0) -> None:
        """SIGKILL: what it acknowledged is in the kernel's cache, which outlives it."""
        await self._runners[number].kill("kafka")
        await self._runners[number].stop("kafka")

    def folder(self, topic: str, number: int = 0) -> Path:
        """Where a broker keeps the only partition of a topic."""
        return self._sites[number].path("kafka") / f"{topic}-0"

    def freeze(self, number: int = 0) -> None:
        os.kill(self._runners[number].pid("kafka"), signal.SIGSTOP)

    def thaw(self, number: int = 0) -> None:
        os.kill(self._runners[number].pid("kafka"), signal.SIGCONT)

    def _more(self, number: int) -> str:
        """What one of several brokers has beside the configuration of a single one."""
        if self.count == 1:
            return ""
        voters = ",".join(f"{n + 1}@127.0.0.1:{site.ports.controller}" for n, site in enumerate(self._sites))
        return REPLICATED.replace("$node", str(number + 1)).replace("$voters", voters)
