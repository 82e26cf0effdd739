"""The model of plain BGP: expected choices, one case each."""

import pytest

from app.lab.pop.model import Announcement, InstalledPath
from app.lab.pop.natural import differing, natural_tables
from tests.app.lab.pop.world import LOOPBACK_1, LOOPBACK_2, inventory

PREFIX = "8.8.8.0/24"
PNI_1, IXP_1, TRANSIT_1, PNI_2, IXP_2, TRANSIT_2 = (f"127.0.0.{number}" for number in range(31, 37))


def chosen(paths: dict[str, tuple[int, ...]], *dead: str) -> tuple[str | None, str | None]:
    """Next hops of r1 and r2 when these peers announce the prefix with these AS paths."""
    peers = [peer for link in inventory().link for peer in (link.sessions[0].peer,)]
    routes = {
        peer: (Announcement(PREFIX, f"198.51.100.{1 + peers.index(peer)}", as_path),) for peer, as_path in paths.items()
    }
    tables = natural_tables(inventory(), routes, dead)
    hops = [tables[router][PREFIX].next_hop if PREFIX in tables[router] else None for router in ("r1", "r2")]
    return hops[0], hops[1]


@pytest.mark.parametrize(
    ("paths", "dead", "hops"),
    [
        # local-pref before everything: r2 sends over the core rather than by its own exchange
        ({PNI_1: (1, 2, 3, 9), IXP_2: (5, 9)}, (), ("198.51.100.1", LOOPBACK_1)),
        # equal local-pref: the shorter AS path wins for both
        ({TRANSIT_1: (3, 7, 9), TRANSIT_2: (6, 9)}, (), (LOOPBACK_2, "198.51.100.6")),
        # equal length: each its own exit, eBGP over iBGP
        ({TRANSIT_1: (3, 9), TRANSIT_2: (6, 9)}, (), ("198.51.100.3", "198.51.100.6")),
        # on one router the better kind wins whatever the length
        ({IXP_1: (2, 8, 7, 9), TRANSIT_1: (3, 9)}, (), ("198.51.100.2", LOOPBACK_1)),
        # a dead neighbour's routes are gone, the next best takes over
        ({PNI_1: (1, 9), IXP_2: (5, 9), TRANSIT_1: (3, 9)}, (PNI_1,), (LOOPBACK_2, "198.51.100.5")),
        # the last announcer dead: no route anywhere
        ({PNI_2: (4, 9)}, (PNI_2,), (None, None)),
    ],
)
def test_choice(paths: dict[str, tuple[int, ...]], dead: tuple[str, ...], hops: tuple[str | None, str | None]) -> None:
    assert chosen(paths, *dead) == hops


def test_the_best_path_keeps_its_attributes_across_the_core() -> None:
    tables = natural_tables(inventory(), {PNI_1: (Announcement(PREFIX, "198.51.100.1", (64601, 65001)),)})
    assert tables["r2"][PREFIX].as_path == (64601, 65001)
    assert tables["r2"][PREFIX].local_pref == 300
    assert tables["r2"][PREFIX].communities == ()


def test_a_table_differs_where_a_prefix_lacks_or_has_another_next_hop() -> None:
    def table(**next_hops: str) -> dict[str, InstalledPath]:
        return {prefix: InstalledPath(hop, (), (), 100) for prefix, hop in next_hops.items()}

    natural = {"r1": table(a="1", b="2"), "r2": table(a="1")}
    assert differing({"r1": table(a="1", b="2", own="0"), "r2": table(a="1")}, natural) == []
    assert differing({"r1": table(a="1"), "r2": table(a="9")}, natural) == [("r1", "b"), ("r2", "a")]
