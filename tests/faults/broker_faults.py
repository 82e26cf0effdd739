"""Faults of Kafka, and what only Kafka's administrator can do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import TopicPartition

from app.config.settings import Kafka
from app.contract import topics
from app.kafka import client
from app.kafka.admin import create_topics
from tests.consumers import consuming
from tests.faults import evidence
from tests.faults.brokers import delete_records
from tests.faults.rig import APP_ID, Rig
from tests.faults.traffic import LONGEST_S
from tests.faults.worker_faults import pause
from tests.patience import PATIENCE_S

FROZEN_S = 20.0  # longer than a session, a flush's patience and a request of the producer
SILENT_S = 12.0  # no process ends for it
REPEATED_RECORDS = 500


async def sigkill(rig: Rig) -> None:
    await pause(rig, 0.0, 1.5)
    async with rig.fault():
        await rig.brokers.kill()
        await pause(rig, 0.0, 8.0)
        await rig.brokers.start()
    await rig.goes_on()


async def frozen(rig: Rig) -> None:
    """It takes connections and answers nothing."""
    await pause(rig, 0.0, 1.5)
    async with rig.fault():
        rig.brokers.freeze()
        await asyncio.sleep(FROZEN_S)
        rig.brokers.thaw()
    await rig.goes_on()


async def silent(rig: Rig) -> None:
    """One of them answers late; no worker ends for it."""
    await pause(rig, 0.0, 1.5)
    before = [worker.exits.copy() for worker in rig.workers]
    number = rig.random.randrange(rig.brokers.count)
    async with rig.fault():
        rig.brokers.freeze(number)
        await asyncio.sleep(SILENT_S)
        rig.brokers.thaw(number)
    await rig.goes_on()
    await rig.closes_beyond(rig.clock.now_s() + LONGEST_S)
    for worker, exits in zip(rig.workers, before, strict=True):
        if ended := worker.exits - exits:
            rig.problems.append(f"a worker ended because a broker was silent for {SILENT_S:g} s: {dict(ended)}")


async def frozen_during_recovery(rig: Rig) -> None:
    """While a worker without a disk reads its changelogs."""
    async with rig.fault():
        await rig.worker.kill(wipe=True)
        await pause(rig, 2.0, 8.0)
        rig.brokers.freeze()
        await asyncio.sleep(FROZEN_S)
        rig.brokers.thaw()
    await rig.goes_on()


async def one_of_three_killed(rig: Rig) -> None:
    """The other two carry on; the worker goes on before it is back."""
    number = rig.random.randrange(rig.brokers.count)
    await pause(rig, 0.0, 1.5)
    async with rig.fault():
        await rig.brokers.kill(number)
    await rig.goes_on()
    await rig.brokers.start(number)
    await pause(rig, 5.0, 8.0)  # it catches up with the others
    await rig.goes_on()


async def all_killed(rig: Rig) -> None:
    await pause(rig, 0.0, 1.5)
    numbers = range(rig.brokers.count)
    async with rig.fault():
        await asyncio.gather(*(rig.brokers.kill(number) for number in numbers))
        await pause(rig, 5.0, 15.0)
        await asyncio.gather(*(rig.brokers.start(number) for number in numbers))
    await rig.goes_on()


async def recreated_topic(rig: Rig) -> None:
    """Deleted after everything in it was taken: offsets begin at 0 again, and every byte after that counts."""
    feed = rig.feed
    await feed.pause()
    before = await feed.settled()
    await rig.goes_on()
    async with rig.fault():
        await _recreate(rig, before)

    async def has_sent() -> bool:
        return feed.last_position > before + 1

    await rig.until(has_sent, PATIENCE_S)
    await rig.goes_on()


async def recreated_unread(rig: Rig) -> None:
    """Deleted while the worker was gone: what came meanwhile is lost, and nobody knows how much that was."""
    async with _none_late(rig), rig.fault():
        await rig.worker.stop()
        applied = evidence.disk_progress(rig.worker.data_dir, rig.feed.pop.name).applied
        await pause(rig, 5.0, 8.0)
        await rig.feed.pause()
        await rig.feed.settled()
        await _recreate(rig, applied)
        await pause(rig, 2.0, 4.0)
        await rig.worker.start()


@asynccontextmanager
async def _none_late(rig: Rig) -> AsyncIterator[None]:
    """No record is late until windows close again: what is late depends on markers, which are lost as well."""
    mix = rig.feed.traffic.mix
    late_share, mix.late_share = mix.late_share, 0.0
    await rig.goes_on()
    yield
    await rig.goes_on()
    await rig.closes_beyond(rig.clock.now_s())
    mix.late_share = late_share


async def _recreate(rig: Rig, included: int) -> None:
    """Delete the flow topic, of which the rows include so much, make it again, and let flows come."""
    feed, kafka = rig.feed, Kafka(broker=rig.broker, replication_factor=rig.brokers.count)
    async with client.started(client.admin(kafka)) as admin:
        await admin.delete_topics([feed.topic])
        while feed.topic in await admin.list_topics():
            await asyncio.sleep(0.2)
    await create_topics(kafka, {feed.topic: topics.FLOWS})
    await rig.renew_producer()
    feed.recreated(included)
    feed.resume()


async def unread_removed(rig: Rig) -> None:
    """Retention removes the first of the flows that came while the worker was gone; later twice before windows close.

    A purge whose end was removed holds windows back.
    """
    async with _none_late(rig):
        for _ in range(2 if rig.moments else 1):
            await _remove_unread(rig)


async def _remove_unread(rig: Rig) -> None:
    feed = rig.feed
    async with rig.fault():
        await rig.worker.stop()
        applied = evidence.disk_progress(rig.worker.data_dir, feed.pop.name).applied
        await pause(rig, 5.0, 8.0)
        newest = await feed.settled()
        removed = rig.random.randint((newest - applied) // 4, newest - applied)
        await delete_records(rig.broker, {feed.topic: applied + 1 + removed})
        await pause(rig, 2.0, 4.0)
        await rig.worker.start()
    await rig.goes_on()
    missing = await evidence.metric(rig.worker.port, f'autopilot_missing_records_total{{topic="{feed.topic}"}}')
    if missing != removed:
        rig.problems.append(f"retention removed {removed} unread messages, and the metric says {missing}")


async def deliveries_repeated(rig: Rig) -> None:
    """The group's commit goes back, as after an administrator's reset: Kafka delivers again what was applied."""
    async with rig.fault():
        await rig.worker.stop()
        await _commit_back(rig, TopicPartition(rig.feed.topic, 0))
        await rig.worker.start()
    await rig.goes_on()


async def _commit_back(rig: Rig, partition: TopicPartition) -> None:
    async with consuming(rig.broker, APP_ID) as consumer:
        consumer.assign([partition])
        committed = await consumer.committed(partition)
        await consumer.commit({partition: max(0, committed - REPEATED_RECORDS)})
