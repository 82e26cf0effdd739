"""The ledger and the worker's own account agree on undisturbed traffic, and the judge sees what is planted."""

from collections import Counter

import msgspec
import pytest

from app.feeds.accounting import Accounting, Closed
from app.feeds.counters import InterfaceCounters
from app.feeds.counters import decode as decode_counters
from app.te.routing.lpm import PrefixTable
from app.te.traffic.demand import Demand
from app.te.traffic.grid import Grid
from app.te.traffic.windows import Sums
from tables.link_windows import LinkWindowRow
from tests.faults.evidence import Row, amounts_of, closed, newest, progress_amounts
from tests.faults.feed import MESSAGES, RECORDS
from tests.faults.judge import Difference, compare_slots, compare_totals
from tests.faults.ledger import Amounts, Slot
from tests.faults.rig import WINDOWS
from tests.faults.traffic import PREFIXES, Mix, Traffic, counter_sample, marker
from tests.pops import capacity_bps, demo_pop

T0, PURGES = 1_795_246_100, 40
POP = demo_pop()


def played(mix: Mix, copies: int = 1) -> tuple[Traffic, Accounting, list[tuple[Slot, Amounts]]]:
    """Purges through the worker's account; the mix is in force in the middle of it."""
    traffic, table = Traffic(POP, WINDOWS, "seed"), PrefixTable.build(PREFIXES)
    account = Accounting(POP, WINDOWS, lambda: table)
    messages: list[tuple[float, bytes]] = []
    for number in range(PURGES):
        at_s, writer, disturbed = T0 + number + 0.3, f"flows/{number}", 10 <= number < 20
        traffic.mix = mix if disturbed else Mix()
        messages.append((at_s, marker("purge_init", writer)))
        closed_s = at_s - 3 - WINDOWS.refresh_s - WINDOWS.grace_s
        times, records = copies if disturbed else 1, 20 if number < PURGES - 10 else 0
        messages += [(at_s, traffic.message(writer, at_s, closed_s, records, times))] * times
        messages.append((at_s, marker("purge_close", writer)))
    outcomes = [one for offset, (at_s, raw) in enumerate(messages) for _, one in account.ingest(offset, [at_s], [raw])]
    rows = [
        (Slot(link, one.start_s), amounts_of(LinkWindowRow(sums)))
        for one in outcomes
        if isinstance(one, Closed)
        for link, sums in one.sums.items()
    ]
    return traffic, account, rows


@pytest.mark.parametrize(
    ("mix", "copies"),
    [
        (Mix(), 1),
        (Mix(), 2),
        (Mix(late_share=0.33), 1),
        (Mix(skew_s=600.0), 1),
        (Mix(skew_s=-600.0), 1),
        (Mix(rates=(1000, 4000)), 1),
        (Mix(renumbered={("r1", 101): 501}), 1),
    ],
)
def test_every_byte_is_where_the_ledger_has_it(mix: Mix, copies: int) -> None:
    traffic, account, rows = played(mix, copies)
    ledger = traffic.ledger.in_windows(Grid(WINDOWS.length_s))
    assert compare_slots("rows", ledger.rows(), rows) == Difference()
    assert compare_totals("progress", ledger.progress(), progress_amounts(account.progress)) == Difference()
    assert account.progress.records == ledger.records
    said = ledger.progress()
    assert min(said["counted"], said["late"], said["unattributed unroutable"], said["unattributed special-interface"])


def test_no_port_carries_more_than_it_can_from_one_reading_to_the_next() -> None:
    """A purge has so many records, however late they are sent, and readings are a purge apart; copies double it."""
    for seed in range(25):
        traffic = Traffic(POP, WINDOWS, str(seed))
        for purge in range(10):
            before = Counter(traffic.carried)
            for _ in range(MESSAGES):
                traffic.message("flows/1", T0 + purge, T0, RECORDS)
            octets = traffic.carried - before
            assert octets.keys() == POP.links.keys()
            loads = [octets[name] * 8 / WINDOWS.refresh_s / capacity_bps(link) for name, link in POP.links.items()]
            assert 0.01 < max(loads) < 0.45


def test_what_is_lost_or_doubled_is_told_apart_and_where() -> None:
    slot, other = Slot("pop/r1/a", 100), Slot("pop/r1/b", 100)
    wanted = {slot: Counter({"r1 p": 10, "r1 q": 5}), other: Counter({"r1 p": 7})}
    found = compare_slots("rows", wanted, [(slot, Counter({"r1 p": 4, "r1 q": 8}))])
    assert (found.bytes_lost, found.bytes_doubled, found.wrong) == (6 + 7, 3, {slot, other})
    assert found.named[0] == "rows pop/r1/a@100: 6 bytes lost, 3 doubled"


def test_a_loss_in_a_window_that_says_gap_is_no_silent_one() -> None:
    slot, other = Slot("pop/r1/a", 100), Slot("pop/r1/b", 100)
    wanted = {slot: Counter({"r1 p": 10}), other: Counter({"r1 p": 7})}
    lost = compare_slots("rows", wanted, [(slot, Counter({"r1 p": 4}))], {slot})
    assert (lost.bytes_lost, lost.bytes_silent, lost.wrong, len(lost.named)) == (6 + 7, 7, {other}, 1)
    assert lost.short == {slot}
    doubled = compare_slots("rows", wanted, [(slot, Counter({"r1 q": 4})), (other, wanted[other])], {slot})
    assert (doubled.bytes_lost, doubled.bytes_silent, doubled.wrong) == (10, 0, {slot})


def test_one_wrong_version_among_right_ones_is_wrong() -> None:
    slot = Slot("pop/r1/a", 100)
    found = compare_slots("published", {slot: Counter(total=10)}, [(slot, Counter(total=n)) for n in (10, 9, 10)])
    assert (found.bytes_lost, found.wrong) == (1, {slot})


def test_a_row_that_was_never_final_is_lost_and_a_stale_one_does_not_count() -> None:
    slot = Slot("pop/r1/a", 100)

    def row(size_bytes: int, applied: int, final: bool) -> Row:
        sums = Sums(applied=applied, size_bytes=size_bytes, demand=Demand.of({("r1", "p"): (size_bytes, 1)}))
        return Row("pop", slot, LinkWindowRow(sums, closed=final))

    wanted = {slot: Counter({"r1 p": 10})}
    cases = [([row(10, 5, False)], 10), ([row(10, 5, True), row(4, 3, True)], 0), ([row(4, 5, True)], 6)]
    for rows, lost in cases:
        assert compare_slots("changelog", wanted, closed(newest(rows), "pop")).bytes_lost == lost


def test_counters_are_what_the_worker_reads() -> None:
    sample = decode_counters(counter_sample("192.0.2.1", 101, T0, 10**9, 10**11))
    assert isinstance(sample, InterfaceCounters)
    assert (sample.up, sample.out_octets, msgspec.structs.asdict(sample)["ifindex"]) == (True, 10**9, 101)
