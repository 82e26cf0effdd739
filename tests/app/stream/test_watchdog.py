"""The watchdog by what it tells and by what it ends; real workers are in tests/long/test_recovery.py."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaError
from faust.types import TP

from app import metrics
from app.clock import ManualClock
from app.config.settings import Kafka
from app.stream import watchdog as module
from app.stream.fence import StallFence
from app.stream.stall import GroupStatus
from app.stream.watchdog import READY_WITHIN_S, Watchdog, clients

LOOK_EVERY_S = 5.0


class App:
    """What the watchdog asks an application."""

    def __init__(self) -> None:
        self.rebalancing = False
        self.should_stop = False
        self.rebalancing_count = self.consumer_generation_id = 1
        self.owned = {TP("flows", 0), TP("app-sums-changelog", 0)}
        self.assignor = SimpleNamespace(assigned_actives=lambda: self.owned)
        self.completed = True
        recovery = SimpleNamespace(
            active_offsets={}, in_recovery=False, completed=SimpleNamespace(is_set=lambda: self.completed)
        )
        self.tables = SimpleNamespace(recovery=recovery)
        self.inputs = SimpleNamespace(ids={"flows": "first"})
        self.joined = SimpleNamespace(waiting=dict)
        self.agents = {"flows": SimpleNamespace(channel=SimpleNamespace(topics=["flows"]))}


class Rig:
    """A watchdog without its thread: `look` is one round of loop and thread."""

    def __init__(self) -> None:
        self.app, self.clock = App(), ManualClock()
        self.ended: list[str] = []
        fence = StallFence(5.0, self.clock, self.ended.append)
        app = cast(Any, self.app)
        self.watchdog = Watchdog(app, fence, self.clock, self.ended.append, patience_s=60.0, look_every_s=LOOK_EVERY_S)

    def look(self, end: int | None, committed: int = 0, topic_id: str = "first") -> str:
        self.clock.advance(LOOK_EVERY_S)
        self.watchdog._worker_status = module.worker_status(cast(Any, self.app), self.clock.monotonic_s())
        answer = (
            None
            if end is None
            else GroupStatus({"flows": 0}, {"flows": end}, {"flows": committed}, {"flows": topic_id})
        )
        self.watchdog.look(answer)
        return str(self.watchdog.ready()[1]["state"])


def test_it_is_ready_when_what_came_ten_seconds_ago_is_committed() -> None:
    rig = Rig()
    assert rig.watchdog.ready() == (False, {"ready": False, "state": "starting", "waiting_records": {}})
    assert rig.look(end=100, committed=0) == "behind"
    assert rig.look(end=200, committed=100) == "running"
    assert rig.watchdog.ready() == (True, {"ready": True, "state": "running", "waiting_records": {"flows": 100}})
    for _ in range(round(READY_WITHIN_S / LOOK_EVERY_S)):
        state = rig.look(end=200, committed=100)
    assert state == "behind"


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda app: setattr(app, "rebalancing", True), "recovering"),
        (lambda app: setattr(app, "completed", False), "recovering"),
        (lambda app: setattr(app, "should_stop", True), "stopping"),
        (lambda app: setattr(app, "owned", {TP("app-sums-changelog", 0)}), "standby"),
    ],
)
def test_states(change: Callable[[App], None], state: str) -> None:
    rig = Rig()
    change(rig.app)
    assert rig.look(end=1, committed=1) == state
    assert rig.watchdog.ready()[0] is (state == "standby")


def test_without_a_broker_it_waits_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.look(end=10, committed=0)
    states = {rig.look(end=None) for _ in range(100)}
    assert states == {"no-broker"}
    assert rig.ended == []
    assert len(caplog.messages) == 500 // 60
    assert caplog.messages[0] == "no broker has answered for 60 s; still waiting"


def test_a_standstill_ends_the_process() -> None:
    rig = Rig()
    for end in range(100, 113):
        rig.look(end, committed=10)
    assert rig.ended == []
    rig.look(end=200, committed=10)
    assert rig.ended == ["flows: waiting records have not been committed for 65 s"]


def test_an_input_that_was_recreated_ends_the_process() -> None:
    rig = Rig()
    rig.look(end=100, committed=100)
    rig.look(end=3, topic_id="second")
    assert rig.ended == ["flows was recreated: the next start reads it from its beginning"]


def test_an_input_that_is_gone_is_told_once_and_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.look(end=100, committed=0)
    for _ in range(3):
        rig.watchdog.look(GroupStatus({}, {}, {}))
        assert rig.watchdog.ready() == (False, {"ready": False, "state": "no-input", "waiting_records": {}})
    assert caplog.messages == ["topic flows does not exist any more; waiting for it"]
    assert rig.look(end=100, committed=100) == "running"
    assert rig.ended == []


def test_partitions_that_nobody_reads_are_said_and_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody adds one while the worker runs: its records would be missing without a word."""
    rig = Rig()
    rig.look(end=100, committed=100)
    more = GroupStatus({"flows": 0}, {"flows": 100}, {"flows": 100}, {"flows": "first"}, {"flows": 3})
    for _ in range(3):
        rig.watchdog.look(more)
    assert rig.watchdog.ready() == (
        False,
        {
            "ready": False,
            "state": "unread-partitions",
            "waiting_records": {"flows": 0},
            "unread_partitions": {"flows": 2},
        },
    )
    [line] = caplog.messages
    assert line.startswith("topic flows has 3 partitions, and only the first of them is read")
    assert metrics.UNREAD_PARTITIONS.labels("flows")._value.get() == 2
    assert rig.look(end=100, committed=100) == "running"
    assert metrics.UNREAD_PARTITIONS.labels("flows")._value.get() == 0
    assert rig.ended == []


def test_it_is_alive_while_both_threads_look() -> None:
    rig = Rig()
    assert rig.watchdog.alive() == (False, {"ok": False, "problems": ["the stall fence does not run"]})
    rig.watchdog._fence.start()
    try:
        assert rig.watchdog.alive() == (True, {"ok": True, "problems": []})
        rig.clock.advance(4.9)
        assert rig.watchdog.alive()[0]
    finally:
        rig.watchdog._fence.stop()


def test_it_is_not_alive_when_the_watchdog_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StallFence, "runs", True)
    rig = Rig()
    rig.clock.advance(36.0)
    assert rig.watchdog.alive() == (False, {"ok": False, "problems": ["the watchdog does not run"]})


async def test_nobody_there_is_an_error_of_kafka() -> None:
    with pytest.raises(KafkaError):
        async with clients(Kafka(broker="127.0.0.1:1")):
            pass
