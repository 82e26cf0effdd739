"""The bad input of the demo: each byte has one place, and no two places have the same sum."""

from app.config.thresholds import WindowSettings
from app.feeds.accounting import Accounting
from app.feeds.attribution import Origins
from app.feeds.columns import FlowSource
from app.feeds.rejected import Rejected
from app.lab.demo.badrecords import MALFORMED, RATE, SAMPLES, UNROUTABLE, datagrams, records
from app.te.routing.lpm import PrefixTable
from app.te.traffic.premises import FlowInventory
from tests.app.lab.pop.wire import decode, destination
from tests.pops import demo_pop

NOW_S = 1_795_246_109.0
GOOD_HOST = "20.0.0.9"


def test_what_goes_into_kafka_ends_where_it_is_said_to() -> None:
    pop, table = demo_pop(), PrefixTable.build(["0.0.0.0/0"])
    message, injected = records(pop, GOOD_HOST, NOW_S)
    account = Accounting(pop, WindowSettings(), lambda: table)
    account.progress.closed_up_to_s = int(NOW_S) - 20
    assert list(account.ingest(0, [NOW_S], [message])) == []
    letters = [letter for _, letter in account.ingest(1, [NOW_S], [b"\n".join(MALFORMED)])]
    assert len(letters) == injected.dead_letters
    assert all(isinstance(letter, Rejected) for letter in letters)
    assert account.progress.late_bytes == injected.late_bytes
    by_flow = {reason: count for reason, count in injected.unattributed_bytes.items() if reason not in by_sflow()}
    assert account.progress.unattributed_bytes == by_flow
    assert account.open == {}


def by_sflow() -> dict[str, int]:
    return {kind.reason: 0 for kind in SAMPLES}


def test_every_reason_has_a_sum_of_its_own() -> None:
    _, injected = records(demo_pop(), GOOD_HOST, NOW_S)
    sums = [*injected.unattributed_bytes.values(), injected.late_bytes]
    assert len(set(sums)) == len(sums)


def test_what_goes_by_sflow_is_what_it_is_said_to_be() -> None:
    pop = demo_pop()
    told, origins = by_sflow(), Origins(FlowInventory.of(pop))
    for payload in datagrams(pop, GOOD_HOST):
        datagram = decode(payload)
        for sample in datagram.flows:
            to, size_bytes = destination(sample["header"]), sample["frame_length"]
            origin = origins.of(FlowSource(datagram.agent, sample["input"], sample["output"], RATE))
            reason = origin.reason or ("unroutable" if to == UNROUTABLE else "good")
            told[reason] += sample["rate"] * size_bytes
    _, injected = records(pop, GOOD_HOST, NOW_S)
    assert told == {reason: injected.unattributed_bytes[reason] for reason in told}
