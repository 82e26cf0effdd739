"""`python -m tests.cluster.leader TOPIC` prints which broker leads it; the settings of Kafka are on stdin."""

import asyncio
import sys

import msgspec

from app.config.settings import Kafka
from app.kafka import client


async def leader(kafka: Kafka, topic: str) -> int:
    """The number of the broker that leads the one partition of the topic."""
    async with client.started(client.admin(kafka)) as admin:
        [described] = await admin.describe_topics([topic])
    [partition] = described["partitions"]
    return int(partition["leader"])


if __name__ == "__main__":
    print(asyncio.run(leader(msgspec.json.decode(sys.stdin.buffer.read(), type=Kafka), sys.argv[1])))
