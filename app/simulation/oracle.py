"""Answers that the product's are held against: what BMP said up to an offset, what one clean pass counts."""

from collections.abc import Sequence
from typing import Any

import msgspec

from app.config.inventory import Pop
from app.config.thresholds import WindowSettings
from app.feeds.accounting import Accounting, Closed
from app.stream.consumer import Record
from app.te.routing.lpm import PrefixTable
from app.te.traffic.windows import Progress

DUMP_WITHIN_S = 10.0
EVERYWHERE = PrefixTable.build(["0.0.0.0/0", "::/0"])
PathKey = tuple[str, str, str, str]  # (router, prefix, peer, next hop)


class BmpHistory:
    """Which eBGP paths were alive after each record of the BMP topic, told from the records alone."""

    def __init__(self, pop: Pop) -> None:
        self._routers = {router.ibgp_address: router.name for router in pop.router}
        self._injectors = {router.injector.address for router in pop.router}
        self.alive: set[PathKey] = set()
        self._changes: dict[tuple[str, str, str], list[tuple[int, bool]]] = {}
        self._doubt: dict[str, tuple[float, set[PathKey]]] = {}

    def take(self, record: Record) -> None:
        said: dict[str, Any] = msgspec.json.decode(record.value)
        router, peer = self._routers[said["bmp_router"]], said.get("peer_ip", "")
        match said["bmp_msg_type"]:
            case "init":
                self._doubt[router] = record.timestamp_s, {path for path in self.alive if path[0] == router}
            case "peer_down":
                self._remove(record.offset, {path for path in self.alive if path[0] == router and path[2] == peer})
            case "route_monitor" if peer not in self._injectors:
                self._route(record.offset, router, peer, said)
        for router in [name for name, (at_s, _) in self._doubt.items() if record.timestamp_s > at_s + DUMP_WITHIN_S]:
            self._remove(record.offset, self._doubt.pop(router)[1])

    def was_alive(self, router: str, prefix: str, next_hop: str, offset: int) -> bool:
        """After the record of this offset."""
        changes = self._changes.get((router, prefix, next_hop), ())
        return next((alive for at, alive in reversed(changes) if at <= offset), False)

    def _route(self, offset: int, router: str, peer: str, said: dict[str, Any]) -> None:
        prefix = said["ip_prefix"]
        if said["log_type"] != "update":
            self._remove(offset, {path for path in self.alive if path[:3] == (router, prefix, peer)})
            return
        path = (router, prefix, peer, said["bgp_nexthop"])
        if router in self._doubt:
            self._doubt[router][1].discard(path)
        if path not in self.alive:
            self.alive.add(path)
            self._changes.setdefault((router, prefix, path[3]), []).append((offset, True))

    def _remove(self, offset: int, paths: set[PathKey]) -> None:
        for path in paths & self.alive:
            self.alive.discard(path)
            self._changes[path[0], path[1], path[3]].append((offset, False))


class CleanPass:
    """The flows of a log counted once, in order, by a process that never failed. Every destination has a route."""

    def __init__(self, pop: Pop, windows: WindowSettings, log: Sequence[Record]) -> None:
        account = Accounting(pop, windows, lambda: EVERYWHERE)
        self.windows: dict[tuple[int, str], int] = {}
        for record in log:
            for _, outcome in account.ingest(record.offset, [record.timestamp_s], [record.value]):
                if isinstance(outcome, Closed):
                    self.windows |= {(outcome.start_s, link): one.size_bytes for link, one in outcome.sums.items()}
        self.open = {slot: one.size_bytes for slot, one in account.open.items()}
        self.progress: Progress = account.progress
