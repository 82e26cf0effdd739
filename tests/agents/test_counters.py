"""The counters state: readings by interface, and the loads of links made of them."""

import json
from math import inf
from pathlib import Path

import msgspec
import pytest
from faust.types import TP

from agents.counters import KEEP_S, NOTICES_MAX, SAMPLES_MAX, CountersState
from app.contract.schemas import Notice
from app.stream.consumer import Record
from app.te.evidence.counter_notices import renumbered
from app.te.traffic.lag import Rates
from app.te.traffic.windows import ClosedWindow
from tables.interfaces import OTHERS_MAX, InterfaceTable
from tables.store import goes_back
from tests.agents.outbox import Outbox
from tests.cases.ports import with_link
from tests.pops import demo_pop
from tests.tables.memory import memory_table, written

TOPIC = TP("sfacctd-counters-rhv1000", 0)
RAW = json.loads((Path(__file__).parents[1] / "data" / "pmacct" / "counters.json").read_text())
LINK = "rhv1000/r1/et-0/0/1"
KEY = "rhv1000|r1|101"


def window(start_s: float, end_s: float, closed_s: float = inf) -> ClosedWindow:
    return ClosedWindow("rhv1000", int(start_s), int(end_s - start_s), closed_s)


class Rig:
    """A CountersState over a table in memory."""

    def __init__(self, **changes: object) -> None:
        self.table = InterfaceTable(memory_table("interfaces"))
        self.pop = with_link(demo_pop(), LINK, **changes)
        self.offset = 0
        self.restart()

    def restart(self) -> None:
        self.outbox = Outbox()
        self.state = CountersState({"rhv1000": self.pop}, self.table, self.outbox.publisher)
        self.state.load()

    def poll(self, offset: int, at_s: float, **changes: object) -> None:
        value = json.dumps(
            RAW
            | {"timestamp": f"{at_s:.6f}", "ifOutOctets": int(at_s * 10**9), "ifOutUcastPkts": int(at_s * 10**6)}
            | changes
        )
        self.state.apply(TOPIC, [Record(offset, at_s + 0.2, None, value.encode())])

    def next(self, at_s: float, **changes: object) -> None:
        self.offset += 1
        self.poll(self.offset, at_s, **changes)

    def rates(self, start_s: float, end_s: float) -> Rates:
        rates = self.state.rates(self.pop, LINK, window(start_s, end_s))
        assert rates is not None
        return rates

    def kinds(self, now_s: float) -> list[str]:
        """The kinds of notices on the link, after its rates were asked for."""
        return [notice.kind for notice in self.state.notices(self.pop, now_s) if notice.where == LINK]

    def flush(self) -> list[str]:
        self.state.write_rows()
        self.state.write_progress()
        return written(self.table.table)

    def carried_bps(self) -> float:
        rates = self.state.rates(demo_pop(), LINK, window(10, 20))
        assert rates is not None
        assert rates.carried_bps is not None
        return rates.carried_bps


def test_loads_come_from_the_readings_and_survive_a_restart() -> None:
    rig = Rig()
    for offset, at_s in enumerate((9.0, 14.0, 21.0)):
        rig.poll(offset, at_s)
    assert rig.carried_bps() == pytest.approx(8e9)
    assert rig.flush() == [KEY, "rhv1000|progress"]
    rig.restart()
    assert rig.carried_bps() == pytest.approx(8e9)


def test_a_replay_changes_no_reading_and_writes_its_row_again() -> None:
    rig = Rig()
    rig.poll(0, 9.0)
    rig.poll(1, 21.0)
    rig.flush()
    rig.restart()
    rig.poll(0, 9.0)
    assert KEY in rig.flush()
    assert rig.carried_bps() == pytest.approx(8e9)
    assert rig.state.progress["rhv1000"].records == 2


def test_the_row_of_a_worker_that_was_frozen_goes_back() -> None:
    """Its record may land after that of its successor, whose progress says that the later readings are there."""
    rig, key = Rig(), KEY.encode()
    rig.poll(0, 9.0)
    rig.flush()
    frozen = rig.table.table.get(key)
    rig.restart()
    rig.poll(1, 21.0)
    rig.poll(0, 9.0)
    rig.flush()
    assert goes_back(rig.table.table.get(key), frozen)


def test_readings_are_kept_for_a_bounded_time() -> None:
    rig = Rig()
    for offset in range(300):
        rig.poll(offset, float(offset))
    rig.flush()
    row = rig.table.rows.get(KEY)
    assert row is not None
    assert len(row.samples) == KEEP_S + 1


def test_an_unknown_router_is_counted_and_kept_out() -> None:
    rig = Rig()
    rig.poll(0, 9.0, peer_ip_src="192.0.2.99")
    assert rig.state.progress["rhv1000"].ignored == {"unknown-router": 1}
    assert rig.flush() == ["rhv1000|progress"]


@pytest.mark.parametrize("ifindex", [0, 0x3FFFFFFF, 0x80000002, 999, 2**63])
def test_an_interface_that_is_no_link_makes_no_row(ifindex: int) -> None:
    rig = Rig()
    rig.poll(0, 9.0, ifIndex=ifindex)
    assert rig.state.progress["rhv1000"].ignored == {"unknown-interface": 1}
    assert rig.flush() == ["rhv1000|progress"]


