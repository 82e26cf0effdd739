"""Faults of pmbmpd: its first records come in another order than it sent them, as when librdkafka repeats a batch."""

import json
import random
from collections.abc import Iterator
from typing import NamedTuple

from aiokafka import TopicPartition

from app.config.inventory import Pop
from app.contract import topics
from app.lab.demo.state_client import StateClient
from tests.consumers import consuming
from tests.faults.rig import APP_ID, Rig
from tests.faults.traffic import (
    PREFIXES,
    bmp_peer_up,
    bmp_session,
    bmp_update,
    bmp_withdraw,
    peers_of,
)
from tests.faults.worker_faults import pause
from tests.patience import PATIENCE_S

COMES, GOES = "20.1.0.0/24", ("20.1.1.0/24", "20.1.2.0/24")  # nobody sends traffic there
FIRST = 40  # records of a session that may come in another order
FURTHEST = 20  # places from where it was sent
APART_S = 0.001


class Sent(NamedTuple):
    """A record of pmbmpd with the time at which it was made."""

    at_s: float
    message: dict[str, object]


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
        sent = collector(pop, number + 2, rig.clock.now_s())
        for at_s, message in arrivals(sent, rig.random, is_last):
            await rig.feed.producer.send(
                topics.BMP.for_pop(pop.name), json.dumps(message).encode(), timestamp_ms=round(at_s * 1000)
            )
        await rig.feed.producer.flush()
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


def collector(pop: Pop, number: int, began_s: float) -> list[list[Sent]]:
    """What the pmbmpd of this number sends first, by session. Its counter goes on from one session to the next."""
    sessions, seq = [], 0
    for index, router in enumerate(pop.router):
        log = bmp_session(50000 + 10 * number + index, f"default/{number}")
        sent = []
        for message in _table(pop, router.name, router.bmp_sysname):
            seq += 1
            sent.append(Sent(began_s + seq * APART_S, log | message | {"seq": seq}))
        sessions.append(sent)
    return sessions


def _table(pop: Pop, router: str, sysname: str) -> Iterator[dict[str, object]]:
    """A router's messages: for some prefixes the order of two decides what is there in the end."""
    peers = peers_of(pop, router)
    yield {"bmp_msg_type": "init", "bmp_init_info_sysname": sysname}
    yield from (bmp_peer_up(peer) for peer in peers)
    for peer in peers:
        yield from (bmp_withdraw(peer, COMES), bmp_update(peer, COMES))
        for prefix in GOES:
            yield from (bmp_update(peer, prefix), bmp_withdraw(peer, prefix))
    for peer in peers:
        yield from (bmp_update(peer, prefix) for prefix in PREFIXES)


def arrivals(sessions: list[list[Sent]], chance: random.Random, is_last: bool) -> Iterator[Sent]:
    """All sessions, the first records of each in another order, and the initiation message not at the beginning."""
    for sent in sessions:
        init, *others = sent[:FIRST]
        places = [place + chance.uniform(0, FURTHEST) for place in range(len(others))]
        shuffled = [others[place] for place in sorted(range(len(others)), key=places.__getitem__)]
        shuffled.insert(len(others) if is_last else chance.randint(1, FURTHEST), init)
        yield from (*shuffled, *sent[FIRST:])


async def _is_read(rig: Rig) -> bool:
    """Whether the group has committed all of the topic."""
    partition = TopicPartition(topics.BMP.for_pop(rig.feed.pop.name), 0)
    async with consuming(rig.broker, APP_ID) as consumer:
        consumer.assign([partition])
        ends = await consumer.end_offsets([partition])
        return bool(await consumer.committed(partition) == ends[partition])
