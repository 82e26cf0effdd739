"""Where reading goes on when the two progress rows of a PoP are not of the same flush."""

import msgspec
import pytest

from app.te.traffic.windows import ClosingRef, Progress, Sums
from tables.congestion import CongestionTable, progress_key
from tables.flow_progress import Agreed, Beside, FlowProgress, agree
from tables.link_windows import LinkWindowRow, key_of
from tests.tables.memory import memory_rows, memory_table

REF = ClosingRef(1, 7, 1)


def progress(applied: int, open_from_s: int, closing: ClosingRef | None = None) -> Progress:
    return Progress(applied=applied, closed_up_to_s=open_from_s, closing=closing)


@pytest.mark.parametrize("last", [progress(20, 120), progress(30, 130)], ids=["a flush was not ended", "all is there"])
def test_a_crash_between_the_rows_is_no_loss(last: Progress) -> None:
    assert agree(last, Beside(30, 60, progress(20, 120))) == Agreed(last)


def test_rows_of_windows_that_are_lost_are_made_again_without_another_decision() -> None:
    goes_on, lost, included, _ = agree(progress(50, 150, REF), Beside(30, 60, progress(20, 120)))
    assert (lost, included) == ("link_windows", 50)
    assert (goes_on.applied, goes_on.open_from_s, goes_on.decided_to_s) == (20, 120, 150)
    assert goes_on.closing == REF, "the last decision stands, and its records may have to be sent"


def test_decisions_that_are_lost_are_made_again_unless_they_were_published() -> None:
    """The newest flush may have ended before it published; the ones before it have published."""
    goes_on, lost, included, _ = agree(progress(10, 100), Beside(30, 60, progress(20, 120)))
    assert (lost, included) == ("congestion", 30)
    assert (goes_on.applied, goes_on.open_from_s, goes_on.decided_to_s) == (10, 100, 120)


def test_reading_does_not_go_back_to_windows_whose_rows_are_deleted() -> None:
    goes_on, lost, included, _ = agree(progress(10, 50), Beside(30, 60, progress(20, 120)))
    assert (lost, included) == ("congestion", 30)
    assert (goes_on.applied, goes_on.open_from_s, goes_on.decided_to_s) == (20, 120, 120)


def test_both_rows_know_the_newest_epoch() -> None:
    rig = Rig()
    written = FlowProgress(rig.windows, rig.congestion)
    written.load("p")
    written.write_beside("p", progress(20, 120), 60, epoch=1795246196)
    assert FlowProgress(rig.windows, rig.congestion).load("p").epoch == 1795246196


def test_what_was_decided_before_an_earlier_loss_stays_decided() -> None:
    before = msgspec.structs.replace(progress(20, 120), decided_to_s=200)
    assert agree(progress(50, 150), Beside(30, 60, before)).progress.decided_to_s == 200


class Rig:
    """Both tables, and what is stored in them."""

    def __init__(self) -> None:
        self.windows = memory_rows(LinkWindowRow)
        self.congestion = CongestionTable(memory_table("congestion"))

    def loaded(self) -> Progress:
        return FlowProgress(self.windows, self.congestion).load("p").progress


def test_the_first_start_begins_at_the_beginning() -> None:
    assert Rig().loaded() == Progress()


def test_rows_of_an_earlier_version_are_believed() -> None:
    rig = Rig()
    rig.windows.put(key_of("p", 100, "p/r/1"), LinkWindowRow(Sums()))
    rig.congestion.progress.put(progress_key("p"), progress(20, 120))
    assert rig.loaded() == progress(20, 120)


def test_a_first_flush_of_which_the_end_is_lost_is_no_earlier_version() -> None:
    rig = Rig()
    FlowProgress(rig.windows, rig.congestion).write_last("p", progress(20, 120))
    rig.windows.put(key_of("p", 100, "p/r/1"), LinkWindowRow(Sums()))  # and others, which are gone
    assert (rig.loaded().applied, rig.loaded().decided_to_s) == (-1, 120)


def test_without_any_row_of_windows_all_are_made_again() -> None:
    rig = Rig()
    rig.congestion.progress.put(progress_key("p"), progress(20, 120))
    assert (rig.loaded().applied, rig.loaded().decided_to_s) == (-1, 120)