def test_a_reading_from_the_future_does_not_stop_the_later_ones() -> None:
    rig = Rig()
    rig.poll(0, 9.0)
    rig.poll(1, 10.0, timestamp="1e300")
    rig.poll(2, 21.0)
    assert rig.state.progress["rhv1000"].ignored == {"clock-skew": 1}
    assert rig.carried_bps() == pytest.approx(8e9)


def test_one_reading_from_a_clock_that_is_ahead_does_not_silence_a_port() -> None:
    rig = Rig()
    for at_s in (0.0, 5.0, 3600.0, 10.0, 15.0):
        rig.next(at_s)
    assert rig.state.progress["rhv1000"].ignored == {"older": 2}
    rig.flush()
    rig.restart()
    for at_s in (20.0, 25.0):
        rig.next(at_s)
    assert rig.rates(15, 25).carried_bps == pytest.approx(8e9)
    assert rig.state.progress["rhv1000"].ignored == {"older": 2}


@pytest.mark.parametrize("seconds", [(5.0, 20.0, 7.0, 21.0, 8.0, 22.0, 9.0), (5.0, 20.0, 9.0, 8.0, 7.0)])
def test_readings_in_the_wrong_order_begin_nothing_anew(seconds: tuple[float, ...]) -> None:
    rig = Rig()
    for at_s in seconds:
        rig.next(at_s)
    assert rig.state.progress["rhv1000"].ignored == {"older": 3}
    assert rig.state.last_reading_s(rig.pop, LINK) == max(seconds)


@pytest.mark.parametrize("agent", ["::ffff:192.0.2.1", "::FFFF:C000:201"])
def test_an_agent_may_be_spelled_in_other_ways(agent: str) -> None:
    rig = Rig()
    rig.next(9.0, peer_ip_src=agent)
    rig.next(21.0, peer_ip_src="neither")
    assert rig.state.heard_s(rig.pop, inf) == {"r1": pytest.approx(9.2)}
    assert rig.state.progress["rhv1000"].ignored == {"unknown-router": 1}


def test_what_does_not_parse_is_a_dead_letter_once() -> None:
    rig = Rig()
    rig.poll(0, 9.0, ifOutOctets=-1)
    rig.poll(0, 9.0, ifOutOctets=-1)
    assert len(rig.outbox.letters) == 1
    assert rig.state.progress["rhv1000"].dead_letters == 1


def test_readings_are_bounded_in_number() -> None:
    rig = Rig()
    for index in range(2 * SAMPLES_MAX):
        rig.next(9.0 + index / 100)
    rig.flush()
    row = rig.table.rows.get(KEY)
    assert row is not None
    assert len(row.samples) == SAMPLES_MAX


def test_blocks_of_other_kinds_are_counted_and_no_dead_letters() -> None:
    rig = Rig()
    rig.next(9.0, sf_cnt_type="sflow_cnt_ethernet")
    rig.next(9.0, sf_cnt_type="sflow_cnt_lag_port_stats")
    assert rig.state.progress["rhv1000"].ignored == {"sflow_cnt_ethernet": 1, "other-block": 1}
    assert rig.outbox.letters == []


def test_a_window_knows_only_what_had_come_when_it_was_closed() -> None:
    """After a restart counters may be further than flows: what is decided then must be what was decided before."""
    rig = Rig()
    for at_s in range(0, 31, 5):
        rig.next(float(at_s))
    early = rig.state.rates(rig.pop, LINK, window(10, 20, closed_s=20.5))
    heard = rig.state.heard_s(rig.pop, 20.5)
    other = Rig()
    for at_s in range(0, 21, 5):
        other.next(float(at_s))
    assert early == other.state.rates(other.pop, LINK, window(10, 20, closed_s=20.5))
    assert heard == other.state.heard_s(other.pop, 20.5) == {"r1": pytest.approx(20.2)}


def test_who_was_heard_survives_a_restart() -> None:
    rig = Rig()
    rig.next(9.0)
    rig.next(11.0, ifIndex=999)
    rig.flush()
    rig.restart()
    assert rig.state.heard_s(rig.pop, inf) == {"r1": pytest.approx(11.2)}


def test_what_readings_have_proven_survives_a_restart() -> None:
    """The readings that proved it are gone by then."""
    rig = Rig(ifindexes=(101, 102), capacity_bps=200e9)
    for at_s in range(0, 31, 5):
        rig.next(float(at_s), ifIndex=101, ifSpeed=4_000_000_000, ifOutOctets=at_s * 10**9)
        rig.next(float(at_s), ifIndex=102, ifSpeed=200_000_000_000, ifType=161, ifOutOctets=at_s * 10**9)
    rig.flush()
    row = rig.table.rows.get(KEY)
    assert row is not None
    assert (row.refuted_bps, row.aggregate) == (4_000_000_000, False)
    rig.restart()
    for at_s in range(200, 231, 5):
        rig.next(float(at_s), ifIndex=101, ifSpeed=4_000_000_000, ifOutOctets=at_s * 10**8)
    assert rig.rates(210, 220).capacity_bps == 0


