"""Workers that cannot go on end and say why; none hangs, none commits what it does not have."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.errors import ENDED_ITSELF, EnvironmentProblem
from app.lab.daemons.ports import free_port
from tests.integration.conftest import unavailable
from tests.integration.sums_rig import CHANGELOG, Rig, Worker, sums_rig, until
from tests.integration.test_exact_state import BATCH
from tests.patience import PATIENCE_S

CRASHED = 1  # Faust's own end, when an exception of its consumer reached the worker

pytestmark = pytest.mark.services


async def on_a_rig(folder: Path, *scenes: Callable[[Rig], Awaitable[None]]) -> None:
    """One broker for several scenes, each with what the one before left."""
    try:
        async with sums_rig(folder) as rig:
            rig.begin()
            for scene in scenes:
                await scene(rig)
            worker = await rig.start("a")
            await rig.finish()
            worker.signal(signal.SIGTERM)
            assert await worker.ended(15.0) == 0
            assert await rig.exact()
    except EnvironmentProblem as problem:
        unavailable(problem)


async def works_and_ends(rig: Rig) -> None:
    """A worker that did its work, so that there is something to recover."""
    worker = await rig.start("a")
    await rig.commits_past(await rig.commits() + 5 * BATCH)
    worker.signal(signal.SIGTERM)
    assert await worker.ended(15.0) == 0


async def ends_itself(worker: Worker, reason: str, within_s: float = PATIENCE_S) -> None:
    assert await worker.ended(within_s) == ENDED_ITSELF
    assert reason in worker.told()


async def max_message_bytes(rig: Rig, size: int) -> None:
    resource = ConfigResource(ConfigResourceType.TOPIC, CHANGELOG, configs={"max.message.bytes": str(size)})
    await rig.admin.alter_configs([resource])


async def changelog_refuses(rig: Rig) -> None:
    """Faust would log it and commit, and the next lost disk would be a loss."""
    worker = await rig.start("a")
    await rig.commits_past(await rig.commits() + BATCH)
    await max_message_bytes(rig, 20)
    await ends_itself(worker, "MessageSizeTooLarge")
    at = await rig.commits()
    await ends_itself(await rig.start("a"), "MessageSizeTooLarge")
    assert await rig.commits() == at, "nothing may be committed that the changelog does not have"
    await max_message_bytes(rig, 1_000_000)
    rig.wipe("a")


async def rows_cannot_be_loaded(rig: Rig) -> None:
    await ends_itself(await rig.start("a", unloadable=True), "cannot load the state from its rows: ExactnessError")


async def f01_a_step_of_recovery_is_not_answered(rig: Rig) -> None:
    worker = await rig.start("a", slow_recovery=True, broker_request_timeout_s=7.0)
    await ends_itself(worker, "recovery: a step took longer than 7 s")


async def f01_f22_recovery_stands_still(rig: Rig) -> None:
    """The same where no timeout ends the step: the watchdog does, whose thread needs nothing of Faust."""
    await ends_itself(await rig.start("a", slow_recovery=True, patience_s=10.0), "recovery has made no progress")


async def test_recovery_f01_f22_ends_well_or_ends_the_process(tmp_path: Path) -> None:
    await on_a_rig(
        tmp_path,
        works_and_ends,
        f01_a_step_of_recovery_is_not_answered,
        f01_f22_recovery_stands_still,
        rows_cannot_be_loaded,
        changelog_refuses,
    )


async def f03_f07_an_agent_is_stuck(rig: Rig) -> None:
    worker = await rig.start("a", stuck_after=await rig.commits() + 10 * BATCH, patience_s=8.0)
    await ends_itself(worker, "numbers: waiting records have not been committed")


async def no_broker_answers(rig: Rig) -> None:
    """Nothing to flush and nobody to ask: the worker waits, however long it takes, and goes on."""
    worker = await rig.start("a", patience_s=8.0, state_port=free_port())
    await rig.quiet()
    await worker.is_in("running")
    async with rig.frozen_broker():
        await worker.is_in("no-broker")
        await asyncio.sleep(12.0)  # more than its patience
        assert worker.process.returncode is None
        assert (await worker.probe("/healthz"))[0] == 200
    rig.begin()
    await worker.is_in("running")
    await rig.commits_past(await rig.commits() + 5 * BATCH)
    worker.signal(signal.SIGKILL)
    await worker.ended(5.0)


@pytest.mark.parametrize("late_s", [8.0, 14.0])
async def test_a_broker_that_answers_late_ends_nobody(tmp_path: Path, late_s: float) -> None:
    """Amid flushes; 14 s are longer than a session, so the group may have forgotten the worker meanwhile."""

    async def answers_late(rig: Rig) -> None:
        worker = await rig.start("a", session_timeout_s=10.0)
        await rig.commits_past(await rig.commits() + 5 * BATCH)
        async with rig.frozen_broker():
            await asyncio.sleep(late_s)
        await rig.commits_past(rig.load.sent + BATCH)
        assert worker.process.returncode is None, worker.told()[-3000:]
        worker.signal(signal.SIGTERM)
        assert await worker.ended(15.0) == 0
        assert "Exception in callback" not in worker.told()

    await on_a_rig(tmp_path, answers_late)


async def f25_nothing_listens_in_public(rig: Rig) -> None:
    worker = await rig.start("a")
    await rig.commits_past(await rig.commits() + BATCH)
    with pytest.raises(OSError, match="6066"):
        await asyncio.open_connection("127.0.0.1", 6066)
    worker.signal(signal.SIGKILL)
    await worker.ended(5.0)


async def test_watchdog_f03_f07_f25_tells_a_standstill_from_silence(tmp_path: Path) -> None:
    await on_a_rig(tmp_path, f03_f07_an_agent_is_stuck, no_broker_answers, f25_nothing_listens_in_public)


async def the_broker_is_frozen_at(rig: Rig, moment: str) -> None:
    """For longer than a step of recovery may take. Whatever the worker makes of it, it does not hang."""
    worker = await rig.start("a", broker_request_timeout_s=7.0, patience_s=20.0, state_port=free_port())

    async def said() -> bool:
        return moment in worker.told()

    await until(said, 20.0)
    async with rig.frozen_broker():
        await asyncio.sleep(12.0)

    async def ended_or_runs() -> bool:
        state = (await worker.probe("/readyz"))[1].get("state")
        return worker.process.returncode is not None or state in ("running", "behind")

    await until(ended_or_runs, 40.0)
    if worker.process.returncode is None:
        await rig.commits_past(await rig.commits() + BATCH)
        worker.signal(signal.SIGKILL)
    assert await worker.ended(5.0) in (ENDED_ITSELF, CRASHED, -signal.SIGKILL)


@pytest.mark.parametrize("moment", ["Discovered coordinator", "Successfully synced group"])
async def test_f01_a_broker_that_freezes_while_a_worker_recovers(tmp_path: Path, moment: str) -> None:
    async def frozen(rig: Rig) -> None:
        rig.wipe("a")
        await the_broker_is_frozen_at(rig, moment)

    await on_a_rig(tmp_path, works_and_ends, frozen)


async def f12_the_changelog_was_recreated(rig: Rig) -> None:
    """The disk knows offsets that the changelog never reached: Faust crashes, and so at each start."""
    await rig.admin.delete_topics([CHANGELOG])
    worker = await rig.start("a", patience_s=20.0)
    async with asyncio.timeout(PATIENCE_S):
        await rig.commits_past(await rig.commits() + BATCH)
    assert f"the local state is not used: {CHANGELOG} was deleted and recreated since" in worker.told()
    assert "ConsistencyError" not in worker.told()


async def test_f12_rows_of_a_changelog_that_was_recreated_are_set_aside(tmp_path: Path) -> None:
    try:
        async with sums_rig(tmp_path) as rig:
            rig.begin()
            await works_and_ends(rig)
            await f12_the_changelog_was_recreated(rig)
    except EnvironmentProblem as problem:
        unavailable(problem)
