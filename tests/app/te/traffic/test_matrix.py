"""Columns of pairs answer what a list of `Pair` would."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from app.te.traffic.demand import PairIndex
from app.te.traffic.matrix import Columns, Pair, TrafficMatrix

LINKS = {"a": 0, "b": 1, "c": 2}
names = st.sampled_from(sorted(LINKS))
keys = st.tuples(st.sampled_from(["r1", "r2", "r3"]), st.sampled_from("PQRS"))
loads = st.dictionaries(keys, st.tuples(names, names, st.floats(0, 1e12), st.floats(0, 1e6)))


def loads_of(pairs: PairIndex, of: list[Pair]) -> TrafficMatrix:
    columns = Columns(
        np.array([pairs.number((pair.ingress, pair.prefix)) for pair in of], dtype=np.int64),
        np.array([LINKS[pair.natural] for pair in of], dtype=np.int64),
        np.array([LINKS[pair.planned] for pair in of], dtype=np.int64),
        np.array([pair.bps for pair in of], dtype=np.float64),
        np.array([pair.samples for pair in of], dtype=np.float64),
    )
    return TrafficMatrix(pairs, LINKS, columns)


@given(st.lists(keys), loads, st.sets(names))
def test_columns_are_the_objects(
    met: list[tuple[str, str]], of: dict[tuple[str, str], tuple[str, str, float, float]], some: set[str]
) -> None:
    pairs = PairIndex()
    for key in met:
        pairs.number(key)
    known = [Pair(ingress, prefix, *rest) for (ingress, prefix), rest in of.items()]
    found = loads_of(pairs, known)
    pairs.number(("r1", "later"))
    assert len(found) == len(known)
    assert list(found) == known
    for prefix in ["P", "Q", "R", "S", "later", "unknown"]:
        assert found.of(prefix) == [pair for pair in known if pair.prefix == prefix]
    for link in [*LINKS, "unknown"]:
        assert found.leaving(link) == {pair.prefix for pair in known if pair.planned == link}
    assert found.moved == [pair for pair in known if pair.natural != pair.planned]
    assert list(found.planned_on(some)) == [pair for pair in known if pair.planned in some]
