"""The counters state: readings by interface, and the loads of links made of them."""

import json
from pathlib import Path

import pytest
from faust.types import TP

from agents.counters import KEEP_S, CountersState
from app.stream.consumer import Record
from tables.interfaces import InterfaceTable
from tests.agents.outbox import Outbox
from tests.pops import demo_pop
from tests.tables.memory import memory_table, written

TOPIC = TP("sfacctd-counters-rhv1000", 0)
RAW = json.loads((Path(__file__).parents[1] / "data" / "pmacct" / "counters.json").read_text())
LINK = "rhv1000/r1/et-0/0/1"
KEY = "rhv1000|r1|101"


class Rig:
    """A CountersState over a table in memory."""

    def __init__(self) -> None:
        self.table = InterfaceTable(memory_table("interfaces"))
        self.restart()

    def restart(self) -> None:
        self.outbox = Outbox()
        self.state = CountersState({"rhv1000": demo_pop()}, self.table, self.outbox.publisher)
        self.state.load()

    def poll(self, offset: int, at_s: float, **changes: object) -> None:
        value = json.dumps(
            RAW
            | {"timestamp": f"{at_s:.6f}", "ifOutOctets": int(at_s * 10**9), "ifOutUcastPkts": int(at_s * 10**6)}
            | changes
        )
        self.state.apply(TOPIC, [Record(offset, at_s + 0.2, None, value.encode())])

    def flush(self) -> list[str]:
        self.state.write_rows()
        self.state.write_progress()
        return written(self.table.table)

    def carried_bps(self) -> float:
        rates = self.state.rates(demo_pop(), LINK, 10, 20)
        assert rates is not None
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


def test_what_does_not_parse_is_a_dead_letter_once() -> None:
    rig = Rig()
    rig.poll(0, 9.0, ifOutOctets=-1)
    rig.poll(0, 9.0, ifOutOctets=-1)
    assert len(rig.outbox.letters) == 1
    assert rig.state.progress["rhv1000"].dead_letters == 1
