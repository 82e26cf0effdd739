"""Recovery: the flow is stopped before anything is loaded, and whatever goes wrong ends the process with a reason."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import msgspec
import pytest
from faust.tables.recovery import Recovery, ServiceStopped
from faust.types import TP
from mode.utils.queues import FlowControlEvent, FlowControlQueue

from app.config.settings import Settings
from app.errors import ENDED_ITSELF, RowFormatError
from app.stream import recovery
from app.stream.local_state import PROVENANCE, Provenance, folder_of
from app.stream.recovery import FailFastRecovery, stop_flow_at_recovery
from app.stream.worker import create_app
from tables.store import ExactTable, open_table

RESET = "autopilot state reset --process telemetry --cell ams"


class Ended(Exception):
    pass


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> faust.App:
    def end(reason: str, status: int = ENDED_ITSELF, then: str = "") -> None:
        raise Ended(f"{reason}; {then} ({status})")

    monkeypatch.setattr(recovery, "die", end)
    return create_app("autopilot-telemetry-ams", Settings(pops=("none",), data_dir=str(tmp_path)))


class Flow:
    """Faust's consumer and its flow control, in one; `log` has what was asked of them."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def stop_flow(self) -> None:
        self.log.append("stop")

    def suspend(self) -> None:
        self.log.append("suspend")

    async def wait_for_stopped_flow(self) -> None:
        self.log.append("stopped")


async def recovered(app: Any, load: Any) -> Flow:
    flow = Flow()
    app.consumer = app.flow_control = flow
    table = open_table(app, "sums")

    async def take_up() -> None:
        load(flow.log)

    stop_flow_at_recovery(app, table, take_up)
    await table.call_recover_callbacks()
    return flow


async def test_the_flow_stands_before_the_rows_are_loaded(app: faust.App) -> None:
    """Else single messages are dropped or repeated in up to half of the starts: Faust seeks next, and clears queues."""
    flow = await recovered(app, lambda log: log.append("load"))
    assert flow.log == ["stop", "suspend", "stopped", "load"]


async def test_nothing_is_loaded_if_the_tables_are_recovered_once_more(app: faust.App) -> None:
    """Faust cancels its recovery when another rebalance begins, but not what it calls at its end."""
    loaded: list[str] = []

    class Revoked(Flow):
        async def wait_for_stopped_flow(self) -> None:
            app.rebalancing_count += 1

    app.consumer = app.flow_control = Revoked()  # type: ignore[assignment]
    table = open_table(app, "sums")

    async def load() -> None:
        loaded.append("load")

    stop_flow_at_recovery(app, table, load)
    await table.call_recover_callbacks()
    assert loaded == []


@pytest.mark.parametrize(
    ("included", "made_from", "earliest", "ends"),
    [(None, 0, 0, False), (41, 0, 42, False), (41, 0, 43, True), (None, 7, 7, False), (None, 7, 8, True)],
)
async def test_a_recovery_goes_on_behind_no_removed_record(
    app: faust.App, included: int | None, made_from: int, earliest: int, ends: bool
) -> None:
    """Faust reads on at what is left: the rows would be believed to have what was removed meanwhile."""
    table: Any = open_table(app, "sums")
    changelog = TP(table.changelog_topic_name, 0)
    folder = folder_of(Path(app.conf.tabledir), "sums")
    folder.mkdir(parents=True)
    (folder / PROVENANCE).write_bytes(msgspec.json.encode(Provenance("lab", "first", "0.1", made_from)))
    if included is not None:
        table.data.set_persisted_offset(changelog, included)

    async def earliest_offsets(*tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, earliest)

    made: Any = FailFastRecovery(app, app.tables)
    made.add_active(table, changelog)
    consumer = SimpleNamespace(earliest_offsets=earliest_offsets)
    building = made._build_offsets(consumer, made.active_tps, made.active_offsets, "active")
    if ends:
        with pytest.raises(Ended, match="removed before the local rows had them; its next start sets these rows aside"):
            await building
    else:
        await building
        assert made.active_offsets[changelog] == max(earliest - 1, -1 if included is None else included)


async def test_without_it_faust_clears_what_is_queued_when_it_resumes() -> None:
    """The defect behind: `resume` of a flow that was not suspended drops what came meanwhile."""
    control = FlowControlEvent()
    queue: FlowControlQueue[int] = FlowControlQueue(flow_control=control, clear_on_resume=True)
    control.resume()
    await queue.put(1)
    control.resume()
    assert queue.empty()
    control.suspend()
    putting = asyncio.create_task(queue.put(2))
    await asyncio.sleep(0)
    control.resume()
    await putting
    assert queue.get_nowait() == 2


async def test_rows_that_cannot_be_loaded_end_the_process(app: faust.App) -> None:
    """Faust drops the exceptions of its callbacks, and would go on with an empty memory."""

    def load(log: list[str]) -> None:
        raise ValueError("row a has version 1")

    with pytest.raises(Ended, match=r"sums: cannot load the state from its rows: ValueError: row a has version 1"):
        await recovered(app, load)


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (
            RowFormatError("row a has format 5"),
            "row a has format 5; start the version that wrote the row, or rebuild the state with"
            f" `{RESET} --from-inputs` (1)",
        ),
        (
            Exception("Corruption: block checksum mismatch"),
            "Exception: Corruption: block checksum mismatch; its next start sets the damaged rows aside and rebuilds"
            " them from the changelog (70)",
        ),
        (
            KeyError("ae8"),
            f"KeyError: 'ae8'; its next start tries again; if that fails too, `{RESET}` rebuilds the rows from the"
            " changelog, and with --from-inputs from the inputs (70)",
        ),
    ],
)
async def test_the_last_line_says_what_to_do(app: faust.App, error: Exception, end: str) -> None:
    def load(log: list[str]) -> None:
        raise error

    with pytest.raises(Ended) as ended:
        await recovered(app, load)
    assert str(ended.value) == f"sums: cannot load the state from its rows: {end}"


async def test_a_load_that_a_stop_interrupts_is_no_error(app: faust.App) -> None:
    """The stop has closed the table; without a whole load nothing is written."""

    def load(log: list[str]) -> None:
        app._stopped.set()
        raise RuntimeError("dictionary changed size during iteration")

    await recovered(app, load)
    assert app.should_stop


async def test_f01_a_step_of_recovery_that_times_out_ends_the_process(app: faust.App) -> None:
    tables: Any = app.tables
    assert isinstance(tables.recovery, FailFastRecovery)
    with pytest.raises(Ended, match=r"a step took longer than 0\.01 s; does the broker answer"):
        await tables.recovery._wait(asyncio.sleep(5), timeout=0.01)


async def test_f01_faust_itself_takes_it_for_a_stop_and_ends_recovery_for_good(app: faust.App) -> None:
    """When this fails the defect was repaired upstream."""
    theirs = Recovery(app, app.tables)
    with pytest.raises(ServiceStopped):
        await theirs._wait(asyncio.sleep(5), timeout=0.01)


async def test_a_changelog_that_cannot_be_applied_ends_the_process(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust logs a warning and never ends its recovery."""

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(ExactTable, "apply_changelog_batch", full)
    with pytest.raises(Ended, match=r"sums: cannot apply the changelog: OSError: no space left on device"):
        open_table(app, "sums").apply_changelog_batch([])
