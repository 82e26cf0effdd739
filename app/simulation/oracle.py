"""Reference answers to check the product's against: what BMP reported up to an offset, what one clean pass counts."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from app.config.inventory import Pop
from app.config.thresholds import WindowSettings
from app.feeds.accounting import Accounting, Closed
from app.feeds.bmp_sessions import FIRST_WITHIN_SILENCES
from app.simulation.network import SILENCE_S
from app.stream.consumer import Record
from app.te.routing.lpm import PrefixTable
from app.te.traffic.grid import Grid, Turn
from app.te.traffic.premises import FlowInventory, Premises, WindowTiming
from app.te.traffic.windows import Progress

REMOVED_AFTER_S = FIRST_WITHIN_SILENCES * SILENCE_S  # from a session's beginning: so long its first record may take
EVERYWHERE = PrefixTable.build(["0.0.0.0/0", "::/0"])
PathKey = tuple[str, str, str, str]  # (router, prefix, peer, next hop)


class BmpHistory:
    """Which eBGP paths were alive after each record of the BMP topic, derived from the records alone."""

    def __init__(self, pop: Pop) -> None:
        self._routers = {router.ibgp_address: router.name for router in pop.router}
        self._injectors = {router.injector.address for router in pop.router}
        self.alive: set[PathKey] = set()
        self._changes: dict[tuple[str, str, str], list[tuple[int, bool]]] = {}
        self._stale: dict[str, tuple[float, set[PathKey]]] = {}  # by router, since when and which paths

    def take(self, record: Record) -> None:
        """Take in the next record of the BMP topic."""
        message: dict[str, Any] = msgspec.json.decode(record.value)
        router, peer = self._routers[message["bmp_router"]], message.get("peer_ip", "")
        match message.get("bmp_msg_type"):
            case "init":
                self._stale[router] = record.timestamp_s, {path for path in self.alive if path[0] == router}
            case "peer_down":
                self._remove(record.offset, {path for path in self.alive if path[0] == router and path[2] == peer})
            case "route_monitor" if peer not in self._injectors:
                self._route(record.offset, router, peer, message)
        for router in [name for name, (at_s, _) in self._stale.items() if record.timestamp_s > at_s + REMOVED_AFTER_S]:
            self._remove(record.offset, self._stale.pop(router)[1])

    def was_alive(self, router: str, prefix: str, next_hop: str, offset: int) -> bool:
        """Whether this path was alive after the record at `offset`."""
        changes = self._changes.get((router, prefix, next_hop), ())
        return next((alive for at, alive in reversed(changes) if at <= offset), False)

    def _route(self, offset: int, router: str, peer: str, message: dict[str, Any]) -> None:
        prefix = message["ip_prefix"]
        if message["log_type"] != "update":
            self._remove(offset, {path for path in self.alive if path[:3] == (router, prefix, peer)})
            return
        path = (router, prefix, peer, message["bgp_nexthop"])
        if router in self._stale:
            self._stale[router][1].discard(path)
        if path not in self.alive:
            self.alive.add(path)
            self._changes.setdefault((router, prefix, path[3]), []).append((offset, True))

    def _remove(self, offset: int, paths: set[PathKey]) -> None:
        for path in paths & self.alive:
            self.alive.discard(path)
            self._changes[path[0], path[1], path[3]].append((offset, False))


def grid_of(lengths: Mapping[int, int]) -> Grid:
    """The grid of windows that follow each other, from the length of each by its start, both in seconds."""
    starts_s = sorted(lengths)
    turns = [
        Turn(start_s, lengths[start_s])
        for before_s, start_s in pairwise(starts_s)
        if lengths[start_s] != lengths[before_s]
    ]
    return Grid(lengths[starts_s[0]] if starts_s else 1, tuple(turns))


class CleanPass:
    """The flows of a log counted once, in order, by a process that never fails. Every destination has a route.

    The windows are those of `grid`, which says all changes of their length from the beginning.
    """

    def __init__(self, pop: Pop, windows: WindowSettings, grid: Grid, log: Sequence[Record]) -> None:
        account = Accounting(pop, msgspec.structs.replace(windows, length_s=grid.final_s), lambda: EVERYWHERE)
        timing = WindowTiming(grid, windows.grace_s, windows.refresh_s)
        account.resume(Progress(), {}, [Premises(-1, timing, FlowInventory.of(pop))])
        self.windows: dict[tuple[int, str], int] = {}
        for record in log:
            for _, outcome in account.ingest(record.offset, [record.timestamp_s], [record.value]):
                if isinstance(outcome, Closed):
                    self.windows |= {(outcome.start_s, link): sums.size_bytes for link, sums in outcome.sums.items()}
        self.open = {slot: sums.size_bytes for slot, sums in account.open.items()}
        self.progress: Progress = account.progress
