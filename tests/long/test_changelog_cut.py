"""A changelog whose first records were removed, with the disk and without it: every number counts once all the same."""

import signal
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.errors import EnvironmentProblem
from tests.integration.conftest import unavailable
from tests.integration.sums_rig import CHANGELOG, Rig, Worker, sums_rig, until
from tests.integration.test_exact_state import BATCH
from tests.patience import PATIENCE_S

HEALED = "sums: its changelog has all rows again"
LOST = "from its changelog, and no local disk has their rows"
LEFT = 8  # records, fewer than there are rows

pytestmark = pytest.mark.services


async def lives(rig: Rig, *says: str) -> str:
    """A worker that counts what comes, says these things, and stops; returns its log."""
    worker = await rig.start("a")
    rig.begin()
    await rig.commits_past(await rig.commits() + 3 * BATCH)
    await until(lambda: _says(worker, says), PATIENCE_S)
    await rig.finish()
    worker.signal(signal.SIGTERM)
    assert await worker.ended(15.0) == 0
    assert await rig.exact()
    return worker.told()


async def _says(worker: Worker, says: tuple[str, ...]) -> bool:
    return all(text in worker.told() for text in says)


async def cut(rig: Rig) -> None:
    """An administrator deletes all but the last records."""
    policy = {"cleanup.policy": "delete"}
    await rig.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, CHANGELOG, configs=policy)])
    changelog = TopicPartition(CHANGELOG, 0)
    await rig.admin.delete_records({changelog: RecordsToDelete(await rig.end_of(changelog) - LEFT)})


async def test_the_beginning_of_a_changelog_is_removed(tmp_path: Path) -> None:
    try:
        async with sums_rig(tmp_path) as rig:
            assert HEALED not in await lives(rig)
            await cut(rig)
            assert LOST not in await lives(rig, HEALED)
            rig.wipe("a")
            assert LOST not in await lives(rig), "the changelog had all rows again"
            await cut(rig)
            rig.wipe("a")
            assert HEALED not in await lives(rig, LOST)
            rig.wipe("a")
            assert LOST not in await lives(rig), "it began anew, and its changelog with it"
    except EnvironmentProblem as problem:
        unavailable(problem)
