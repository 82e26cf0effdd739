"""Counter blocks of every kind through a real sfacctd: ours are taken, the others counted, and none is an error."""

import json
import struct
from collections.abc import Iterable

import pytest
from faust.types import TP

from agents.counters import CountersState
from app.lab.pop.sflow import COUNTERS_SAMPLE, GenericCounters, encode_counters, encode_datagram
from app.stream.consumer import Record
from tables.interfaces import InterfaceTable
from tests.agents.outbox import Outbox
from tests.cases.ports import DATA, T0, PortsRig, feed
from tests.cases.wire import read_hex, sflow_lines
from tests.pops import demo_pop
from tests.tables.memory import memory_table

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("pmacct")]

AGENT = "192.0.2.1"
EXPANDED_COUNTERS_SAMPLE = 4


class Taken:
    """The counters agent after it has read lines of sfacctd."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.outbox = Outbox()
        self.state = CountersState(
            {"rhv1000": demo_pop()}, InterfaceTable(memory_table("interfaces")), self.outbox.publisher
        )
        self.state.load()
        counters = [line for line in lines if "seq" in json.loads(line)]
        topic = TP("sfacctd-counters-rhv1000", 0)
        self.state.apply(topic, [Record(offset, 2e9, None, line) for offset, line in enumerate(counters)])
        self.progress = self.state.progress["rhv1000"]


def block(enterprise: int, kind: int, size: int) -> bytes:
    """A counter block of zeros."""
    return struct.pack("!II", enterprise << 12 | kind, size) + bytes(size)


def generic(ifindex: int, octets: int) -> bytes:
    """A block of generic interface counters."""
    sample = encode_counters(
        GenericCounters(
            sequence=1, ifindex=ifindex, speed_bps=10**11, in_octets=1, in_packets=1, out_octets=octets,
            out_packets=1, out_discards=0,
        )
    )  # fmt: skip
    return sample[20:]


def datagram(number: int, *blocks: bytes, expanded: bool = False) -> bytes:
    """A datagram of one counters sample of port 101, numbered `number`."""
    source = struct.pack("!II", 0, 101) if expanded else struct.pack("!I", 101)
    body = struct.pack("!I", number) + source + struct.pack("!I", len(blocks)) + b"".join(blocks)
    kind = EXPANDED_COUNTERS_SAMPLE if expanded else COUNTERS_SAMPLE
    return encode_datagram(AGENT, number, 1000 * number, [struct.pack("!II", kind, len(body)) + body])


async def test_counter_blocks_of_other_kinds_are_no_errors() -> None:
    payloads = read_hex(DATA / "41-counter-blocks-of-other-kinds" / "input.hex")
    taken = Taken(await sflow_lines(payloads.values()))
    assert taken.outbox.letters == []
    assert taken.progress.records == 1, "the generic one"
    assert taken.progress.ignored == {"log-event": 1, "unnamed-block": len(payloads)}


# What a sender adds: (enterprise, format, bytes) of each block, and where that was seen.
SENDERS = {
    "Dell, pmacct/pmacct issue 192: Ethernet counters before the generic ones": [(0, 2, 52)],
    "hsflowd, pmacct/pmacct issue 192: host counters": [(0, kind, 40) for kind in (2000, 2001, 2003, 2004, 2005, 2006)],
    "Open vSwitch: LACP, OpenFlow port and its name": [(0, 7, 56), (0, 1004, 20), (0, 1005, 8)],
    "Juniper QFX, robcowart/elastiflow issue 500: LAG port and queues": [(0, 7, 56), (2636, 1, 80)],
    "SONiC, robcowart/elastiflow issue 648: optics and LAG": [(0, 10, 68), (0, 7, 56)],
    "VLAN counters": [(0, 5, 28)],
}


@pytest.mark.parametrize("expanded", [False, True], ids=["compact", "expanded"])
async def test_senders_of_the_field(expanded: bool) -> None:
    """Every sender's blocks, then a generic one: each generic one is taken, with the number of its sample."""
    payloads = [
        datagram(number, *(block(*kind) for kind in kinds), generic(101, 1000 * number), expanded=expanded)
        for number, kinds in enumerate(SENDERS.values(), start=1)
    ]
    taken = Taken(await sflow_lines(payloads))
    assert taken.outbox.letters == []
    assert taken.progress.records == len(SENDERS)
    samples = taken.state._ports["rhv1000|r1|101"].samples
    assert [sample.sequence for sample in samples] == list(range(1, len(SENDERS) + 1))
    assert {(sample.source, sample.kind) for sample in samples} == {(101, 6)}


async def test_a_link_of_frames_that_sfacctd_drops_is_not_live() -> None:
    """Case 49: counters say 60 Gb/s, and no flow of the link is ever written."""
    lines = await sflow_lines(read_hex(DATA / "49-samples-that-sfacctd-drops" / "input.hex").values())
    written = [json.loads(line) for line in lines]
    rig = PortsRig({"windows": 5, "gbps": 60, "sampled": 0.0, "ports": [{"ifIndex": 101}]})
    flows = [line | {"timestamp_arrival": f"{T0 + 1}.000000"} for line in written if "ip_dst" in line]
    rig.purge(T0 + 2.0, flows)
    feed(rig)
    assert rig.outbox.letters == []
    seen = rig.seen()[-4:]
    assert {window.link.feed for window in seen} == {"gap"}
    assert [window.link.carried_bps for window in seen] == [pytest.approx(60e9)] * 4
