"""Collectors of many PoPs in one cheap process: `python -m tests.bench.popfeed`, started by tests/bench/pops.py.

One window of messages is made ahead and sent again and again with its times patched; PoPs purge one after the other,
each every 2 s, and those of the same second share the bytes, as they would be alike. Ends with SIGTERM. A line of JSON
every refresh tells how late its latest purge was. A generator that cannot keep pace goes on, ever later: a purge waits
until its PoP's last one is with the broker.
"""

import asyncio
import json
from collections.abc import Sequence
from itertools import count

import click
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from app.clock import SystemClock
from app.contract import topics
from tests.bench import network
from tests.bench.traffic import BLOCK, RATE, REFRESH_S, SIZES, WINDOW_S, Plan, Traffic

PURGES = WINDOW_S // REFRESH_S
PREPARED_S = 1_000_000_000  # the time that is patched: unlike any of now
BATCH_BYTES = 900_000
PATIENCE_S = 600  # with a broker that is starved: to be late is a figure, not an end


def capacity_bps(records_per_s: int) -> float:
    """Of each link: half as much again as the mean load, so that the largest are congested; of a PoP without, any."""
    load_bps = 8 * RATE * sum(SIZES) / len(SIZES) * records_per_s / network.LINKS
    return 1.5 * load_bps or 1e9


class Recording:
    """One window of a PoP's messages. Without records only markers and counters that stand still are left."""

    def __init__(self, records_per_s: int, flows: int) -> None:
        self.records_per_s = records_per_s
        made = Traffic(
            Plan(
                start_s=PREPARED_S,
                windows=1,
                a_purge=REFRESH_S * records_per_s or BLOCK,
                per_message=BLOCK,
                flows=flows,
            )
        )
        values = [message.value for message in made.messages()]
        per_purge = 1 + REFRESH_S * records_per_s // BLOCK + 1
        if not records_per_s:
            values = [value for value in values if b'"purge"' not in value]
        self._purges = [values[number * per_purge :][:per_purge] for number in range(PURGES)]
        self._octets = made.octets if records_per_s else [[0] * network.LINKS] * PURGES

    @property
    def messages_a_purge(self) -> int:
        return len(self._purges[0])

    @property
    def record_bytes(self) -> float:
        """Of a flow record in its message."""
        return sum(len(value) for purge in self._purges for value in purge) / max(1, self.records_per_s * WINDOW_S)

    def prefixes(self) -> set[str]:
        """The prefixes that traffic goes to, which need routes."""
        lines = [line for purge in self._purges for value in purge for line in value.split(b"\n") if b"ip_dst" in line]
        addresses = {line.partition(b'"ip_dst": "')[2].partition(b'"')[0].decode() for line in lines}
        return {f"{address.rpartition('.')[0]}.0/24" for address in addresses}

    def purge(self, number: int, at_s: int) -> list[bytes]:
        """Messages of the `number`th purge with the records of the 2 s before `at_s`."""
        made_s = PREPARED_S + (1 + number % PURGES) * REFRESH_S
        values = self._purges[number % PURGES]
        for before_s in range(1, REFRESH_S + 1):
            old, new = f'"{made_s - before_s}.'.encode(), f'"{at_s - before_s}.'.encode()
            values = [value.replace(old, new) for value in values]
        return values

    def counters(self, number: int, at_s: int) -> list[bytes]:
        """A sample of each link after the `number`th purge; octets go on from window to window."""
        windows, rest = divmod(number, PURGES)
        octets = zip(self._octets[-1], self._octets[rest], strict=True)
        capacity = capacity_bps(self.records_per_s)
        return [
            network.counters(link, at_s, windows * whole + part, capacity) for link, (whole, part) in enumerate(octets)
        ]


def batches(producer: AIOKafkaProducer, values: Sequence[bytes], at_ms: int) -> list[BatchBuilder]:
    """Closed batches, which may be sent to many topics."""
    built = [producer.create_batch()]
    for value in values:
        if built[-1].append(key=None, value=value, timestamp=at_ms) is None:
            built.append(producer.create_batch())
            assert built[-1].append(key=None, value=value, timestamp=at_ms) is not None, "too long"
    for batch in built:
        batch.close()
    return built


async def send(producer: AIOKafkaProducer, topic: str, built: Sequence[BatchBuilder]) -> None:
    """In order; returns when the broker has all of them."""
    for answer in [await producer.send_batch(batch, topic, partition=0) for batch in built]:
        await answer


class Feed:
    """Purges of all PoPs, spread over the refresh."""

    def __init__(self, producer: AIOKafkaProducer, recording: Recording, pops: Sequence[str]) -> None:
        self._producer = producer
        self._recording = recording
        self._pops = pops
        self._clock = SystemClock()
        self._late_s = 0.0
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def run(self, base_s: int) -> None:
        """From then until cancelled; a message that the broker refuses ends it."""
        async with asyncio.TaskGroup() as sending:
            for number in count():
                await self._refresh(sending, number, base_s + number * REFRESH_S)
                print(json.dumps({"at_s": self._clock.now_s(), "late_s": round(self._late_s, 3)}), flush=True)
                self._late_s = 0.0

    async def _refresh(self, sending: asyncio.TaskGroup, number: int, base_s: int) -> None:
        flows: list[BatchBuilder] = []
        counters: list[BatchBuilder] = []
        made_s = 0
        for index, pop in enumerate(self._pops):
            due_s = base_s + REFRESH_S * index / len(self._pops)
            if (at_s := int(due_s)) != made_s:
                made_s = at_s
                flows = batches(self._producer, self._recording.purge(number, at_s), at_s * 1000)
                if number % PURGES == 0:
                    counters = batches(self._producer, self._recording.counters(number, at_s), at_s * 1000)
            await asyncio.sleep(due_s - self._clock.now_s())
            if last := self._under_way.get(pop):
                await last
            self._under_way[pop] = sending.create_task(self._send(pop, flows, counters, due_s))

    async def _send(
        self, pop: str, flows: Sequence[BatchBuilder], counters: Sequence[BatchBuilder], due_s: float
    ) -> None:
        await send(self._producer, topics.COUNTERS.for_pop(pop), counters)
        await send(self._producer, topics.FLOWS.for_pop(pop), flows)
        self._late_s = max(self._late_s, self._clock.now_s() - due_s)


async def feed(broker: str, pops: Sequence[str], records_per_s: int, flows: int) -> None:
    recording = Recording(records_per_s, flows)
    producer = AIOKafkaProducer(
        bootstrap_servers=broker, acks=1, max_batch_size=BATCH_BYTES, request_timeout_ms=PATIENCE_S * 1000
    )
    await producer.start()
    try:
        await Feed(producer, recording, pops).run(int(SystemClock().now_s()) // REFRESH_S * REFRESH_S + 2 * REFRESH_S)
    finally:
        await producer.stop()


@click.command()
@click.argument("pops", nargs=-1, required=True)
@click.option("--broker", required=True)
@click.option("--records-per-second", type=int, required=True)
@click.option("--flows", type=int, required=True)
def main(pops: tuple[str, ...], broker: str, records_per_second: int, flows: int) -> None:
    """Send until a signal."""
    asyncio.run(feed(broker, pops, records_per_second, flows))


if __name__ == "__main__":
    main()
