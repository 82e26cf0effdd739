"""Standing still and legal silence, told apart."""

import msgspec
import pytest

from app.stream.joined import Awaiting
from app.stream.stall import GroupStatus, StallDetector, WorkerStatus

PATIENCE_S = 60.0
RUNNING = WorkerStatus(at_s=0.0, waiting=False, recovering=False, stopping=False, step=(1,), owned=frozenset({"flows"}))


def broker(end: int, committed: int | None = 0, begin: int = 0) -> GroupStatus:
    commits = {} if committed is None else {"flows": committed}
    return GroupStatus(begins={"flows": begin}, ends={"flows": end}, committed=commits)


def reason_after(looks: list[tuple[WorkerStatus | None, GroupStatus | None]], every_s: float = 10.0) -> str | None:
    """What a look every 10 s ends with; the loop beats unless `at_s` is 0 from first to last."""
    judge, reason = StallDetector(PATIENCE_S), None
    for index, (worker_status, group_status) in enumerate(looks):
        reason = reason or judge.look(index * every_s, worker_status, group_status)
    return reason


def beating(worker_status: WorkerStatus, looks: int) -> list[WorkerStatus]:
    return [msgspec.structs.replace(worker_status, at_s=index + 1.0) for index in range(looks)]


def test_f03_f07_records_wait_and_none_is_committed() -> None:
    """Commits stopped at a gap, or the fetcher died: the end of the input is the broker's word, not the process's."""
    looks = [
        (worker_status, broker(end=100 + index, committed=50))
        for index, worker_status in enumerate(beating(RUNNING, 8))
    ]
    assert reason_after(list(looks)) == "flows: waiting records have not been committed for 70 s"
    assert reason_after(list(looks[:7])) is None


def test_others_that_wait_for_a_long_backlog_are_no_stall_while_it_is_read() -> None:
    looks: list[tuple[WorkerStatus | None, GroupStatus | None]] = [
        (
            msgspec.structs.replace(worker_status, joined={"flows": Awaiting(50, min(index, 7))}),
            broker(end=100, committed=50),
        )
        for index, worker_status in enumerate(beating(RUNNING, 15))
    ]
    assert reason_after(looks[:14]) is None
    assert reason_after(looks) == "flows: waiting records have not been committed for 70 s"


def test_what_is_read_beside_commits_that_stand_still_is_no_progress() -> None:
    looks = [
        (
            msgspec.structs.replace(worker_status, joined={"flows": Awaiting(51 + index, index)}),
            broker(end=100, committed=50),
        )
        for index, worker_status in enumerate(beating(RUNNING, 8))
    ]
    assert reason_after(list(looks)) == "flows: waiting records have not been committed for 70 s"


def test_a_standby_waits_while_the_worker_beside_it_reads_another_input_first() -> None:
    standby = msgspec.structs.replace(RUNNING, owned=frozenset())
    others = [
        GroupStatus({"bmp": 0, "flows": 0}, {"bmp": 900, "flows": 100}, {"bmp": index, "flows": 50})
        for index in range(60)
    ]
    assert reason_after(list(zip(beating(standby, 60), others, strict=True))) is None


def test_f07_nothing_was_ever_committed() -> None:
    looks = [(worker_status, broker(end=100, committed=None)) for worker_status in beating(RUNNING, 8)]
    assert reason_after(list(looks)) == "flows: waiting records have not been committed for 70 s"


def test_slow_is_not_still() -> None:
    looks = [
        (worker_status, broker(end=1000, committed=index)) for index, worker_status in enumerate(beating(RUNNING, 60))
    ]
    assert reason_after(list(looks)) is None


@pytest.mark.parametrize(
    "silence",
    [
        broker(end=50, committed=50),
        broker(end=50, committed=None, begin=50),  # retention took all before anything was committed
        broker(end=50, committed=10, begin=50),
        None,  # no broker answers
    ],
)
def test_legal_silence(silence: GroupStatus | None) -> None:
    assert reason_after([(worker_status, silence) for worker_status in beating(RUNNING, 60)]) is None


def test_a_standby_waits_for_the_worker_beside_it_to_get_on_or_to_end() -> None:
    standby = msgspec.structs.replace(RUNNING, owned=frozenset())
    others = [broker(end=1000, committed=index // 10) for index in range(60)]
    assert reason_after(list(zip(beating(standby, 60), others, strict=True))) is None


def test_an_input_that_was_recreated_and_that_nobody_reads_is_a_standstill() -> None:
    """Faust drops it from the assignment, and its commits are gone with it."""
    orphan = msgspec.structs.replace(RUNNING, owned=frozenset())
    looks = [(worker_status, broker(end=100, committed=None)) for worker_status in beating(orphan, 14)]
    assert reason_after(list(looks[:13])) is None, "twice the patience"
    assert reason_after(list(looks)) == "flows: nobody in the group has committed waiting records for 130 s"


def test_patience_begins_anew_when_the_broker_is_back() -> None:
    away = [(worker_status, None) for worker_status in beating(RUNNING, 30)]
    back = [(worker_status, broker(end=100, committed=50)) for worker_status in beating(RUNNING, 60)[30:37]]
    assert reason_after([*away, *back]) is None
    back.append((msgspec.structs.replace(RUNNING, at_s=99.0), broker(end=100, committed=50)))
    assert reason_after([*away, *back]) is not None


RECOVERING = msgspec.structs.replace(RUNNING, recovering=True)


def test_f01_f22_recovery_without_progress() -> None:
    """It ended without a word, or a rebalance never does: seen from outside of Faust's own timers."""
    looks = [(worker_status, broker(end=100)) for worker_status in beating(RECOVERING, 8)]
    assert reason_after(list(looks)) == "recovery has made no progress for 70 s"


def test_a_long_recovery_is_not_a_standstill() -> None:
    looks = [
        (msgspec.structs.replace(worker_status, step=(index,)), broker(end=100))
        for index, worker_status in enumerate(beating(RECOVERING, 60))
    ]
    assert reason_after(list(looks)) is None


def test_who_waits_for_its_inputs_needs_only_an_event_loop() -> None:
    waiting = msgspec.structs.replace(RECOVERING, waiting=True)
    assert reason_after([(worker_status, broker(end=100)) for worker_status in beating(waiting, 60)]) is None
    assert reason_after([(waiting, broker(end=100))] * 8) == "the event loop has stood still for 70 s"


def test_f06_a_crash_that_does_not_end_the_process() -> None:
    crashed = msgspec.structs.replace(RUNNING, stopping=True)
    reason = reason_after([(worker_status, None) for worker_status in beating(crashed, 8)])
    assert reason == "the app crashed or was asked to stop, but the process has not ended for 70 s"


def test_f06_an_event_loop_that_stands_still() -> None:
    assert reason_after([(RUNNING, None)] * 8) == "the event loop has stood still for 70 s"
    assert reason_after([(None, None)] * 8) == "the event loop has stood still for 70 s"


def test_f12_an_input_that_lost_its_end_is_told_at_once() -> None:
    """Its next records would pass for repeats, and be dropped, until their offsets reach the old commit."""
    reason = StallDetector(PATIENCE_S).look(0.0, RUNNING, broker(end=5, committed=6))
    assert reason == "flows ends at 5, but 6 is committed: the broker lost records that rows include"
