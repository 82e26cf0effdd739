"""Bugs to plant into the product, one line of the protocol or one guard each."""

from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import msgspec
import pytest

from agents.flows import FlowsState
from agents.routes import RoutesState
from app.actuation.damping import Damping
from app.actuation.doubt import Doubt
from app.actuation.overrides import Overrides
from app.actuation.ownership import Claim
from app.actuation.session_witness import SessionWitness
from app.actuation.terms import Terms
from app.contract.signing import Signer
from app.feeds.accounting import Accounting
from app.reaper import RouteReaper
from app.simulation.play import run_seed
from app.stream.exact import ExactReader, current_event
from app.stream.fence import StallFence
from app.stream.incarnations import Incarnations
from app.stream.joined import Joined
from app.te.decision.guards import Budget
from app.te.traffic.grid import Grid
from app.te.traffic.premises import FlowInventory
from tables import flow_progress
from tables.flow_progress import Agreed

SEEDS = 400
Plant = Callable[[pytest.MonkeyPatch], None]


def no_offset_check(patch: pytest.MonkeyPatch) -> None:
    async def accept(self: Any, event: Any) -> bool:
        self._state.apply(event.message.tp, event.value)
        self._held.append(event)
        return True

    patch.setattr(ExactReader, "_accept", accept)


def acknowledged_first(patch: pytest.MonkeyPatch) -> None:
    flush = ExactReader._flush

    async def early(self: Any) -> None:
        for event in self._held:
            await self._events.ack(event)
        await flush(self)

    patch.setattr(ExactReader, "_flush", early)
    reading_begins_at_the_commit(patch)  # else the rows say that it is ahead


def progress_first(patch: pytest.MonkeyPatch) -> None:
    async def write(self: Any, newest: Any) -> None:
        with current_event(newest):
            self._state.write_progress()
        await self._changelog_answered()
        with current_event(newest):
            self._state.write_rows()
        await self._changelog_answered()
        for send in self._state.publications():
            await (await send())

    patch.setattr(ExactReader, "_write", write)


def changelog_not_awaited(patch: pytest.MonkeyPatch) -> None:
    async def answered(self: Any) -> None:
        for table in self._tables:
            table.take_unanswered()

    patch.setattr(ExactReader, "_changelog_answered", answered)


def replays_not_written_again(patch: pytest.MonkeyPatch) -> None:
    add, ingest = Accounting._add, Accounting._ingest_batch

    def forgetful(self: Any, added: Any, slots: Any, position: int) -> None:
        touched = set(self.touched)
        replayed = {slot for slot, sums in self.open.items() if position <= sums.applied}
        add(self, added, slots, position)
        self.touched -= replayed - touched

    def forgetful_batch(self: Any, index: int, first: int, kafka_s: Any, messages: Any) -> Iterator[Any]:
        touched, is_replay = set(self.touched), first + index + len(messages) - 1 <= self.progress.applied
        yield from ingest(self, index, first, kafka_s, messages)
        if is_replay:
            self.touched &= touched

    patch.setattr(Accounting, "_add", forgetful)
    patch.setattr(Accounting, "_ingest_batch", forgetful_batch)


def reading_begins_at_the_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Incarnations, "set_checkpoints", lambda self, positions: None)


def rows_deleted_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    expire = FlowsState._expire

    def early(self: Any) -> None:
        self._committed = lambda topic: 1 << 60
        expire(self)

    patch.setattr(FlowsState, "_expire", early)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StallFence, "check", lambda self: None)


def no_budget(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Budget, "allows", lambda self, bps, replaces=False: True)
    patch.setattr(Budget, "spend", lambda self, bps, replaces=False, times=1: None)
    patch.setattr(Overrides, "_over_budget", lambda self, override, new: None)


def lost_paths_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Overrides, "lose", lambda self, entry: None)


def leases_never_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Terms, "unwinds_at_s", lambda self, entry, held: inf)
    no_reaper(patch)


def no_reaper(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RouteReaper, "_withdraw", lambda self, is_halted: [])


def a_restart_renews_leases(patch: pytest.MonkeyPatch) -> None:
    adopt = Overrides.adopt

    def generous(self: Any, prefix: str, route: Any) -> None:
        adopt(self, prefix, route)
        self.entries[prefix].lease_until_s = self._clock.monotonic_s() + 10 * self._lease_s

    patch.setattr(Overrides, "adopt", generous)


