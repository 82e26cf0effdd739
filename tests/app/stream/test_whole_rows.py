"""A changelog that has lost its beginning: rows that are somewhere get back into it, others are made from the inputs.

Killed before each step, with and without the disk. And what happens without each part of it.
"""

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app import metrics
from app.errors import ExactnessError
from app.stream import whole_rows
from app.stream.local_state import PROVENANCE
from app.stream.whole_rows import KEY, Judgement, Mark, Offsets, WholeRows, judge, rebuild
from tables.store import ExactTable, Rows
from tests.app.stream.test_protocol import TRUE_TOTALS
from tests.app.stream.world import SOURCE, SUM, Ended, Killed, Row, Stream, Table, World, load, new_worker, totals_of

STEPS_MAX = 60
KEPT = 3  # records of the changelog: one of two sums, the progress, and a row that the inputs do not make any more
OLD = f"{SUM}9".encode()


@pytest.fixture(autouse=True)
def row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_rows, "PORTION_ROWS", 1)


async def live(world: World, whole: type[WholeRows] = WholeRows) -> None:
    """One life of a worker, to the end of the source and until its changelog has what its disk has."""
    with suppress(Killed, Ended):
        made = new_worker(world)
        made._whole_rows = whole(made._changelog_answered, made._fence.check)
        [table] = made._tables
        offsets = Offsets(world.made_from, world.begin, len(world.changelog))
        assert await made._whole_rows.take_up([(table, offsets)]) == []
        load(world, made)
        first = made._app.inputs.begins[SOURCE.topic][0]
        await made.run(Stream(world, first=first))
        while made._whole_rows._unsent:
            await made._flush()


def cut(world: World, wiped: bool) -> None:
    """The first records of the changelog are removed, perhaps the disk is lost, and a worker starts."""
    world.disk[OLD] = Rows(cast(ExactTable, Table(world)), Row, lambda row: row.applied).packed(Row(0, 1000))
    world.changelog.append((OLD, world.disk[OLD]))
    world.begin = len(world.changelog) - KEPT
    world.recover(wiped)


async def after_kills(**parts: Any) -> list[str]:
    """What went wrong, over a kill before each step of the life after the cut, with and without the disk."""
    wrong = []
    for steps in range(STEPS_MAX):
        for cut_wiped, kill_wiped in [(False, False), (False, True), (True, False), (True, True)]:
            world = World()
            await live(world)
            cut(world, cut_wiped)
            world.kill_in = steps
            await live(world, **parts)
            world.recover(kill_wiped)
            await live(world, **parts)
            disk, changelog = totals_of(world.disk), world.totals()
            if not (TRUE_TOTALS.items() <= changelog.items() and disk == changelog and world.published == {0, 1}):
                wrong.append(f"killed at step {steps}, wiped {cut_wiped} and {kill_wiped}: {disk}, {changelog}")
    return wrong


async def test_nothing_is_lost_and_nothing_doubled() -> None:
    assert await after_kills() == []


async def test_there_are_fewer_steps_than_were_tried() -> None:
    for wiped in (False, True):
        world = World()
        await live(world)
        cut(world, wiped)
        world.kill_in = STEPS_MAX
        await live(world)
        assert world.kill_in > 0


async def test_rows_that_are_on_the_disk_are_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await live(world)
    assert KEY.encode() not in world.disk, "nothing is written as long as nothing was removed"
    cut(world, wiped=False)
    disk, sent = dict(world.disk), len(world.changelog)
    await live(world)
    assert {key for key, _ in world.changelog[sent:]} == {*disk, KEY.encode()}
    assert {key: world.disk[key] for key in disk} == disk
    assert "records before offset" in caplog.messages[0]
    assert caplog.messages[-1] == "numbers: its changelog has all rows again"
    sent = len(world.changelog)
    await live(world)
    assert KEY.encode() not in dict(world.changelog[sent:]), "once"


async def test_what_is_left_of_lost_rows_is_deleted_and_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await live(world)
    cut(world, wiped=True)
    assert world.totals().keys() == {f"{SUM}1", OLD.decode()}, "a part of the rows"
    lost = metrics.STATE_ROWS_LOST.labels("numbers")
    before = lost._value.get()
    await live(world)
    assert lost._value.get() == before + 1
    [said] = [message for message in caplog.messages if "no local disk has their rows" in message]
    assert "and its inputs are read again from their beginning" in said
    assert world.totals() == TRUE_TOTALS
    world.recover(wiped=True)
    await live(world)
    assert lost._value.get() == before + 1, "once"


