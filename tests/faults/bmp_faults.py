"""Faults of pmbmpd: its first records come in another order than it sent them."""

from aiokafka import TopicPartition

from app.contract import topics
from app.lab.demo.state_client import StateClient
from tests.consumers import consuming
from tests.faults.pmbmpd import COMES, arrivals, collector
from tests.faults.rig import APP_ID, Rig
from tests.faults.traffic import PREFIXES, peers_of
from tests.faults.worker_faults import pause
from tests.patience import PATIENCE_S


async def reordered(rig: Rig, is_last: bool) -> None:
    """A new pmbmpd, whose initiation messages come last of the first records, or among them; every other time nobody
    reads meanwhile.
    """
    number, pop = len(rig.moments), rig.feed.pop
    ends = number % 2 == 1
    await pause(rig, 0.0, 1.5)
    async with rig.fault():
        if ends:
            await rig.worker.end()
        await rig.feed.announce(arrivals(collector(pop, number + 2, rig.clock.now_s()), rig.random, is_last))
        if ends:
            await rig.worker.start()
    await rig.until(lambda: _is_read(rig), PATIENCE_S)
    await rig.goes_on()
    found = await StateClient(rig.worker.port, pop.name).get("rib", dict[str, dict[str, int]])
    wanted = {
        router.name: {"prefixes": len({*PREFIXES, COMES}), "peers": len(peers_of(pop, router.name))}
        for router in pop.router
    }
    if found != wanted:
        rig.problems.append(f"the routes are {found}, not {wanted}")


async def _is_read(rig: Rig) -> bool:
    """Whether the group has committed all of the topic."""
    partition = TopicPartition(topics.BMP.for_pop(rig.feed.pop.name), 0)
    async with consuming(rig.broker, APP_ID) as consumer:
        consumer.assign([partition])
        ends = await consumer.end_offsets([partition])
        return bool(await consumer.committed(partition) == ends[partition])
