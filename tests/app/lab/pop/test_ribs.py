"""Readers of routers' tables: FRR's answers and its socket; gobgpd's own are tested with the BGP client."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from app.errors import SpeakerError
from app.lab.pop.model import InstalledPath
from app.lab.pop.ribs import SHOW, SUMMARY, FrrRib, parse_frr

# As FRR 8.4.4 prints it, fields that we do not read taken out; the first entry of a prefix is a heading.
TABLE = b"""{"vrfId": 0, "localAS": 64512, "routes": {
 "8.8.8.0/24": [{"prefix": "8.8.8.0/24", "version": 9},
  {"aspath": {"string": "64606 64700 65001", "length": 3}, "origin": "IGP", "locPrf": 100, "valid": true,
   "nexthops": [{"ip": "198.51.100.6", "afi": "ipv4", "used": true}], "peer": {"peerId": "127.0.0.36"}},
  {"aspath": {"string": "64602 65001", "length": 2}, "origin": "IGP", "locPrf": 1000, "valid": true,
   "bestpath": {"overall": true, "selectionReason": "Local Pref"},
   "community": {"string": "64512:911 no-export", "list": ["64512:911", "noExport"]},
   "nexthops": [{"ip": "192.0.2.11", "afi": "ipv4", "used": true}], "peer": {"peerId": "127.0.0.22"}}],
 "198.18.0.0/16": [{"prefix": "198.18.0.0/16", "version": 1},
  {"aspath": {"string": "Local", "length": 0}, "origin": "IGP", "weight": 32768, "bestpath": {"overall": true},
   "nexthops": [{"ip": "0.0.0.0", "afi": "ipv4", "used": true}]}],
 "9.9.9.0/24": [{"prefix": "9.9.9.0/24", "version": 7},
  {"aspath": {"string": "64606 65002", "length": 2}, "locPrf": 100,
   "nexthops": [{"ip": "198.51.100.6", "afi": "ipv4"}]}]
}}"""


TABLE6 = b"""{"routes": {"2a00:10::/29": [{"prefix": "2a00:10::/29"},
  {"aspath": {"string": "64602 65001"}, "locPrf": 200, "bestpath": {"overall": true},
   "nexthops": [{"ip": "2001:db8:0:2::1", "afi": "ipv6", "scope": "global", "used": true}]}]}}"""


def test_only_the_best_path_of_a_prefix_is_read() -> None:
    assert parse_frr(TABLE) == {
        "8.8.8.0/24": InstalledPath("192.0.2.11", ("64512:911", "noExport"), (64602, 65001), 1000),
        "198.18.0.0/16": InstalledPath("0.0.0.0", (), (), 0),
    }


def test_an_empty_table_is_no_error_and_another_answer_is() -> None:
    assert parse_frr(b'{"vrfId": 0, "routes": {}}') == {}
    with pytest.raises(SpeakerError, match=r"not the expected JSON.*Unknown command"):
        parse_frr(b"% Unknown command")


@contextlib.asynccontextmanager
async def bgpd(path: Path, answers: Callable[[str], bytes], code: int = 0) -> AsyncIterator[list[bytes]]:
    """A vty socket that answers every command but `enable` so; yields the commands it got."""
    commands: list[bytes] = []
    served: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                commands.append((await reader.readuntil(b"\0"))[:-1])
                enabling = commands[-1] == b"enable"
                writer.write(
                    (b"" if enabling else answers(commands[-1].decode())) + b"\0\0\0" + bytes([0 if enabling else code])
                )
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield commands
        await asyncio.gather(*filter(None, served))


async def test_the_socket_is_asked_in_the_enable_node_and_for_a_table_only_when_it_is_a_new_one(tmp_path: Path) -> None:
    version = 8
    tables = dict(zip(SHOW, (TABLE, TABLE6), strict=True))

    def answer(command: str) -> bytes:
        return tables.get(command) or b'{"ipv4Unicast": {"tableVersion": %d}, "ipv6Unicast": {}}' % version

    async with bgpd(tmp_path / "bgpd.vty", answer) as commands:
        rib = FrrRib(tmp_path / "bgpd.vty")
        first = await rib.best()
        assert first == {**parse_frr(TABLE), **parse_frr(TABLE6)}
        assert await rib.best() is first
        version = 9
        assert await rib.best() is not first
    whole = [SUMMARY, *SHOW]
    assert [command.decode() for command in commands if command != b"enable"] == [*whole, SUMMARY, *whole]
    assert commands[::2] == [b"enable"] * 7


async def test_refused_and_absent_say_so(tmp_path: Path) -> None:
    rib = FrrRib(tmp_path / "bgpd.vty")
    with pytest.raises(SpeakerError, match="is the daemon running"):
        await rib.best()
    async with bgpd(tmp_path / "bgpd.vty", lambda _: b"% Unknown command", code=2):
        with pytest.raises(SpeakerError, match="refused with code 2: % Unknown command"):
            await rib.best()