def nobody_owns(patch: pytest.MonkeyPatch) -> None:
    look = Claim.look

    def mine(self: Any, seen: Any, ready: bool) -> Any:
        note = look(self, seen, ready)
        self.is_mine = True
        return note

    patch.setattr(Claim, "look", mine)


def one_witness(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SessionWitness, "has_lost", lambda self, router, prefix, next_hop: False)


def no_damping(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Damping, "refusal", lambda self, prefix, egress, made_unix_s: None)


def silence_is_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Doubt, "until_s", lambda self, routers: inf)


def moves_to_silent_routers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RoutesState, "doubtful", lambda self, pop, now_s: frozenset())
    patch.setattr(Doubt, "look", lambda self: False)


def another_length_begins_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Grid, "changed", lambda self, length_s, settled_s: Grid(length_s))


def windows_of_a_link_that_left_are_dropped(patch: pytest.MonkeyPatch) -> None:
    resume = Accounting.resume

    def forgetful(self: Any, progress: Any, rows: Any, *others: Any) -> None:
        resume(self, progress, {slot: sums for slot, sums in rows.items() if slot[1] in self._pop.links}, *others)

    patch.setattr(Accounting, "resume", forgetful)


def what_rows_include_is_counted_by_the_inventory_of_now(patch: pytest.MonkeyPatch) -> None:
    resume = Accounting.resume

    def today(self: Any, progress: Any, rows: Any, premises: Any, *others: Any) -> None:
        now = FlowInventory.of(self._pop)
        resume(self, progress, rows, [msgspec.structs.replace(each, inventory=now) for each in premises], *others)

    patch.setattr(Accounting, "resume", today)


def one_table_says_how_far_the_flows_are(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(flow_progress, "agree", lambda last, beside: Agreed(last))


def windows_are_decided_on_again(patch: pytest.MonkeyPatch) -> None:
    agree = flow_progress.agree

    def anew(last: Any, beside: Any) -> Agreed:
        agreed = agree(last, beside)
        return agreed._replace(progress=msgspec.structs.replace(agreed.progress, decided_to_s=0))

    patch.setattr(flow_progress, "agree", anew)


def records_are_sent_before_they_are_in_a_row(patch: pytest.MonkeyPatch) -> None:
    publications = FlowsState.publications

    def all_at_once(self: Any) -> Any:
        return [*publications(self), *self.final_publications()]

    patch.setattr(FlowsState, "publications", all_at_once)


def flows_do_not_wait_for_counters(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Joined, "until_s", lambda self, topics: inf)


def decisions_are_signed_under_another_key(patch: pytest.MonkeyPatch) -> None:
    sign = Signer.sign
    patch.setattr(Signer, "sign", lambda self, topic, key, value: sign(self, topic, "", value))


PLANTS: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        no_offset_check,
        acknowledged_first,
        progress_first,
        changelog_not_awaited,
        replays_not_written_again,
        reading_begins_at_the_commit,
        rows_deleted_before_the_commit,
        no_fence,
        no_budget,
        lost_paths_stay,
        leases_never_end,
        no_reaper,
        a_restart_renews_leases,
        nobody_owns,
        one_witness,
        no_damping,
        silence_is_believed,
        moves_to_silent_routers,
        another_length_begins_at_once,
        windows_of_a_link_that_left_are_dropped,
        what_rows_include_is_counted_by_the_inventory_of_now,
        one_table_says_how_far_the_flows_are,
        windows_are_decided_on_again,
        records_are_sent_before_they_are_in_a_row,
        flows_do_not_wait_for_counters,
        decisions_are_signed_under_another_key,
    )
}


def caught(name: str, first: int) -> tuple[int, str]:
    """(seed, violation) of the first seed that catches it: the one that did when this was written, else any of SEEDS.

    Runs in an interpreter of its own, where hashing is fixed. LookupError where none does.
    """
    with pytest.MonkeyPatch.context() as patch:
        PLANTS[name](patch)
        for seed in (first, *range(SEEDS)):
            if violation := run_seed(seed, with_faults=True).violation:
                return seed, violation
    raise LookupError(f"{name}: not caught within {SEEDS} seeds")
