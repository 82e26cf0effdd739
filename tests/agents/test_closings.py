"""What windows made is in the rows before it is sent, and is sent again as it was."""

import pytest

from app.te.cycle_state import CycleState
from tables.congestion import Closing, CongestionTable, CycleRow
from tests.agents.test_flows import Made, Rig
from tests.app.feeds.test_accounting import T0, flow, purge
from tests.tables.memory import memory_table


@pytest.mark.parametrize("sent", [True, False])
async def test_what_a_window_made_is_sent_again_as_it_was(sent: bool) -> None:
    """The process is gone after the progress row, before or after it has sent; only a later row says which."""
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1)), *purge(T0 + 14)])
    rig.flush()
    made = await rig.sent() if sent else [Made(T0, 0)]
    rig.restart()
    assert (rig.closings.closed, rig.closings.cycle.seq) == ([], 1)
    assert await rig.sent() == made == [Made(T0, 0)]
    assert await rig.sent() == []


async def test_what_was_not_sent_is_in_the_next_closing_too() -> None:
    """Seen after an outage: the first flush closes windows at once, and is killed before it has sent."""
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1)), *purge(T0 + 14)])
    rig.flush()
    for first in (3, 6):
        rig.restart()
        start_s = T0 + 10 * (first // 3)
        rig.feed([(start_s + 2.0, flow(start_s + 1)), *purge(start_s + 14)], first)
        rig.flush()
    assert [made.start_s for made in await rig.sent()] == [T0, T0 + 10, T0 + 20]


async def test_what_was_sent_is_not_sent_again_once_the_rows_say_so() -> None:
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1)), *purge(T0 + 14)])
    rig.flush()
    await rig.sent()
    rig.feed([(T0 + 15.0, flow(T0 + 12))], first=3)
    rig.flush()
    rig.restart()
    assert await rig.sent() == []
    assert rig.closings.cycle.seq == 1, "the state is there all the same"


async def test_a_crash_before_the_progress_row_takes_the_window_back() -> None:
    """Nothing of it was sent, so it may become another one, and what the first one wrote goes."""
    rig = Rig()
    rig.feed([(T0 + 2.0, flow(T0 + 1)), *purge(T0 + 14)])
    rig.state.write_rows()
    rig.restart()
    assert await rig.sent() == []
    rig.closings.cycle = CycleRow(2, 0, CycleState())
    rig.feed([(T0 + 2.0, flow(T0 + 1)), *purge(T0 + 14)])
    rig.flush()
    assert await rig.sent() == [Made(T0, 1)]
    assert rig.congestion.closings("rhv1000") == ["rhv1000|closing|2|1|0"]


async def test_no_more_than_two_closings_are_kept() -> None:
    rig = Rig()
    for number in range(5):
        rig.feed([(T0 + 10.0 * number + 2.0, flow(T0 + 10 * number + 1)), *purge(T0 + 10 * number + 14)], 3 * number)
        rig.flush()
        await rig.sent()
    assert len(rig.congestion.closings("rhv1000")) == 2


def test_a_closing_may_be_larger_than_a_row() -> None:
    table = CongestionTable(memory_table("congestion"))
    closing = Closing(CycleRow(3, 7, CycleState()), [("decisions-p", "p", b"a" * 1_000_000)])
    ref = table.put_closing("p", closing)
    assert (ref.parts, table.closing("p", ref)) == (3, closing)
    table.delete_part(table.closings("p")[1])
    assert table.closing("p", ref) is None, "the changelog lost a part"
