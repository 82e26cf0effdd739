"""Faults of the worker's changelogs: a broker loses their ends, an administrator their beginnings."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.kafka import client
from app.lab.daemons.kafka import reached_at
from tests.consumers import consuming
from tests.faults.brokers import WHOLE, delete_records
from tests.faults.rig import APP_ID, Rig
from tests.faults.worker_faults import pause, sigterm

CHANGELOGS = tuple(f"{APP_ID}-{table}-changelog" for table in ("link_windows", "congestion", "interfaces", "rib"))
COMMITS = ("__consumer_offsets",)
AGED_S = 30.0  # what is older is not written again as a matter of course
REBUILT = ("*.index", "*.timeindex", "*.snapshot")  # by Kafka, from the log


async def tail_lost(rig: Rig) -> None:
    """A single broker loses power; the worker goes on, or ends as well and keeps its disk."""
    ends = len(rig.moments) % 2 == 1
    await pause(rig, 0.0, 1.5)
    async with rig.fault():
        if ends:
            await rig.worker.end()
        await _lose_tails(rig)
        if ends:
            await rig.worker.start()
    await rig.goes_on()


async def tail_lost_wiped(rig: Rig) -> None:
    """The same, and the worker's disk is gone, too: the commits are ahead of every row."""
    await pause(rig, 0.0, 1.5)
    await _without_disk(rig, _lose_tails)


async def _without_disk(rig: Rig, lose: Callable[[Rig], Awaitable[None]]) -> None:
    """The worker comes back without its disk, after records of its changelogs were lost."""
    async with rig.fault():
        await rig.worker.end()
        await lose(rig)
        rig.worker.wipe()
        await rig.worker.start()
    await rig.goes_on()


async def _lose_tails(rig: Rig) -> None:
    """Of each changelog another share, up to all of it; of the commits as well, the next two times.

    Kafka keeps the batches that are whole.
    """
    names = (*CHANGELOGS, *(COMMITS if len(rig.moments) // 2 % 2 else ()))
    before = await _ends(rig)
    await rig.brokers.kill()
    for name in names:
        cut_end(rig.brokers.folder(name), rig.random.random())
    await rig.brokers.start()
    after = await _ends(rig)
    if not any(after[partition] < end for partition, end in before.items()):
        rig.problems.append(f"no changelog lost its end: {before}, then {after}")


async def _ends(rig: Rig) -> dict[TopicPartition, int]:
    async with consuming(rig.broker) as consumer:
        ends: dict[TopicPartition, int] = await consumer.end_offsets([TopicPartition(name, 0) for name in CHANGELOGS])
        return ends


def cut_end(folder: Path, kept: float) -> None:
    """Keep this share of a partition's newest segment, as after a loss of power."""
    newest = max(folder.glob("*.log"))
    os.truncate(newest, int(newest.stat().st_size * kept))
    for pattern in REBUILT:
        for path in folder.glob(pattern):
            path.unlink()


async def policy_changed(rig: Rig) -> None:
    """Retention has begun to delete the changelogs: a restart with the disk, and then one without."""
    await rig.closes_beyond(rig.clock.now_s() + AGED_S)
    async with rig.fault():
        await _delete_beginnings(rig)
    await sigterm(rig)
    async with rig.fault():
        await rig.worker.kill(wipe=True)
    await rig.goes_on()


async def policy_changed_wiped(rig: Rig) -> None:
    """The same without the restart between: nobody has what was deleted."""
    await rig.closes_beyond(rig.clock.now_s() + AGED_S)
    await _without_disk(rig, _delete_beginnings)


async def _delete_beginnings(rig: Rig) -> None:
    """By another `cleanup.policy`, of all records so far."""
    rig.has_whole_changelogs = False
    policy = {"cleanup.policy": "delete"}
    async with client.started(client.admin(reached_at(rig.broker))) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, policy) for name in CHANGELOGS])
    await delete_records(rig.broker, dict.fromkeys(CHANGELOGS, WHOLE))
