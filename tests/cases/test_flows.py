"""Cases of flows: what the wire brings, who may speak, and what is believed."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

import msgspec
import pytest

from app.config.collectors import PMBMPD_LINES, SFACCTD_LINES, collector_files
from app.config.inventory import Link, Pop
from app.config.thresholds import Thresholds, WindowSettings
from app.feeds.accounting import Accounting, Closed
from app.feeds.rejected import Rejected
from app.te.evidence.trust import judge
from app.te.routing.lpm import PrefixTable
from app.te.traffic.observed import observe
from tests.app.te.world import natural_of, window
from tests.cases.wire import (
    Collector,
    Line,
    connect,
    pmbmpd,
    read_hex,
    send,
    sfacctd,
    sflow_lines,
    shipped_pmbmpd,
    shipped_sfacctd,
    until,
)
from tests.pops import demo_pop, router

DATA = Path(__file__).parent / "data"
LINK = "rhv1000/r1/et-0/0/1"
PREFIXES = [f"20.0.{third}.0/24" for third in (*range(10), 99)]
on_the_wire = [pytest.mark.services, pytest.mark.usefixtures("pmacct"), pytest.mark.asyncio]


class Counted:
    """Lines through the real accounting, in their order, at the time that they say."""

    def __init__(self, lines: Iterable[bytes], pop: Pop | None = None, prefixes: Sequence[str] = PREFIXES) -> None:
        table = PrefixTable.build(prefixes)
        self.account = Accounting(pop or demo_pop(), WindowSettings(), lambda: table)
        self.rejected: list[Rejected] = []
        lines = [line for line in lines if "sf_cnt_type" not in (parsed := json.loads(line)) and "seq" not in parsed]
        times_s = [str(json.loads(line).get("timestamp_arrival", 0)) for line in lines]
        now_s = max((float(at_s) for at_s in times_s if at_s.replace(".", "").isdecimal()), default=0.0) + 1
        for position, line in enumerate(lines):
            for _, outcome in self.account.ingest(position, [now_s], [line]):
                assert not isinstance(outcome, Closed)
                self.rejected.append(outcome)

    @property
    def prefixes(self) -> dict[str, int]:
        """Bytes by prefix."""
        pairs = [pair for sums in self.account.open.values() for pair in sums.demand]
        return {pair.prefix: pair.size_bytes for pair in pairs}

    def of(self, link: str) -> int:
        """Bytes with a route that left by this link."""
        return sum(sums.size_bytes for (_, name), sums in self.account.open.items() if name == link)

    @property
    def unroutable(self) -> int:
        return sum(sums.unroutable_bytes for sums in self.account.open.values())

    @property
    def unattributed(self) -> dict[str, int]:
        return self.account.progress.unattributed_bytes


def changed(link: str, ifindexes: tuple[int, ...], internal: tuple[int, ...] = (1,)) -> Pop:
    """The demo's PoP with other interfaces of one link, and of its router towards the inside."""
    pop = demo_pop()

    def of(one: Link) -> Link:
        return msgspec.structs.replace(one, ifindexes=ifindexes) if pop.link_id(one) == link else one

    name = pop.links[link].router
    routers = tuple(
        msgspec.structs.replace(each, internal_ifindexes=internal) if each.name == name else each for each in pop.router
    )
    return msgspec.structs.replace(pop, link=tuple(map(of, pop.link)), router=routers)


def payloads(name: str) -> list[bytes]:
    return list(read_hex(DATA / name / "input.hex").values())