def test_a_link_whose_ifindex_changed_is_named_with_both() -> None:
    rig = Rig()
    for at_s in range(0, 31, 5):
        rig.next(float(at_s))
        rig.next(float(at_s), ifIndex=77)  # it was always there
    for at_s in range(45, 101, 5):
        rig.next(float(at_s), ifIndex=601)
        rig.next(float(at_s), ifIndex=77)
    assert not rig.rates(40, 50).renumbered, "not silent for long enough"
    assert rig.rates(80, 90).renumbered
    (notice,) = (one for one in rig.state.notices(rig.pop, 94.0) if one.kind == "interfaces-renumbered")
    assert "ifIndex 101" in notice.text
    assert "ifIndex 601" in notice.text
    rig.flush()
    rig.restart()
    assert rig.rates(80, 90).renumbered
    rig.next(101.0)
    rig.next(106.0)
    assert not rig.rates(96, 106).renumbered


def test_a_link_whose_ifindex_changed_is_named_beside_any_number_of_others() -> None:
    """Interfaces of subscribers come and go; those of another router take no room."""
    rig = Rig()
    for number in range(2 * OTHERS_MAX):
        rig.next(870.0 + number / 1000, ifIndex=10_000 + number)
        rig.next(870.0 + number / 1000, ifIndex=10_000 + number, peer_ip_src="192.0.2.2")
    for at_s in range(1000, 1031, 5):
        rig.next(float(at_s))
    for at_s in range(1045, 1101, 5):
        rig.next(float(at_s), ifIndex=601)
    assert rig.rates(1080, 1090).renumbered
    unlisted = rig.state.progress["rhv1000"].unlisted
    assert {router: len(others) for router, others in unlisted.items()} == {
        "r1": OTHERS_MAX // 2,
        "r2": OTHERS_MAX // 2,
    }


def test_interfaces_that_are_still_read_do_not_take_turns() -> None:
    """Else each of them would seem to be new whenever it comes back."""
    rig = Rig()
    for at_s in range(940, 1101, 20):
        for number in range(OTHERS_MAX):
            rig.next(at_s + number / 1000, ifIndex=10_000 + number)
    for at_s in range(940, 1031, 5):
        rig.next(float(at_s))
    assert not rig.rates(1080, 1090).renumbered


def test_an_interface_that_was_always_there_is_no_successor() -> None:
    rig = Rig()
    for at_s in range(0, 101, 5):
        rig.next(float(at_s), ifIndex=77)
        if at_s < 30:
            rig.next(float(at_s))
    assert not rig.rates(80, 90).renumbered
    assert rig.kinds(94.0) == ["counters-silent"]


def test_notices_say_what_is_wrong() -> None:
    rig = Rig()
    assert rig.kinds(0.0) == [], "no router was heard yet"
    rig.next(1.0, ifIndex=999)
    assert rig.kinds(2.0) == ["interface-silent"]
    for at_s in range(5, 41, 5):
        rig.next(float(at_s), ifStatus=0, ifSpeed=400_000_000_000)
    rig.rates(20, 30)
    assert rig.kinds(34.0) == ["status-contradicts", "capacity-below-ports"]
    (differs,) = (one for one in rig.state.notices(rig.pop, 34.0) if one.kind == "capacity-below-ports")
    assert "the live ports report 400 Gb/s (ifSpeed)" in differs.text


def test_a_link_without_a_capacity_is_named() -> None:
    rig = Rig(capacity_bps="auto")
    for at_s in range(5, 41, 5):
        rig.next(float(at_s), ifSpeed=0)
    assert rig.rates(20, 30).capacity_bps == 0
    assert rig.kinds(34.0) == ["capacity-unknown"]


def test_notices_are_bounded() -> None:
    rig = Rig()
    links = tuple(
        msgspec.structs.replace(rig.pop.link[0], name=f"x{index}", ifindexes=(1000 + index,)) for index in range(50)
    )
    rig.pop = msgspec.structs.replace(rig.pop, link=links)
    rig.restart()
    rig.next(1.0, ifIndex=999)
    assert len(rig.state.notices(rig.pop, 2.0)) == NOTICES_MAX


def test_a_notice_on_very_many_interfaces_can_be_read() -> None:
    """NX-OS has ifIndexes of nine digits, and a router that starts again may give all its ports new ones."""
    notice = renumbered("rhv1000/r1/et-0/0/1", Rig().pop.link[0], range(436_207_616, 436_207_616 + 500))
    assert "436207625 and 490 more appeared" in notice.text
    long = Notice("bmp-stranger", "r" * 5000, "\x00" * 5000)
    assert msgspec.json.decode(msgspec.json.encode(long), type=Notice) == long


def test_a_router_is_not_heard_for_longer_because_a_clock_was_ahead_once() -> None:
    rig = Rig()
    rig.next(1.0)
    heard_s = rig.state.progress["rhv1000"].heard["r1"]
    rig.next(86_400.0)
    rig.next(5.0)
    assert rig.state.progress["rhv1000"].heard["r1"] == heard_s + 4
