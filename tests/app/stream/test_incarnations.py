"""A source that is deleted and recreated: its offsets begin at 0 again, and every record of it counts."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from app.errors import ExactnessError
from app.stream import exact
from app.stream.exact import ExactReader, current_event
from app.stream.fetching import Hole
from app.stream.incarnations import Incarnation, Incarnations, key_of
from tables.store import Rows
from tests.app.stream.test_protocol import TRUE_TOTALS
from tests.app.stream.world import (
    NUMBERS,
    SOURCE,
    SUM,
    Ended,
    Row,
    Stream,
    Table,
    World,
    incarnations,
    live,
    new_worker,
    row_of,
    worker,
)
from tests.app.stream.world import key_of as sum_of

TWICE = {key: 2 * total for key, total in TRUE_TOTALS.items()}
WINDOWS_OF_BOTH = {0, 1, 3, 4}
STEPS_MAX = 60


def kills() -> Iterator[tuple[int, bool]]:
    """Before each step, with and without the disk."""
    for steps in range(STEPS_MAX):
        yield steps, False
        yield steps, True


async def kill(world: World, steps: int, wiped: bool, **parts: Any) -> None:
    world.kill_in = steps
    await live(world, **parts)
    world.recover(wiped)


async def after_kills(**parts: Any) -> list[str]:
    """What went wrong in the second incarnation, over a kill before each step of it."""
    wrong = []
    for steps, wiped in kills():
        world = World()
        await live(world, **parts)
        world.recreate_source()
        await kill(world, steps, wiped, **parts)
        await live(world, **parts)
        world.recover(wiped=True)
        if world.totals() != TWICE or world.published != WINDOWS_OF_BOTH:
            wrong.append(f"killed at step {steps}, wiped {wiped}: {world.totals()}, published {world.published}")
    return wrong


async def test_every_record_of_the_second_incarnation_counts_once() -> None:
    assert await after_kills() == []


async def test_rows_that_were_ahead_of_the_progress_take_nothing_for_a_repeat() -> None:
    """Killed in the first incarnation, which never comes again: what its rows lack is lost, and nothing else."""
    for steps, wiped in kills():
        world = World()
        await kill(world, steps, wiped)
        before = sum(row_of(row).total for key, row in world.disk.items() if key.startswith(SUM.encode()))
        world.recreate_source()
        await live(world)
        world.recover(wiped=True)
        assert sum(world.totals().values()) == before + sum(NUMBERS), f"killed at step {steps}, wiped {wiped}"


class WritesItLast(ExactReader):
    """The incarnation is written with the progress, not before the rows that count from it."""

    async def _write(self, newest: Any) -> None:
        with current_event(newest):
            self._state.write_rows()
        await self._changelog_answered()
        for send in self._state.publications():
            await (await send())
        with current_event(newest):
            self._incarnations.write()
            self._state.write_progress()
        await self._changelog_answered()


async def test_an_incarnation_written_after_its_rows_doubles() -> None:
    wrong = await after_kills(reader=WritesItLast)
    assert wrong


async def test_a_source_recreated_under_a_running_worker_ends_it() -> None:
    """Before anything of it is acknowledged: between its start and the first batch, and at an offset that goes back."""
    world = World()
    started = worker(world)
    world.recreate_source()
    with pytest.raises(Ended, match="numbers was recreated"):
        await started.run(Stream(world))
    assert world.acked == set()

    reading = World()
    running = worker(reading)
    await running.run(Stream(reading))
    reading.recreate_source()
    with pytest.raises(Ended, match="numbers was recreated"):
        await running.run(Stream(reading))
    assert reading.acked == set()


async def test_state_of_before_incarnations_were_remembered_goes_on() -> None:
    world = World()
    await live(world)
    del world.disk[key_of(SOURCE.topic).encode()]
    await live(world)
    world.recover(wiped=True)
    assert world.totals() == TRUE_TOTALS


def test_a_base_is_above_every_row() -> None:
    world = World()
    table: Any = Table(world)
    first = incarnations(world, [table])
    first.load()
    assert first.base(SOURCE.topic) == 0
    assert first.write()
    assert not first.write(), "it is written once after a recovery"
    Rows(table, Row, lambda row: row.applied).put("sum 0", Row(applied=41))
    world.recreate_source()
    second = incarnations(world, [table])
    second.load()
    assert second.base(SOURCE.topic) == 43, "and one below it stands for what may be lost"
    second.write()
    assert Rows(table, Incarnation).get(key_of(SOURCE.topic)) == Incarnation("second", 43)


def test_a_base_is_lost_only_with_all_tables() -> None:
    """Each of them has it: one may lose its rows, or the last of them, and the base of the others counts."""
    one, other = World(), World()
    tables: list[Any] = [Table(one), Table(other)]
    key = key_of(SOURCE.topic).encode()

    def started() -> int:
        made = incarnations(one, tables)
        made.load()
        assert made.write()
        assert one.disk[key] == other.disk[key]
        return made.base(SOURCE.topic)

    assert started() == 0
    before = other.disk[key]
    Rows(tables[1], Row, lambda row: row.applied).put("sum 0", Row(applied=41))
    one.recreate_source()
    assert started() == 43
    one.disk.clear()
    assert started() == 43
    other.disk = {key: before}
    assert started() == 43, "the last rows of the other are lost"
    other.disk.clear()
    one.disk.clear()
    assert started() == 0


def test_of_two_incarnations_at_one_base_the_present_one_counts() -> None:
    """Before anything was counted a topic was recreated, and one of two tables does not know."""
    one, other = World(), World()
    tables: list[Any] = [Table(one), Table(other)]
    Rows(tables[0], Incarnation).put(key_of(SOURCE.topic), Incarnation("before"))
    Rows(tables[1], Incarnation).put(key_of(SOURCE.topic), Incarnation(one.topic_id))
    Rows(tables[1], Row, lambda row: row.applied).put("sum 0", Row(applied=41))
    made = incarnations(one, tables)
    made.load()
    assert made.base(SOURCE.topic) == 0


async def test_records_in_place_of_lost_ones_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker has lost the last two, which the rows include, and others have their offsets; each is counted once."""
    world = World()
    await live(world)
    world.acked -= {5, 6}
    end = 5

    async def ends_of(app: Any, topics: Sequence[str]) -> dict[str, int]:
        return {SOURCE.topic: end}

    async def none_of(app: Any, tables: Sequence[Any]) -> list[Any]:
        return []

    monkeypatch.setattr(exact, "ends_of", ends_of)
    monkeypatch.setattr(exact, "offsets_of", none_of)
    for wiped in (False, True):  # the second start finds the base in the changelog
        made = new_worker(world)
        await made.take_up()
        made._app.inputs.begins[SOURCE.topic] = made._app.inputs.first[SOURCE.topic], range(0)
        assert made._app.inputs.first == {SOURCE.topic: 5 if not wiped else len(NUMBERS)}
        await made.run(Stream(world, first=made._app.inputs.first[SOURCE.topic]))
        end = len(NUMBERS)
        world.recover(wiped=True)
    again = {sum_of(offset): NUMBERS[offset] for offset in (5, 6)}
    assert world.totals() == {key: total + again.get(key, 0) for key, total in TRUE_TOTALS.items()}


