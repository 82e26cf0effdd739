"""Demands: pairs have numbers that windows share, and the sums are those of a dictionary."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from app.te.routing.lpm import Addresses, PrefixTable
from app.te.traffic.demand import NO_ROUTE, Demand, PairIndex

PAIRS = st.tuples(st.sampled_from(["r1", "r2"]), st.sampled_from(["20.0.0.0/24", "20.0.1.0/24", "2001:db8::/32"]))
RECORDS = st.lists(st.tuples(PAIRS, st.integers(0, 1 << 40) | st.integers(0, 2), st.integers(0, 9)), max_size=20)
Record = tuple[tuple[str, str], int, int]


def added(demand: Demand, records: list[Record]) -> Demand:
    for pair, size_bytes, samples in records:
        demand.add(*(np.array([one]) for one in (demand.pairs.number(pair), size_bytes, samples)))
    return demand


def amounts(demand: Demand) -> dict[tuple[str, str], tuple[int, int]]:
    return {(one.ingress, one.prefix): (one.size_bytes, one.samples) for one in demand}


@given(RECORDS, RECORDS)
def test_the_sums_are_those_of_a_dictionary_whenever_somebody_looks(before: list[Record], after: list[Record]) -> None:
    demand = added(Demand(), before)
    len(demand)
    added(demand, after)
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for pair, size_bytes, samples in before + after:
        was = sums.get(pair, (0, 0))
        sums[pair] = was[0] + size_bytes, was[1] + samples
    assert amounts(demand) == sums
    assert demand == Demand.of(sums) == Demand.unpacked(demand.packed())


@given(RECORDS, RECORDS)
def test_in_other_numbers_they_are_the_same(records: list[Record], others: list[Record]) -> None:
    demand, other = added(Demand(), records), added(Demand(), others)
    moved = demand.numbered(other.pairs)
    assert moved.pairs is other.pairs
    assert amounts(moved) == amounts(demand)
    assert moved.numbered(other.pairs) is moved


@given(RECORDS, st.integers(1, 4))
def test_the_largest_prefixes_and_those_of_some_are_found(records: list[Record], count: int) -> None:
    demand = added(Demand(), records)
    for wanted in ((), ("20.0.1.0/24", "2001:db8::/32", "unknown")):
        assert list(demand.of_prefixes(wanted)) == [one for one in demand if one.prefix in wanted]
    sums: dict[str, tuple[int, int]] = {}
    for one in demand:
        was = sums.get(one.prefix, (0, 0))
        sums[one.prefix] = was[0] + one.size_bytes, was[1] + one.samples
    ordered = sorted(((size_bytes, prefix, samples) for prefix, (size_bytes, samples) in sums.items()), reverse=True)
    assert demand.largest(count) == [(prefix, size_bytes, samples) for size_bytes, prefix, samples in ordered[:count]]


def test_pairs_are_found_by_router_and_in_the_table_of_the_moment() -> None:
    pairs, wide, narrow = (
        PairIndex(),
        PrefixTable.build(["20.0.0.0/8"]),
        PrefixTable.build(["20.0.0.0/8", "20.0.0.0/24"]),
    )
    addresses = Addresses.of(["20.0.0.1", "10.0.0.1", "20.9.0.1"])
    by_both = np.array([0, 1]).repeat(len(addresses.versions))
    told = [(wide, ["r1", "r2"], by_both), (narrow, ["r1"], by_both[by_both == 0])]
    places = [np.tile(table.find(addresses), len(routers)) for table, routers, _ in told]
    found = [pairs.numbers_of(*told[i], places[i]).tolist() for i in range(2)]
    names = [[pairs.keys[number] if number != NO_ROUTE else None for number in numbers] for numbers in found]
    assert names == [
        [("r1", "20.0.0.0/8"), None, ("r1", "20.0.0.0/8"), ("r2", "20.0.0.0/8"), None, ("r2", "20.0.0.0/8")],
        [("r1", "20.0.0.0/24"), None, ("r1", "20.0.0.0/8")],
    ]
    assert len(pairs) == 3


def test_what_has_no_route_is_in_no_sum() -> None:
    demand = Demand()
    demand.add(np.array([NO_ROUTE]), np.array([7]), np.array([1]))
    assert not demand
    assert demand.packed() == {}
