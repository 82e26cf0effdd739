"""Reads what other processes append to files: ExaBGP what a neighbour hears, `gobgp monitor` what a gobgpd holds."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from app.lab.daemons.machine import binary
from app.lab.daemons.runner import Program

AS_PATH, NEXT_HOP, MP_REACH = 2, 3, 14  # types of path attributes
UNICAST = 1


class Tail:
    """The lines of a file, each once and whole; none while there is no file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0

    def lines(self) -> list[str]:
        """The lines that were completed since the last call."""
        if not self._path.exists() or self._path.stat().st_size == self._read_bytes:
            return []
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read_bytes += len(whole) + len(newline)
        return whole.decode().split("\n") if newline else []


class Change(NamedTuple):
    """A route that a gobgpd has or, if `withdrawn`, no longer has."""

    prefix: str
    next_hop: str
    as_path: tuple[int, ...]
    neighbour: str  # who sent it; empty for a route that was added over gRPC
    withdrawn: bool


def monitor(name: str, grpc: str, *table: str) -> Program:
    """A program that prints every change of a table of the gobgpd at `grpc`, also what is there when it starts."""
    return Program(name=name, argv=(binary("gobgp"), "--target", grpc, "-j", "monitor", *table, "--current"))


def changes(lines: Iterable[str]) -> Iterator[Change]:
    """The changes in what `monitor` printed. Notes are left out: routes of a family that no session has."""
    for line in lines:
        for path in json.loads(line):
            attributes = {each["type"]: each for each in path["attrs"]}
            if attributes.get(MP_REACH, {}).get("safi", UNICAST) != UNICAST:
                continue
            hop = attributes.get(NEXT_HOP) or attributes.get(MP_REACH) or {}
            segments = attributes.get(AS_PATH, {}).get("as_paths", ())
            yield Change(
                prefix=path["nlri"]["prefix"],
                next_hop=hop.get("nexthop", ""),
                as_path=tuple(number for segment in segments for number in segment["asns"]),
                neighbour=path.get("neighbor-ip", ""),
                withdrawn=path.get("withdrawal", False),
            )


class Heard(NamedTuple):
    """An announcement that reached an eBGP neighbour."""

    neighbour: str
    prefix: str
    as_path: tuple[int, ...]
    communities: tuple[str, ...]
    large_communities: tuple[str, ...]


class Ear:
    """What a neighbour's ExaBGP wrote down. `ups` counts how often its session was established."""

    def __init__(self, neighbour: str, received: Path) -> None:
        self.neighbour = neighbour
        self.ups = 0
        self._tail = Tail(received)

    def listen(self) -> Iterator[Heard]:
        """The announcements since the last call."""
        for line in self._tail.lines():
            record = json.loads(line)
            self.ups += record["type"] == "state" and record["neighbor"]["state"] == "up"
            if record["type"] == "update":
                yield from self._announcements(record["neighbor"]["message"].get("update", {}))

    def _announcements(self, update: dict[str, Any]) -> Iterator[Heard]:
        attributes = update.get("attribute", {})
        communities = tuple(":".join(map(str, each)) for each in attributes.get("community", ()))
        large = tuple(":".join(map(str, each)) for each in attributes.get("large-community", ()))
        for by_next_hop in update.get("announce", {}).values():
            for routes in by_next_hop.values():
                for route in routes:
                    path = tuple(attributes.get("as-path", ()))
                    yield Heard(self.neighbour, route["nlri"], path, communities, large)
