"""What a new pmbmpd writes first, in the order in which it sent it, or as when librdkafka sends a batch again."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from app.config.inventory import Pop
from tests.faults.traffic import PREFIXES, bmp_peer_up, bmp_session, bmp_update, bmp_withdraw, peers_of

COMES, GOES = "20.1.0.0/24", ("20.1.1.0/24", "20.1.2.0/24")  # nobody sends traffic there
FIRST = 40  # records of a session that may come in another order
FURTHEST = 20  # places from where it was sent
APART_S = 0.001


class Sent(NamedTuple):
    """A record of pmbmpd with the time at which it was made."""

    at_s: float
    message: dict[str, object]


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


def arrivals(sessions: list[list[Sent]], chance: random.Random, is_last: bool = True) -> Iterator[Sent]:
    """All sessions, the first records of each in another order, and the initiation message not at the beginning."""
    for sent in sessions:
        init, *others = sent[:FIRST]
        places = [place + chance.uniform(0, FURTHEST) for place in range(len(others))]
        shuffled = [others[place] for place in sorted(range(len(others)), key=places.__getitem__)]
        shuffled.insert(len(others) if is_last else chance.randint(1, FURTHEST), init)
        yield from (*shuffled, *sent[FIRST:])
