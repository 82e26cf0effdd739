"""BMP of a PoP without edges: neighbours that announce what a row says, and our routes as the gobgpds hold them.

It writes what pmbmpd would write. A router without its gobgpd reports the session with it as down.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from app.bgp.client import GobgpClient
from app.bgp.wire import BestPath
from app.config.inventory import Pop, Router, Session
from app.contract import topics
from app.errors import SpeakerError

TRY_AGAIN_S = 0.2
STATISTICS_S = 5.0  # the heartbeat of a BMP session
ORIGIN_AS = 65010
MED = 10

Record = dict[str, Any]


class Changes(msgspec.Struct):
    """How often our routes in a gobgpd came or changed, went, or were renewed: only their lease changed."""

    announced: int = 0
    withdrawn: int = 0
    renewed: int = 0


class Echo:
    """The BMP of one PoP. `held` are our routes in each router's gobgpd, None while it does not answer."""

    def __init__(self, pop: Pop, targets: Mapping[str, str], producer: AIOKafkaProducer) -> None:
        self.held: dict[str, dict[str, BestPath] | None] = dict.fromkeys(pop.routers)
        self.changes = {router: Changes() for router in pop.routers}
        self.seen: set[str] = set()  # prefixes that any gobgpd ever held
        self._producer = producer
        self._pop = pop
        self._targets = targets
        self._seq = 0

    async def begin(self, routes: Mapping[str, Sequence[str]]) -> None:
        """All routers and their neighbours come up; `routes` are the prefixes that each neighbour announces."""
        for router in self._pop.router:
            await self._send(router, [{"bmp_msg_type": "init", "bmp_init_info_sysname": router.bmp_sysname}])
        for router, session in self._sessions():
            await self._send(router, [_peer("peer_up", session.peer, session.asn)])
            await self.announce(session.peer, routes.get(session.peer, ()))

    async def announce(
        self, peer: str, prefixes: Iterable[str], as_path: Sequence[int] | None = None, med: int = MED
    ) -> None:
        """A neighbour announces these prefixes behind its own AS, or with this AS path."""
        [(router, session)] = [(router, session) for router, session in self._sessions() if session.peer == peer]
        path = as_path or (session.asn, ORIGIN_AS)
        hop = session.next_hops[0]
        await self._send(router, [_update(peer, prefix, hop, path, med) for prefix in prefixes])

    async def withdraw(self, peer: str, prefixes: Iterable[str]) -> None:
        """A neighbour takes these prefixes back."""
        [router] = [router for router, session in self._sessions() if session.peer == peer]
        await self._send(router, [_withdrawal(peer, prefix) for prefix in prefixes])

    async def run(self) -> None:
        """Show what the gobgpds hold, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            for router in self._pop.router:
                group.create_task(self._follow(router))

    async def _beat(self) -> None:
        while True:
            for router in self._pop.router:
                await self._send(router, [{"bmp_msg_type": "stats"}])
            await asyncio.sleep(STATISTICS_S)

    async def _follow(self, router: Router) -> None:
        """Every change in a router's gobgpd as it happens, and again from the start when it is back."""
        injector, asn, client = router.injector.address, self._pop.asn, GobgpClient(self._targets[router.name])
        try:
            while True:
                with suppress(SpeakerError):
                    await client.global_config()
                    held = self.held[router.name] = {}
                    await self._send(router, [_peer("peer_up", injector, asn)])
                    async for changed in client.watch_best():
                        records = [self._change(router, held, prefix, path) for prefix, path in changed.items()]
                        await self._send(router, records)
                if self.held[router.name] is not None:
                    self.held[router.name] = None
                    await self._send(router, [_peer("peer_down", injector, asn)])
                await asyncio.sleep(TRY_AGAIN_S)
        finally:
            await client.close()

    def _change(self, router: Router, held: dict[str, BestPath], prefix: str, path: BestPath | None) -> Record:
        """Take over one change, and return the record of it. One in which nothing differs renews a lease."""
        counts, injector, before = self.changes[router.name], router.injector.address, held.get(prefix)
        if path is None:
            counts.withdrawn += held.pop(prefix, None) is not None
            return _withdrawal(injector, prefix)
        held[prefix] = path
        self.seen.add(prefix)
        counts.renewed += path == before
        counts.announced += path != before
        update = _update(injector, prefix, path.next_hop, path.as_path, MED)
        return update | {"comms": " ".join(path.communities), "local_pref": path.local_pref}

    async def _send(self, router: Router, records: Iterable[Record]) -> None:
        port = 50000 + self._pop.router.index(router)
        session = {"event_type": "log", "bmp_router": "127.0.0.1", "bmp_router_port": port, "writer_id": "default/1"}
        topic = topics.BMP.for_pop(self._pop.name)
        for record in records:
            self._seq += 1
            await self._producer.send(topic, json.dumps(session | {"seq": self._seq} | record).encode())

    def _sessions(self) -> list[tuple[Router, Session]]:
        return [(self._pop.routers[link.router], session) for link in self._pop.link for session in link.sessions]


def _peer(kind: str, peer: str, asn: int) -> Record:
    return {"bmp_msg_type": kind, "peer_ip": peer, "peer_asn": asn}


def _route(peer: str, prefix: str) -> Record:
    of_table = {"bmp_msg_type": "route_monitor", "is_in": 1, "is_post": 1, "safi": 1}
    return of_table | {"peer_ip": peer, "ip_prefix": prefix}


def _withdrawal(peer: str, prefix: str) -> Record:
    return _route(peer, prefix) | {"log_type": "withdraw"}


def _update(peer: str, prefix: str, next_hop: str, as_path: Sequence[int], med: int) -> Record:
    path = {"bgp_nexthop": next_hop, "as_path": " ".join(map(str, as_path)), "origin": "i", "med": med}
    return _route(peer, prefix) | {"log_type": "update"} | path
