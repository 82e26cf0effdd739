"""Whether all rows of a table are there, although records at the beginning of its changelog were removed.

A compacted changelog keeps the last record of each row for ever, unless an administrator alters its `cleanup.policy` or
deletes records. What is left then has a part of the rows, and nothing in it shows which. So a row of each table, the
mark, says from which offset on the changelog has all of them, and a local database says from which it was made:

- Made from a whole changelog, it is believed. If records were removed since, all its rows are sent again.
- Made from less, it is not: all its rows are deleted, and the inputs are read again from their beginning.

The changelog has every step before the disk has it, and the mark comes last. So a crash in between repeats all of it.
"""

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from app import metrics
from app.errors import ExactnessError
from app.stream.app import ExactApp
from app.stream.local_state import disown, folder_of, read_provenance
from app.stream.offsets import owned
from tables.store import ExactTable, Rows

log = logging.getLogger(__name__)

KEY = "|whole|"  # no PoP's name begins so
PORTION_ROWS, PORTION_BYTES = 2000, 4 * 1024 * 1024  # that are sent before the broker answers

Row = tuple[ExactTable, bytes, bytes]  # with its table and key


class Mark(msgspec.Struct, frozen=True):
    """The changelog has all rows from offset `begin` on: those of before were sent again or deleted behind it.

    What was made from less than `made_from` may have rows that were not deleted, because they were not known any more.
    """

    begin: int = 0
    made_from: int = 0


class Offsets(NamedTuple):
    """From where the local rows were made, and where their changelog begins and ends now."""

    made_from: int
    begin: int
    end: int


class Judgement(enum.Enum):
    """What the rows of a table are when they have been recovered."""

    WHOLE = enum.auto()
    UNSENT = enum.auto()  # whole here, but not in the changelog
    LOST = enum.auto()  # neither here nor there
    OUTDATED = enum.auto()  # with rows that were deleted elsewhere


def judge(offsets: Offsets, mark: Mark) -> Judgement:
    """Compare from where the rows were made with what the changelog has had since."""
    if offsets.made_from > mark.begin:
        return Judgement.LOST
    if offsets.made_from < mark.made_from:
        return Judgement.OUTDATED
    return Judgement.UNSENT if offsets.begin > mark.begin else Judgement.WHOLE


class Unsent(NamedTuple):
    """The keys of rows that must be sent again, and the mark that follows them."""

    table: ExactTable
    keys: list[bytes]
    mark: Mark


class WholeRows:
    """Sees to it that the tables of one reader have all rows or none, and their changelogs as well.

    `answered` awaits the broker's answers to all that these tables have sent; `check` ends a process that was frozen.
    """

    def __init__(self, answered: Callable[[], Awaitable[None]], check: Callable[[], None]) -> None:
        self._answered = answered
        self._check = check
        self._unsent: list[Unsent] = []

    async def take_up(self, tables: Sequence[tuple[ExactTable, Offsets]]) -> list[ExactTable]:
        """Judge the recovered rows of tables before they are loaded, and return those that are to be rebuilt.

        Rows that are not whole are deleted. Those that their changelog lacks are sent later, by `send_some`.
        """
        self._unsent, outdated = [], []
        for table, offsets in tables:
            mark = Rows(table, Mark).get(KEY) or Mark()
            match judge(offsets, mark):
                case Judgement.LOST:
                    await self._delete(table, offsets)
                case Judgement.OUTDATED:
                    outdated.append(table)
                case Judgement.UNSENT:
                    log.error(
                        "%s: records before offset %d were removed from its changelog: all rows are sent to it again;"
                        " is its cleanup.policy compact?",
                        table.name,
                        offsets.begin,
                    )
                    later = msgspec.structs.replace(mark, begin=offsets.end)
                    self._unsent.append(Unsent(table, await _keys(table), later))
        return outdated

    async def _delete(self, table: ExactTable, offsets: Offsets) -> None:
        metrics.STATE_ROWS_LOST.labels(table.name).inc()
        log.error(
            "%s: records before offset %d were removed from its changelog, and no local disk has their rows: what is"
            " left is deleted, and its inputs are read again from their beginning; is its cleanup.policy compact?",
            table.name,
            offsets.made_from,
        )
        keys = await _keys(table)
        for first in range(0, len(keys), PORTION_ROWS):
            self._check()
            for key in keys[first : first + PORTION_ROWS]:
                table.send_only(key, None)
            await self._answered()
        for key in keys:
            table.store_only(key, None)
        await self._set(table, Mark(offsets.end, offsets.made_from))

    async def send_some(self) -> None:
        """Send some of the rows that the changelog lacks, and when it has all of them, say so."""
        if not self._unsent:
            return
        table, keys, mark = self._unsent[0]
        count = size_bytes = 0
        while keys and count < PORTION_ROWS and size_bytes < PORTION_BYTES:
            key = keys.pop()
            if (row := table.stored(key)) is not None:  # not deleted since
                table.send_only(key, row)
                count, size_bytes = count + 1, size_bytes + len(row)
        await self._answered()
        if not keys:
            await self._set(table, mark)
            del self._unsent[0]
            log.warning("%s: its changelog has all rows again", table.name)

    async def _set(self, table: ExactTable, mark: Mark) -> None:
        """Set the mark, and believe it only when the changelog has it."""
        self._check()
        await write_now([(table, KEY.encode(), Rows(table, Mark).packed(mark))], self._answered)

    def forget(self) -> None:
        """Forget what was to be sent: somebody else owns the tables now, or they are recovered again."""
        self._unsent.clear()


async def write_now(rows: Sequence[Row], answered: Callable[[], Awaitable[None]]) -> None:
    """Write rows without a current event: the local disk has them only when the changelog does."""
    for table, key, row in rows:
        table.send_only(key, row)
    await answered()
    for table, key, row in rows:
        table.store_only(key, row)


async def _keys(table: ExactTable) -> list[bytes]:
    """The keys of all rows; a full table takes a second, in which others go on."""
    return await asyncio.to_thread(lambda: [key for key, _ in table.items()])


async def offsets_of(app: ExactApp, tables: Sequence[ExactTable]) -> list[tuple[ExactTable, Offsets]]:
    """The tables that this worker owns, each with its offsets."""
    by_changelog = {str(table.changelog_topic_name): table for table in tables}
    if not (partitions := owned(app, by_changelog)):
        return []
    begins, ends = await app.consumer.earliest_offsets(*partitions), await app.consumer.highwaters(*partitions)
    of_owned = [(by_changelog[tp.topic], tp) for tp in partitions]
    return [(table, Offsets(made_from(app, table.name), begins[tp], ends[tp])) for table, tp in of_owned]


def made_from(app: ExactApp, table: str) -> int:
    """The offset of the changelog from which the local rows of a table were made."""
    provenance = read_provenance(folder_of(Path(app.conf.tabledir), table))
    return 0 if provenance is None else provenance.begins


def rebuild(app: ExactApp, tables: Sequence[ExactTable]) -> None:
    """Raise ExactnessError if there are tables to rebuild from their changelogs, as the next start does."""
    for table in tables:
        disown(folder_of(Path(app.conf.tabledir), table.name))
    if tables:
        names = ", ".join(table.name for table in tables)
        raise ExactnessError(f"{names}: the local disk has rows that another worker has deleted")
