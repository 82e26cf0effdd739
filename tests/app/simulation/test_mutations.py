"""Each bug planted into the product is caught by an invariant; else the simulation would prove nothing."""

from collections.abc import Iterator
from multiprocessing.pool import Pool

import pytest

from app.simulation.campaign import interpreters
from tests.app.simulation.plants import PLANTS, caught

# By plant: the invariants that may be the first to see it, and a seed that does.
SEEN = {
    "no_offset_check": ("I1 I8", 5),
    "acknowledged_first": ("I1 I8", 2),
    "progress_first": ("I1 I8", 1),
    "changelog_not_awaited": ("I1 I8 I13", 129),
    "replays_not_written_again": ("I1 I8", 64),
    "reading_begins_at_the_commit": ("I1 I8", 2),
    "rows_deleted_before_the_commit": ("I1 I2", 49),
    "no_fence": ("I1 I2 I6 I8 I13", 2),
    "no_budget": ("I5", 75),
    "lost_paths_stay": ("I3", 90),
    "leases_never_end": ("I5 I8 I9", 12),
    "no_reaper": ("I9", 12),
    "a_restart_renews_leases": ("I5", 11),
    "nobody_owns": ("I6", 0),
    "one_witness": ("I3", 90),
    "no_damping": ("I12", 42),
    "silence_is_believed": ("I3", 316),
    "moves_to_silent_routers": ("I3", 59),
    "another_length_begins_at_once": ("I1 I8", 20),
    "windows_of_a_link_that_left_are_dropped": ("I1", 2),
    "what_rows_include_is_counted_by_the_inventory_of_now": ("I1", 16),
    "one_table_says_how_far_the_flows_are": ("I1 I8", 27),
    "windows_are_decided_on_again": ("I1 I13", 17),
    "records_are_sent_before_they_are_in_a_row": ("I1 I13", 51),
    "flows_do_not_wait_for_counters": ("I1 I13 I14", 6),
    "decisions_are_signed_under_another_key": ("I0", 0),
}


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with interpreters(1) as pool:
        yield pool


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_caught(name: str, pool: Pool) -> None:
    numbers, first = SEEN[name]
    _, violation = pool.apply(caught, (name, first))
    assert violation.split()[0] in numbers.split()
