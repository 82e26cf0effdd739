"""Readers of the routers' real tables, one per kind of daemon. Every failure is a SpeakerError."""

import asyncio
from pathlib import Path
from typing import Final, Protocol, TypeVar

import msgspec

from app.bgp.client import GobgpClient
from app.bgp.wire import BestPath
from app.errors import SpeakerError
from app.lab.pop import vty
from app.lab.pop.model import InstalledPath, RouterTable

T = TypeVar("T")
# Without `detail` there are no communities.
SHOW: Final = ("show bgp ipv4 unicast json detail", "show bgp ipv6 unicast json detail")
SUMMARY: Final = "show bgp summary json"


class RibReader(Protocol):
    """Reads the table of one router."""

    async def best(self) -> RouterTable:
        """The router's best path for every prefix that has one; SpeakerError if it cannot be read."""

    async def close(self) -> None:
        """Close the connections of the reader."""


class GobgpRib:
    """Reads a gobgpd: it streams every change over gRPC from `target` (`unix:///path` or `host:port`)."""

    def __init__(self, target: str) -> None:
        self._client = GobgpClient(target)
        self._table: dict[str, InstalledPath] = {}
        self._complete = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def best(self) -> RouterTable:
        """The best paths; a new object after every change. The first call waits for the whole table."""
        following = self._following = self._following or asyncio.create_task(self._follow())
        waiting = asyncio.create_task(self._complete.wait())
        await asyncio.wait((waiting, following), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if following.done():
            following.result()
            raise SpeakerError(f"{self._client.target}: gobgpd ended its stream of best paths; is it running?")
        return self._table

    async def _follow(self) -> None:
        async for changed in self._client.watch_best():
            unchanged = {prefix: path for prefix, path in self._table.items() if prefix not in changed}
            self._table = unchanged | {prefix: _installed(path) for prefix, path in changed.items() if path}
            self._complete.set()

    async def close(self) -> None:
        """Stop following the router and close the connection."""
        if self._following:
            self._following.cancel()
            await asyncio.wait((self._following,))
        await self._client.close()


def _installed(path: BestPath) -> InstalledPath:
    return InstalledPath(path.next_hop, path.communities, path.as_path, path.local_pref or 0)


class FrrRib:
    """Reads FRR's bgpd over its vty socket; the whole table only if its version has changed."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._versions: tuple[int, ...] = ()
        self._table: RouterTable = {}

    async def best(self) -> RouterTable:
        """The best paths; a new object after every change."""
        versions = parse_versions(await vty.ask(self._socket, SUMMARY))
        if versions != self._versions:
            families = [parse_frr(await vty.ask(self._socket, show)) for show in SHOW]
            self._table = {prefix: path for family in families for prefix, path in family.items()}
            self._versions = versions  # read before the table: a change in between is read again next time
        return self._table

    async def close(self) -> None:
        """Nothing to close: every command has its own connection."""


class _FrrFamily(msgspec.Struct, frozen=True, rename="camel"):
    """One address family in the summary; bgpd leaves out a family without neighbours."""

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
    """One path. The first entry of a prefix is a heading without any of these fields."""

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
    """The table version of each family in `show bgp summary json`; SpeakerError if the answer is something else."""
    return tuple(family.table_version for family in _decode(_summary_decoder, answer).values())


def parse_frr(answer: bytes) -> RouterTable:
    """The best paths in `show bgp ... json detail`; SpeakerError if the answer is something else."""
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
        raise SpeakerError(
            f"bgpd's answer is not the expected JSON: {error}; it begins with {answer[:80]!r}"
        ) from error


def _as_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split() if number.isdecimal())
