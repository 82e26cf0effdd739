"""What the routers really hold: readers of a router's own table, whatever daemon it is. SpeakerError on any failure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec

from app.bgp.client import GobgpClient, best_paths
from app.errors import SpeakerError
from app.sim import vty
from app.sim.model import BestPath, RouterTable

SHOW: Final = "show bgp ipv4 unicast json detail"  # without `detail` there are no communities


class RibReader(Protocol):
    """Reads one router."""

    async def best(self) -> RouterTable:
        """The router's best path for every prefix it has one for."""

    async def close(self) -> None: ...


class GobgpRib:
    """A router that is a gobgpd, read over gRPC at `target` (`unix:///path` or `host:port`)."""

    def __init__(self, target: str) -> None:
        self._client = GobgpClient(target)

    async def best(self) -> RouterTable:
        return {
            prefix: BestPath(path.next_hop, path.communities, path.as_path, path.local_pref or 0)
            for prefix, path in (await best_paths(self._client)).items()
        }

    async def close(self) -> None:
        await self._client.close()


class FrrRib:
    """A router that is FRR's bgpd, read over its vty socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def best(self) -> RouterTable:
        return parse_frr(await vty.ask(self._socket, SHOW))

    async def close(self) -> None:
        """Nothing is kept open."""


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


def parse_frr(answer: bytes) -> RouterTable:
    """Best paths of `show bgp ... json detail`; SpeakerError when it is none."""
    try:
        routes: Mapping[str, tuple[_FrrPath, ...]] = _decoder.decode(answer).routes
    except msgspec.DecodeError as error:
        raise SpeakerError(f"bgpd's answer is not the JSON we know: {error}; it begins {answer[:80]!r}") from error
    return {
        prefix: BestPath(path.nexthops[0].ip, path.community.list, _as_numbers(path.aspath.string), path.loc_prf)
        for prefix, paths in routes.items()
        for path in paths
        if path.bestpath.overall and path.nexthops
    }


def _as_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split() if number.isdecimal())
