"""What the routers really hold: readers of a router's own table, whatever daemon it is. SpeakerError on any failure."""

import asyncio
from pathlib import Path
from typing import Final, Protocol, TypeVar

import msgspec

from app.bgp.client import GobgpClient
from app.bgp.wire import BestPath, changes
from app.errors import SpeakerError
from app.lab.pop import vty
from app.lab.pop.model import InstalledPath, RouterTable

T = TypeVar("T")
# Without `detail` there are no communities.
SHOW: Final = ("show bgp ipv4 unicast json detail", "show bgp ipv6 unicast json detail")
SUMMARY: Final = "show bgp summary json"


class RibReader(Protocol):
    """Reads one router."""

    async def best(self) -> RouterTable:
        """The router's best path for every prefix it has one for."""

    async def close(self) -> None: ...


class GobgpRib:
    """A router that is a gobgpd, told over gRPC at `target` (`unix:///path` or `host:port`) of every change."""

    def __init__(self, target: str) -> None:
        self._client = GobgpClient(target)
        self._table: dict[str, InstalledPath] = {}
        self._complete = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def best(self) -> RouterTable:
        """Another object after every change; the first call waits for the whole table."""
        following = self._following = self._following or asyncio.create_task(self._follow())
        waiting = asyncio.create_task(self._complete.wait())
        await asyncio.wait((waiting, following), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if following.done():
            following.result()
            raise SpeakerError(f"{self._client.target}: gobgpd ended its report of best paths; is it running?")
        return self._table

    async def _follow(self) -> None:
        async for paths in self._client.watch_best():
            told = changes(paths)
            kept = {prefix: path for prefix, path in self._table.items() if prefix not in told}
            self._table = kept | {prefix: _as_table_has_it(path) for prefix, path in told.items() if path}
            self._complete.set()

    async def close(self) -> None:
        if self._following:
            self._following.cancel()
            await asyncio.wait((self._following,))
        await self._client.close()


def _as_table_has_it(path: BestPath) -> InstalledPath:
    return InstalledPath(path.next_hop, path.communities, path.as_path, path.local_pref or 0)


class FrrRib:
    """A router that is FRR's bgpd, read over its vty socket; the whole table only when its version is a new one."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._versions: tuple[int, ...] = ()
        self._table: RouterTable = {}

    async def best(self) -> RouterTable:
        versions = parse_versions(await vty.ask(self._socket, SUMMARY))
        if versions != self._versions:
            families = [parse_frr(await vty.ask(self._socket, show)) for show in SHOW]
            self._table = {prefix: path for family in families for prefix, path in family.items()}
            self._versions = versions  # asked before the table: what changed in between is read again
        return self._table

    async def close(self) -> None:
        """Nothing is kept open."""


class _FrrFamily(msgspec.Struct, frozen=True, rename="camel"):
    """One address family; bgpd says nothing of one without neighbours."""

    table_version: int = 0


class _FrrAsPath(msgspec.Struct, frozen=True):
    string: str


class _FrrCommunity(msgspec.Struct, frozen=True):
    list: tuple[str, ...] = ()


class _FrrBest(msgspec.Struct, frozen=True):
    overall: bool = False


class _FrrNextHop(msgspec.Struct, frozen=True):
    ip: str
    used: bool = False


class _FrrPath(msgspec.Struct, frozen=True, rename="camel"):
    """One path; the first entry of a prefix is a heading and has none of these."""

    aspath: _FrrAsPath = _FrrAsPath("")
    loc_prf: int = 0
    bestpath: _FrrBest = _FrrBest()
    community: _FrrCommunity = _FrrCommunity()
    nexthops: tuple[_FrrNextHop, ...] = ()


class _FrrTable(msgspec.Struct, frozen=True):
    routes: dict[str, tuple[_FrrPath, ...]] = {}


_decoder = msgspec.json.Decoder(_FrrTable)
_summary_decoder = msgspec.json.Decoder(dict[str, _FrrFamily])


def parse_versions(answer: bytes) -> tuple[int, ...]:
    """The version of each family's table, of `show bgp summary json`; SpeakerError when it is none."""
    return tuple(family.table_version for family in _decode(_summary_decoder, answer).values())


def parse_frr(answer: bytes) -> RouterTable:
    """Best paths of `show bgp ... json detail`; SpeakerError when it is none."""
    routes = _decode(_decoder, answer).routes
    return {
        prefix: InstalledPath(path.nexthops[0].ip, path.community.list, _as_numbers(path.aspath.string), path.loc_prf)
        for prefix, paths in routes.items()
        for path in paths
        if path.bestpath.overall and path.nexthops
    }


def _decode(decoder: msgspec.json.Decoder[T], answer: bytes) -> T:
    try:
        return decoder.decode(answer)
    except msgspec.DecodeError as error:
        raise SpeakerError(f"bgpd's answer is not the JSON we know: {error}; it begins {answer[:80]!r}") from error


def _as_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split() if number.isdecimal())