class BelievesAll(WholeRows):
    """As before: what a recovery finds is all there is."""

    async def take_up(self, owned: Any) -> list[ExactTable]:
        return []


class MarksFirst(WholeRows):
    """The mark is set when the rows have yet to follow."""

    async def take_up(self, owned: Any) -> list[ExactTable]:
        outdated = await super().take_up(owned)
        for table, _, mark in self._unsent:
            await self._set(table, mark)
        return outdated

    async def _delete(self, table: ExactTable, offsets: Offsets) -> None:
        await self._set(table, Mark(offsets.end, offsets.made_from))
        await super()._delete(table, offsets)


class DeletesOnTheDiskFirst(WholeRows):
    """As the rows of a table are deleted elsewhere: at once here, and later in the changelog."""

    async def _delete(self, table: ExactTable, offsets: Offsets) -> None:
        for key, _ in list(table.items()):
            table.send_only(key, None)
            table.store_only(key, None)
            await self._answered()
        await self._set(table, Mark(offsets.end, offsets.made_from))


class DeletesOnTheDiskOnly(WholeRows):
    """The changelog keeps what is left."""

    async def _delete(self, table: ExactTable, offsets: Offsets) -> None:
        for key, _ in list(table.items()):
            table.store_only(key, None)
        await self._set(table, Mark(offsets.end, offsets.made_from))


@pytest.mark.parametrize("whole", [BelievesAll, MarksFirst, DeletesOnTheDiskFirst, DeletesOnTheDiskOnly])
async def test_without_one_part_of_it_something_is_lost(whole: type[WholeRows]) -> None:
    assert await after_kills(whole=whole)


@pytest.mark.parametrize(
    ("offsets", "mark", "judgement"),
    [
        (Offsets(0, 0, 50), Mark(), Judgement.WHOLE),
        (Offsets(0, 10, 50), Mark(), Judgement.UNSENT),
        (Offsets(10, 10, 50), Mark(), Judgement.LOST),
        (Offsets(10, 10, 80), Mark(50), Judgement.WHOLE),
        (Offsets(50, 50, 80), Mark(50), Judgement.WHOLE),
        (Offsets(50, 51, 80), Mark(50), Judgement.UNSENT),
        (Offsets(51, 51, 80), Mark(50), Judgement.LOST),
        (Offsets(10, 10, 80), Mark(50, made_from=10), Judgement.WHOLE),
        (Offsets(0, 10, 80), Mark(50, made_from=10), Judgement.OUTDATED),
    ],
)
def test_the_judgement(offsets: Offsets, mark: Mark, judgement: Judgement) -> None:
    assert judge(offsets, mark) is judgement


async def test_rows_that_another_worker_has_deleted_are_rebuilt(tmp_path: Path) -> None:
    """Its tombstones cannot name rows that it did not know any more: a standby's older disk still has them."""
    world = World()
    table = cast(ExactTable, Table(world))
    world.disk = {KEY.encode(): Rows(table, Mark).packed(Mark(50, made_from=10)), b"old": b"row"}
    made = WholeRows(lambda: pytest.fail("nothing is sent"), lambda: None)
    outdated = await made.take_up([(table, Offsets(0, 10, 80))])
    assert outdated == [table]
    app = cast(Any, SimpleNamespace(conf=SimpleNamespace(tabledir=tmp_path)))
    (tmp_path / "numbers-0.db").mkdir()
    (tmp_path / "numbers-0.db" / PROVENANCE).touch()
    rebuild(app, [])
    with pytest.raises(ExactnessError, match="numbers: the local disk has rows that another worker has deleted"):
        rebuild(app, outdated)
    assert not (tmp_path / "numbers-0.db" / PROVENANCE).exists()


async def test_a_rebalance_forgets_what_was_to_be_sent() -> None:
    world = World()
    await live(world)
    cut(world, wiped=False)
    made = new_worker(world)
    await made._whole_rows.take_up([(made._tables[0], Offsets(0, world.begin, len(world.changelog)))])
    load(world, made)
    sent = len(world.changelog)
    made.forget()
    await made._flush()
    assert made._whole_rows._unsent == []
    assert len(world.changelog) == sent
