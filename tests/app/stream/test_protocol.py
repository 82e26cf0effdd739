"""Each point of the protocol by what happens without it: the same faults lose nothing with it, and something without.

The faults: SIGKILL between any two steps with and without the disk, a changelog that refuses a record, an event that
Faust drops, a worker that is frozen while its successor works.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from app.clock import ManualClock
from app.stream.consumer import Record
from app.stream.exact import ExactReader, current_event
from app.stream.fence import StallFence
from tests.app.stream.world import KEYS, NUMBERS, Ended, Stream, Sums, World, key_of, live, worker

TRUE_TOTALS = {key_of(key): sum(NUMBERS[key::KEYS]) for key in range(KEYS)}
STEPS_MAX = 60


async def after_kills(**parts: Any) -> list[str]:
    """What went wrong, over a kill before each step, with and without the disk; empty when nothing did."""
    wrong = []
    for steps in range(STEPS_MAX):
        for wiped in (False, True):
            world = World()
            world.kill_in = steps
            await live(world, **parts)
            world.recover(wiped)
            await live(world, **parts)
            world.recover(wiped=True)
            if world.totals() != TRUE_TOTALS or world.published != {0, 1}:
                wrong.append(f"killed at step {steps}, wiped {wiped}: {world.totals()}, published {world.published}")
    return wrong


async def test_a_kill_at_any_step_loses_and_doubles_nothing() -> None:
    assert await after_kills() == []


async def test_there_are_fewer_steps_than_were_tried() -> None:
    world = World()
    world.kill_in = STEPS_MAX
    await live(world)
    assert world.kill_in > 0


class SkipsReplays(Sums):
    """A replayed record is skipped and its row not written again."""

    def apply_one(self, record: Record) -> None:
        before = set(self.dirty)
        replay = record.offset <= self._progress.applied or self._memory_has(record)
        super().apply_one(record)
        if replay:
            self.dirty = before

    def _memory_has(self, record: Record) -> bool:
        row = self._memory.get(key_of(record.offset))
        return row is not None and record.offset <= row.applied


async def test_without_rows_written_again_the_changelog_stays_behind() -> None:
    wrong = await after_kills(state=SkipsReplays)
    assert wrong
    assert all("wiped False" in line for line in wrong)


class ProgressFirst(ExactReader):
    """The progress row leaves before the rows."""

    async def _write(self, newest: Any) -> None:
        with current_event(newest):
            self._state.write_progress()
            self._state.write_rows()
        await self._changelog_answered()
        await asyncio.gather(*[await send() for send in self._state.publications()])


class ProgressBeforePublications(ExactReader):
    """Rows, progress, and then what closed windows publish."""

    async def _write(self, newest: Any) -> None:
        with current_event(newest):
            self._state.write_rows()
            self._state.write_progress()
        await self._changelog_answered()
        await asyncio.gather(*[await send() for send in self._state.publications()])


async def test_without_the_progress_row_last_a_replay_is_taken_for_applied() -> None:
    wrong = await after_kills(reader=ProgressFirst)
    assert any(f"{TRUE_TOTALS}" not in line for line in wrong)


async def test_without_publications_before_progress_a_window_is_never_published() -> None:
    wrong = await after_kills(reader=ProgressBeforePublications)
    assert wrong
    assert all(f"{TRUE_TOTALS}" in line for line in wrong)


class AcksUnanswered(ExactReader):
    """As Faust does it: a changelog record that failed is logged."""

    async def _changelog_answered(self) -> None:
        for table in self._tables:
            for answer in table.take_unanswered():
                with suppress(OSError):
                    await answer


@pytest.mark.parametrize(
    ("reader", "totals"), [(ExactReader, TRUE_TOTALS), (AcksUnanswered, {key_of(0): 68, key_of(1): 51 - 23})]
)
async def test_a_changelog_that_refuses_a_record(reader: type[ExactReader], totals: dict[str, int]) -> None:
    """It refuses row 1 from the third batch on; then it is repaired, and the disk is lost."""
    world = World()
    with suppress(Ended):
        await worker(world, reader).run(Refusing(world, from_offset=5))
    world.refuse = None
    world.recover(wiped=True)
    await live(world, reader=reader)
    world.recover(wiped=True)
    assert world.totals() == totals


class Refusing(Stream):
    """The changelog refuses row 1 once this offset comes."""

    def __init__(self, world: World, from_offset: int) -> None:
        super().__init__(world)
        self._from_offset = from_offset

    async def events(self) -> Any:
        async for event in super().events():
            if event.message.offset >= self._from_offset:
                self._world.refuse = key_of(1).encode()
            yield event


class PassesHoles(ExactReader):
    """What comes is applied."""

    async def _accept(self, event: Any) -> bool:
        self._state.apply(event.message.tp, event.value)
        self._held.append(event)
        return True


@pytest.mark.parametrize(("reader", "lost"), [(ExactReader, 0), (PassesHoles, NUMBERS[2])])
async def test_an_event_that_faust_dropped(reader: type[ExactReader], lost: int) -> None:
    """Commits stop at the gap; after the next start its replay is taken for applied, unless the first worker ended."""
    world = World()
    await live(world, dropped=1, reader=reader)
    assert world.committed == 2
    world.recover(wiped=False)
    await live(world, reader=reader)
    assert sum(TRUE_TOTALS.values()) - sum(world.totals().values()) == lost


@pytest.mark.parametrize("fenced", [True, False])
async def test_a_worker_that_was_frozen(fenced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds a batch that it did not write; meanwhile its successor does, and more."""
    if not fenced:
        monkeypatch.setattr(StallFence, "check", lambda self: None)
    world, clock = World(), ManualClock()
    frozen = worker(world, clock=clock)

    async def successor() -> None:
        clock.advance(16.0)
        world.recover(wiped=True)  # on another disk
        await live(world)

    with suppress(Ended):
        await frozen.run(Frozen(world, successor))
    assert (world.totals() == TRUE_TOTALS) is fenced


async def test_what_came_too_late_because_it_was_frozen_is_not_the_reason_of_the_end() -> None:
    world, clock = World(), ManualClock()

    async def too_late() -> None:
        clock.advance(16.0)
        raise TimeoutError

    with pytest.raises(Ended, match=r"frozen for 16\.0 s"):
        await worker(world, clock=clock).run(Frozen(world, too_late))


class Frozen(Stream):
    """Stops the worker between taking the second batch and writing it."""

    def __init__(self, world: World, meanwhile: Callable[[], Any]) -> None:
        super().__init__(world)
        self._meanwhile = meanwhile

    async def events(self) -> Any:
        async for event in super().events():
            if event.message.offset == 2:
                await self._meanwhile()
            yield event
            if event.message.offset == 2:
                return