LINES = [json.loads(line) for line in (DATA / "39-json-of-other-collectors/input.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", LINES, ids=lambda case: str(case["right"]))
def test_each_line_of_another_collector_has_its_place(case: dict[str, Any]) -> None:
    counted = Counted([json.dumps(case["line"]).encode()])
    right, _, key = case["right"].partition(" ")
    letters = [letter.reason for letter in counted.rejected]
    assert len(letters) == (right == "letter")
    assert all(key in reason for reason in letters)
    assert counted.of(LINK) == (1000 * 32768 if right == "counted" else 0)
    assert counted.unroutable == (1000 * 32768 if right == "unroutable" else 0)
    assert counted.unattributed == {}


class TestInterfaceIndexAbove2ToThe30:
    CASE = "40-interface-index-above-2-to-the-30"
    POP = changed(LINK, (1285816721,), (29001,))
    pytestmark = on_the_wire

    async def test_the_inventory_wins_over_format_bits(self) -> None:
        lines = await sflow_lines(payloads(self.CASE))
        assert Counted(lines, self.POP).of(LINK) == 1_500_000
        assert Counted(lines).unattributed == {"special-interface": 1_500_000}


# influxdata/telegraf issue 18876: the ifIndex of a Dell DNOS9. robcowart/elastiflow issue 39: an Arista that sends
# output 2147483648, "several interfaces, how many is not known". The last two: sFlow version 5, "if an interface is not
# known", and the device itself, which are words of the protocol whatever an inventory has.
@pytest.mark.parametrize(
    ("named", "sent", "counted"),
    [
        (1258293248, 1258293248, True),
        (1258293248, 1258293249, False),
        (0x80000001, 0x80000001, True),
        (101, 2147483648, False),
        (0, 0, False),
        (0x3FFFFFFF, 0x3FFFFFFF, False),
    ],
)
def test_an_index_with_top_bits_is_a_link_where_the_inventory_has_it(named: int, sent: int, counted: bool) -> None:
    line = {"event_type": "purge", "peer_ip_src": "192.0.2.1", "iface_in": 1, "iface_out": sent, "ip_dst": "20.0.0.9"}
    line |= {"sampling_rate": 1000, "timestamp_arrival": "1795246101.000000", "packets": 1, "bytes": 1500}
    outcome = Counted([json.dumps(line).encode()], changed(LINK, (named,)))
    assert outcome.of(LINK) == (1_500_000 if counted else 0)
    assert outcome.unattributed == ({} if counted else {"special-interface": 1_500_000})


@pytest.mark.parametrize("internal", [(0x40000005, 1), (0x80000001, 1)])
def test_so_has_an_input(internal: tuple[int, ...]) -> None:
    line = {"event_type": "purge", "peer_ip_src": "192.0.2.1", "iface_out": 101, "iface_in": internal[0]}
    line |= {"ip_dst": "20.0.0.9", "sampling_rate": 1000, "timestamp_arrival": "1795246101", "packets": 1, "bytes": 1}
    assert Counted([json.dumps(line).encode()], changed(LINK, (101,), internal)).of(LINK) == 1000


class TestWhatTheWireBrings:
    pytestmark = on_the_wire

    async def test_labels_and_headers_cut_short(self) -> None:
        lines = await sflow_lines(payloads("42-labels-and-headers-cut-short"))
        counted = Counted(lines, prefixes=[*PREFIXES, "0.0.0.0/0"])
        assert counted.prefixes == dict.fromkeys(["20.0.1.0/24", "20.0.3.0/24", "20.0.5.0/24"], 1_500_000)
        assert counted.unroutable == 4_500_000

    async def test_tunnels_tags_and_fragments(self) -> None:
        counted = Counted(await sflow_lines(payloads("43-tunnels-tags-and-fragments")))
        assert counted.prefixes == {f"20.0.{third}.0/24": 1_500_000 for third in range(8)}
        assert counted.of(LINK) == 12_000_000

    async def test_rates_and_special_interfaces(self) -> None:
        counted = Counted(await sflow_lines(payloads("44-rates-and-special-interfaces")))
        assert counted.of(LINK) == 9_000_000
        assert counted.unattributed == {
            "unknown-sampling-rate": 1500,
            "special-interface": 4_500_000,
            "unknown-router": 1_500_000,
        }

    async def test_samples_that_sfacctd_drops(self) -> None:
        counted = Counted(await sflow_lines(payloads("49-samples-that-sfacctd-drops")))
        assert (counted.rejected, counted.of(LINK), counted.unattributed) == ([], 0, {})


def test_a_link_without_its_flows_is_not_live() -> None:
    """49: counters of 60 Gb/s, and no sample of anything in the PoP."""
    pop = demo_pop()
    windows = {link: window(pop, link, 0, 60 if link == LINK else 0, {}) for link in pop.links}
    assert judge(observe([windows], natural_of(pop, {})), Thresholds(), 90.0)[LINK].feed == "gap"


def six_routers() -> Pop:
    routers = tuple(router(number, ibgp_address=f"127.0.0.{10 + number}") for number in range(1, 7))
    return msgspec.structs.replace(demo_pop(), router=routers, link=())


def with_lines(shipped: str, pop: Pop, folder: Path, lines: str) -> str:
    """The shipped configuration with what is rendered for this PoP."""
    files = collector_files(pop, PurePath(folder))
    for name, text in files.items():
        (folder / name).write_text(text)
    return shipped + files[lines]


def initiation(name: str) -> bytes:
    """A BMP initiation message (RFC 7854, 4.3) with sysDescr and sysName."""
    tlvs = b"".join(
        number.to_bytes(2) + len(text).to_bytes(2) + text for number, text in ((1, b"router"), (2, name.encode()))
    )
    return b"\x03" + (6 + len(tlvs)).to_bytes(4) + b"\x04" + tlvs


async def names_heard(collector: Collector, expected: set[str]) -> None:
    def heard() -> set[object]:
        return {json.loads(line).get("bmp_init_info_sysname") for line in collector.lines()} - {None}

    await until(lambda: heard() >= expected)
    assert heard() == expected


class TestMoreThanFourRouters:
    NAMES: list[str] = json.loads((DATA / "57-more-than-four-routers/input.json").read_text())["routers"]
    pytestmark = on_the_wire

    @pytest.mark.parametrize("rendered", [False, True])
    async def test_all_six_are_heard(self, rendered: bool, tmp_path: Path) -> None:
        def config(port: int) -> str:
            shipped = shipped_pmbmpd(port)
            return with_lines(shipped, six_routers(), tmp_path, PMBMPD_LINES) if rendered else shipped

        async with pmbmpd(config) as collector:
            sessions = [connect(collector.port, f"127.0.0.{11 + place}") for place in range(len(self.NAMES))]
            try:
                for session, name in zip(sessions, self.NAMES, strict=True):
                    session.sendall(initiation(name))
                await names_heard(collector, set(self.NAMES))
            finally:
                for session in sessions:
                    session.close()

    async def test_they_connect_again_while_their_last_sessions_hang(self, tmp_path: Path) -> None:
        """pmacct's CONFIG-KEYS: at the limit no session is established. A router that restarts leaves one behind."""
        async with pmbmpd(
            lambda port: with_lines(shipped_pmbmpd(port), six_routers(), tmp_path, PMBMPD_LINES)
        ) as collector:
            sessions = [connect(collector.port, f"127.0.0.{11 + place}") for place in (*range(6), *range(4))]
            try:
                for place, session in enumerate(sessions):
                    session.sendall(initiation(f"s{place}"))
                await names_heard(collector, {f"s{place}" for place in range(10)})
            finally:
                for session in sessions:
                    session.close()

    async def test_nobody_else_is(self, tmp_path: Path) -> None:
        """17 bytes from a stranger once took a router over: see RFC 7854, 11, on who may connect."""
        async with pmbmpd(
            lambda port: with_lines(shipped_pmbmpd(port), six_routers(), tmp_path, PMBMPD_LINES)
        ) as collector:
            with connect(collector.port, "127.0.0.99") as stranger, connect(collector.port, "127.0.0.11") as ours:
                stranger.sendall(initiation("r1"))
                await until(lambda: "peer '127.0.0.99" in collector.log())
                ours.sendall(initiation("edge"))
                await names_heard(collector, {"edge"})


class TestWhoMaySend:
    """sFlow has no authentication (sFlow version 5, 5): whoever reaches the port can speak for every agent."""

    pytestmark = on_the_wire

    @pytest.mark.parametrize(("sources", "accepted"), [((), "192.0.2.1"), (("127.0.0.7", "127.0.0.8"), "127.0.0.8")])
    async def test_only_the_addresses_of_the_inventory_are_heard(
        self, sources: tuple[str, ...], accepted: str, tmp_path: Path
    ) -> None:
        routers = tuple(msgspec.structs.replace(each, agent_sources=sources) for each in demo_pop().router)
        pop = msgspec.structs.replace(demo_pop(), router=routers)
        forged, usual = payloads("43-tunnels-tags-and-fragments")[:2]

        def config(port: int) -> str:
            text = with_lines(shipped_sfacctd(port), pop, tmp_path, SFACCTD_LINES)
            if not sources:  # the agents' own addresses, which are not of this machine
                path = tmp_path / "sfacctd_allow_file"
                assert accepted in path.read_text().splitlines()
                path.write_text(path.read_text().replace(f"\n{accepted}\n", "\n127.0.0.8\n"))
            return text

        async with sfacctd(config) as collector:

            def is_heard(lines: list[Line]) -> bool:
                send(collector.port, [forged], "127.0.0.99")
                send(collector.port, [usual], "127.0.0.8")
                return any("ip_dst" in line for line in lines)

            lines = await collector.lines_until(is_heard)
        assert {json.loads(line).get("ip_dst") for line in lines} - {None} == {"20.0.1.9"}
