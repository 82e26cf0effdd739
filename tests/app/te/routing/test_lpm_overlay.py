"""Tables that are laid over others, against tables built anew."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.te.routing.lpm import Addresses, PrefixTable
from app.te.routing.lpm_overlay import OverlayTable, TableCache
from app.te.routing.rib import Rib
from tests.app.te.routing.test_lpm import OFFSETS, PREFIXES, around
from tests.app.te.world import path


def test_cache_builds_only_for_another_set() -> None:
    rib, cache = Rib(), TableCache()
    rib.update("r1", "198.51.100.0/24", path(1))
    first = cache.table(rib)
    rib.update("r1", "198.51.100.0/24", path(1, 65000))
    rib.update("r2", "198.51.100.0/24", path(2))
    assert cache.table(rib) is first
    rib.withdraw("r1", "198.51.100.0/24", path(1).peer)
    assert cache.table(rib) is first, "r2 still holds it"
    rib.update("r1", "203.0.113.0/24", path(1))
    assert cache.table(rib).match(["203.0.113.9", "198.51.100.9"]) == ["203.0.113.0/24", "198.51.100.0/24"]


@given(PREFIXES, st.lists(PREFIXES, min_size=1, max_size=4), OFFSETS)
def test_a_table_that_is_laid_over_matches_as_one_built_anew(
    first: list[str], turns: list[list[str]], offsets: list[int]
) -> None:
    rib, cache = Rib(), TableCache()
    for prefix in first:
        rib.update("r1", prefix, path(1))
    addresses = [around(prefix, offset) for prefix in chain(first, *turns) for offset in offsets]
    cache.table(rib)
    for turn in turns:
        for prefix in [*turn, *first[::2]]:
            if not rib.withdraw("r1", prefix, path(1).peer):
                rib.update("r1", prefix, path(1))
        assert cache.table(rib).match(addresses) == PrefixTable.build(rib.all_prefixes()).match(addresses)


def test_many_turns_begin_a_new_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.te.routing.rib.TURNED_MIN", 2)
    rib, cache = Rib(), TableCache()
    cache.table(rib)
    began = rib.epoch
    for third in range(9):
        rib.update("r1", f"203.0.{third}.0/24", path(1))
        assert cache.table(rib).match([f"203.0.{third}.1", f"203.0.{third + 1}.1"]) == [f"203.0.{third}.0/24", None]
    assert rib.epoch > began
    assert len(rib.turned) <= 2


def test_places_of_a_patched_table_are_among_its_names() -> None:
    base = PrefixTable.build(["198.51.0.0/16", "198.51.100.0/24", "203.0.113.0/24"])
    holds = {"198.51.0.0/16", "192.0.2.0/24", "198.51.100.128/25"}
    table = OverlayTable(
        base, ["198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24", "198.51.100.128/25"], holds.__contains__
    )
    size = len(table.names)
    found = table.find(
        Addresses.of(["198.51.100.9", "198.51.100.200", "203.0.113.9", "192.0.2.9", "198.51.7.9"])
    ).tolist()
    names = [table.names[place] if place >= 0 else None for place in found]
    assert names == ["198.51.0.0/16", "198.51.100.128/25", None, "192.0.2.0/24", "198.51.0.0/16"]
    assert len(table.names) == size, "who counts by place has room from the beginning"
