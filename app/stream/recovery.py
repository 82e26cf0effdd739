"""Recovery with two outcomes: the tables are complete and the flow goes on, or the process ends and logs why.

Faust 0.15.3 fails silently in three ways: a step that takes too long ends the recovery task for good (F1), an exception
in an `on_recover` callback is dropped, and an exception while changelog records are applied is logged and retried for
ever.
"""

import gc
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import faust
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery, ServiceStopped
from faust.types import EventT

from app.errors import CRASHED, ENDED_ITSELF, RowFormatError
from app.private_names import RecoveryNames, recovery_of
from app.stream.app import ExactApp, exact
from app.stream.fence import die
from app.stream.local_state import first_lacking, is_damage, reset_command
from app.stream.whole_rows import made_from
from tables.store import ExactTable

log = logging.getLogger(__name__)


class FailFastRecovery(RecoveryNames, Recovery):
    """Faust's recovery, but a step that times out, or records that are gone, end the process and not the recovery."""

    async def wait_step(self, coro: Any, timeout_s: Any) -> None:
        try:
            await super().wait_step(coro, timeout_s)
        except ServiceStopped:
            if not self.should_stop:  # mode raises ServiceStopped for a timeout, too
                die(f"recovery: a step took longer than {timeout_s:g} s; does the broker answer?")
            raise

    async def build_offsets(self, consumer: Any, tps: Any, destination: Any, title: str) -> None:
        """Find where to read on, as Faust does; it would go on behind removed records that the local rows lack."""
        await super().build_offsets(consumer, tps, destination, title)
        for tp in tps:
            table: Any = self.tp_to_table[tp]
            first = first_lacking(table.persisted_offset(tp), made_from(exact(self.app), table.name))
            if first < destination[tp] + 1:
                reason = f"{tp.topic}: records from offset {first} on were removed before the local rows had them"
                die(reason, then="its next start sets these rows aside")


class FailFastTables(TableManager):
    """Faust's table manager with a FailFastRecovery."""

    @property
    def recovery(self) -> Recovery:
        recovery: Recovery = recovery_of(
            self, lambda: FailFastRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        )
        return recovery


class FailFastTable(ExactTable):
    """An ExactTable that ends the process if its changelog cannot be applied."""

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        try:
            super().apply_changelog_batch(batch)
        except Exception as error:
            reason = f"{self.name}: cannot apply the changelog: {type(error).__name__}: {error}"
            die(f"{reason}; is the disk full?", then=what_next(error, self.app.conf.id))


def stop_flow_at_recovery(app: faust.App, table: ExactTable, load: Callable[[], Awaitable[None]]) -> None:
    """Suspend the flow before Faust seeks at the end of recovery; otherwise single messages are dropped or repeated.

    Meanwhile `load` rebuilds the agent's memory from its recovered tables. If that fails the process ends, because
    Faust would go on with an empty memory. Faust itself resumes the flow.
    """

    @table.on_recover
    async def stop() -> None:
        consumer: Any = app.consumer
        rebalances = app.rebalancing_count
        try:
            consumer.stop_flow()
            app.flow_control.suspend()
            await consumer.wait_for_stopped_flow()
            if app.rebalancing_count != rebalances:
                return  # the memory was cleared, and perhaps another worker writes these rows by now
            await load()
            gc.freeze()  # what was loaded stays: spare the collector from visiting millions of rows each time
        except Exception as error:
            if app.should_stop:  # a stop closes the tables under the load, and nothing is written without a whole one
                log.warning("%s: its load was cut short by the stop: %s: %s", table.name, type(error).__name__, error)
                return
            reason = str(error) if isinstance(error, RowFormatError) else f"{type(error).__name__}: {error}"
            status = CRASHED if isinstance(error, RowFormatError) else ENDED_ITSELF
            die(f"{table.name}: cannot load the state from its rows: {reason}", status, what_next(error, app.conf.id))


def what_next(error: Exception, app_id: str) -> str:
    """What comes after the end by this error, and what a person can do if the next start ends in the same way."""
    reset = reset_command(app_id)
    if isinstance(error, RowFormatError):
        return f"start the version that wrote the row, or rebuild the state with `{reset} --from-inputs`"
    if is_damage(error):
        return "its next start sets the damaged rows aside and rebuilds them from the changelog"
    return (
        f"its next start tries again; if that fails too, `{reset}` rebuilds the rows from the changelog, and with"
        " --from-inputs from the inputs"
    )


def recovered(app: ExactApp) -> bool:
    """Whether the tables are rebuilt and the sources flow."""
    tables: Any = app.tables
    return bool(tables.recovery.completed.is_set())
