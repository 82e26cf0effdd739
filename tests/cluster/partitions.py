"""`python -m tests.cluster.partitions` prints who leads and who is in sync; Kafka's settings are on stdin."""

import asyncio
import sys

import msgspec

from app.config.settings import Kafka
from app.kafka import client


class Partition(msgspec.Struct, frozen=True):
    """A partition: which broker leads it, and which have all of it."""

    leader: int
    in_sync: list[int]


async def partitions(kafka: Kafka) -> dict[str, list[Partition]]:
    """Those of every topic."""
    async with client.started(client.admin(kafka)) as admin:
        described = await admin.describe_topics()
    return {
        topic["topic"]: [Partition(part["leader"], part["isr"]) for part in topic["partitions"]] for topic in described
    }


if __name__ == "__main__":
    found = asyncio.run(partitions(msgspec.json.decode(sys.stdin.buffer.read(), type=Kafka)))
    print(msgspec.json.encode(found).decode())