async def test_a_commit_of_the_incarnation_before_is_not_taken_up() -> None:
    """The old worker commits once more, after its topic was deleted: Kafka keeps that for the new one."""
    world = World()
    await live(world)
    world.recreate_source()
    world.acked, world.committed_in = {0, 1, 2}, "first"
    with pytest.raises(Ended, match="numbers: a commit belongs to a deleted topic of that name"):
        await worker(world).run(Stream(world))
    assert world.acked == {0, 1, 2}


def test_reading_begins_where_rows_are_whole() -> None:
    made = incarnations(World(), [Table(World())])
    made.load()
    topic = SOURCE.topic
    assert not made.is_behind(topic, 70), "nothing was said of its rows"
    made.set_checkpoints({topic: 41})
    assert (made.is_behind(topic, 42), made.is_behind(topic, 43)) == (False, True)
    made.set_checkpoints({topic: -5})
    assert made._inputs.first == {topic: 0}, "a position of an earlier incarnation"


def test_what_retention_removed_is_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    made = incarnations(World(), [Table(World())])
    made.load()
    made._inputs.begins[SOURCE.topic] = 9, range(7, 9)
    assert made.begin(SOURCE.topic, 5.0) == (7, Hole(7, 9, 5.0, is_missing=True))
    assert caplog.messages == ["numbers: retention removed 2 records that nobody had read"]


@pytest.mark.parametrize("removed", [0, 3])
def test_what_may_be_lost_with_a_topic_is_said_until_rows_say_it(removed: int) -> None:
    """Rows end at position 41; of the new topic retention has removed some records, too."""
    world = World()
    table: Any = Table(world)
    incarnations(world, [table]).load()
    Rows(table, Incarnation).put(key_of(SOURCE.topic), Incarnation(world.topic_id))
    Rows(table, Row, lambda row: row.applied).put("sum 0", Row(applied=41))
    world.recreate_source()

    def start(whole: int) -> tuple[int, Hole | None]:
        made = incarnations(world, [table])
        made.load()
        made.write()
        made.set_checkpoints({SOURCE.topic: whole})
        made._inputs.begins[SOURCE.topic] = removed, range(0)
        return made.begin(SOURCE.topic, 5.0)

    hole = Hole(removed - 1, removed, 5.0, is_missing=True, is_counted=False)
    for _ in range(2):  # the first process was killed before its rows had it
        assert start(41) == (removed - 1, hole)
    position = msgspec.structs.replace(hole, base=43).position
    assert 41 < position < 43 + removed
    assert start(position)[1] is None


async def test_verify_raises_where_the_topic_is_gone() -> None:
    world = World()
    made: Incarnations = incarnations(world, [Table(world)])
    await made.verify(SOURCE.topic)
    world.topic_id = ""
    with pytest.raises(ExactnessError):
        await made.verify(SOURCE.topic)
