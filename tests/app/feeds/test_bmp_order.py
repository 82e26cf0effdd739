"""The records of a BMP session make the same table in whichever order they come."""

import random
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from app.feeds.bmp import BmpRecord
from app.feeds.bmp_clocks import WriterClock
from app.feeds.bmp_order import WORDS_MAX, LastWords, left_out
from app.feeds.rib_feed import RibFeed
from app.te.routing.rib import Rib
from tests.app.feeds.test_bmp import captured
from tests.pops import demo_pop

PREFIXES = tuple(f"20.0.{number}.0/24" for number in range(6))
PEERS = ("127.0.0.34", "127.0.0.35")
Table = dict[str, dict[str, tuple[int, ...]]]


def session(chance: random.Random, flaps: bool) -> Iterator[BmpRecord]:
    """What FRR says of two peers that change their minds, numbered from 1 on."""
    said: list[tuple[str, dict[str, object]]] = [("frr_init", {})]
    said += [("frr_peer_up", {"peer_ip": peer}) for peer in PEERS]
    for _ in range(60):
        peer, prefix = chance.choice(PEERS), chance.choice(PREFIXES)
        kind, path = chance.choice(("frr_update", "frr_update", "frr_withdraw")), f"64604 {chance.randint(1, 99)}"
        if flaps and chance.random() < 0.05:
            said += [("frr_peer_down", {"peer_ip": peer}), ("frr_peer_up", {"peer_ip": peer})]
        said.append((kind, {"peer_ip": peer, "ip_prefix": prefix, "as_path": path}))
    for seq, (name, changes) in enumerate(said, 1):
        yield captured(name, seq=seq, **changes)


def shuffled(records: Sequence[BmpRecord], chance: random.Random, furthest: int) -> list[BmpRecord]:
    places = [place + chance.uniform(0, furthest) for place in range(len(records))]
    return [records[place] for place in sorted(range(len(records)), key=places.__getitem__)]


def fed(records: Sequence[BmpRecord]) -> RibFeed:
    feed = RibFeed(demo_pop(), Rib())
    feed.sessions.applied = 0
    for record in records:
        feed.apply(record)
    return feed


def table_of(feed: RibFeed) -> Table:
    paths = {prefix: feed.rib.paths("r2", prefix).values() for prefix in PREFIXES}
    return {prefix: {path.peer: path.as_path for path in of} for prefix, of in paths.items()}


@pytest.mark.parametrize("seed", range(50))
def test_the_highest_number_counts_in_whichever_order_records_come(seed: int) -> None:
    chance = random.Random(seed)
    records = list(session(chance, flaps=False))
    feed = fed(shuffled(records, chance, 30))
    assert table_of(feed) == table_of(fed(records))
    assert feed.sessions.steps_back > 0
    assert feed.sessions.missing <= records[0].seq, "it is not known with which number the collector began"


@pytest.mark.parametrize("seed", range(50))
def test_a_table_that_may_have_old_paths_is_in_doubt(seed: int) -> None:
    chance = random.Random(seed)
    records = list(session(chance, flaps=True))
    feed, true = fed(shuffled(records, chance, 30)), fed(records)
    assert set(feed.rib.peers("r2")) == set(true.rib.peers("r2"))
    for prefix, paths in table_of(true).items():
        assert paths.items() <= table_of(feed)[prefix].items(), "none is lost"
    assert table_of(feed) == table_of(true) or feed.doubtful(0.0) >= {"r2"}


def test_in_order_nothing_is_outdated_or_counted() -> None:
    feed = fed(list(session(random.Random(1), flaps=True)))
    assert (feed.sessions.ignored, feed.sessions.missing, feed.sessions.steps_back) == ({}, 0, 0)


def test_records_without_numbers_count_as_they_come() -> None:
    words = LastWords()
    assert not words.path_is_outdated(captured("frr_update", seq=7), PEERS[0])
    assert not words.path_is_outdated(captured("frr_withdraw", seq=0), PEERS[0])


def test_the_oldest_words_are_forgotten() -> None:
    words, first = LastWords(), captured("frr_update", seq=1, as_path_id=1)
    later = msgspec.structs.replace(first, seq=2)
    for records in (range(3, WORDS_MAX), range(WORDS_MAX, 2 * WORDS_MAX + 3)):
        assert not words.path_is_outdated(later, PEERS[0])
        assert words.path_is_outdated(first, PEERS[0])
        for seq in records:
            words.path_is_outdated(msgspec.structs.replace(first, seq=seq, as_path_id=seq), PEERS[0])
    assert not words.path_is_outdated(first, PEERS[0])


@pytest.mark.parametrize(
    ("before", "seq", "expected"), [(5, 6, 0), (5, 9, 3), (5, 3, -1), (5, 5, 0), (0, 9, 0), (5, 0, 0)]
)
def test_numbers_that_are_left_out_or_come_late_are_told(before: int, seq: int, expected: int) -> None:
    assert left_out(WriterClock(0.0, 0.0, seq=before), seq) == expected
    assert left_out(None, seq) == 0
