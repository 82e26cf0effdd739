"""What the inventory says of routes holds for those that are known, after a reload as after a restart."""

import json
from collections.abc import Callable

import msgspec
import pytest

from app.config.inventory import Pop
from app.te.routing.natural import NaturalRouting
from app.te.routing.path import Path
from tables.store import HEADER
from tests.agents.test_routes import DATA, DEMO_POP, PREFIX, ROW, UP, Rig

LINK = "rhv1000/r2/xe-0/0/1"  # of frr, whose records have no local_pref
AT_R1 = "rhv1000/r1/et-0/0/1"


def with_link(pop: Pop, **changes: object) -> Pop:
    links = (msgspec.structs.replace(link, **changes) if pop.link_id(link) == LINK else link for link in pop.link)
    return msgspec.structs.replace(pop, link=tuple(links))


def without_link(pop: Pop) -> Pop:
    return msgspec.structs.replace(pop, link=tuple(link for link in pop.link if pop.link_id(link) != LINK))


def reload(rig: Rig, pop: Pop) -> None:
    rig.state.reconfigure({"rhv1000": pop})


def restart(rig: Rig, pop: Pop) -> None:
    rig.flush()
    rig.restart(pop)


@pytest.fixture(params=[reload, restart])
def take_over(request: pytest.FixtureRequest) -> Callable[[Rig, Pop], None]:
    chosen: Callable[[Rig, Pop], None] = request.param
    return chosen


def egress(rig: Rig, pop: Pop) -> str:
    """By which link traffic that enters at r2 leaves."""
    found = NaturalRouting(pop, rig.state.ribs["rhv1000"]).natural_exit("r2", PREFIX)
    assert found is not None
    return found.link


def test_another_local_pref_holds_for_routes_that_are_known(take_over: Callable[[Rig, Pop], None]) -> None:
    rig = Rig()
    rig.feed(*UP)
    assert egress(rig, DEMO_POP) == LINK
    take_over(rig, low := with_link(DEMO_POP, local_pref=50))
    assert egress(rig, low) == AT_R1
    take_over(rig, DEMO_POP)
    assert egress(rig, DEMO_POP) == LINK


def test_a_link_that_enters_the_inventory_later_has_its_own(take_over: Callable[[Rig, Pop], None]) -> None:
    rig = Rig()
    rig.restart(without_link(DEMO_POP))
    rig.feed(*UP)
    assert egress(rig, without_link(DEMO_POP)) == AT_R1
    take_over(rig, DEMO_POP)
    assert egress(rig, DEMO_POP) == LINK


def test_what_the_router_reports_outranks_the_inventory(take_over: Callable[[Rig, Pop], None]) -> None:
    rig = Rig()
    rig.feed(*UP[:-1])
    rig.raw(json.dumps(json.loads((DATA / "frr_update.json").read_text()) | {"local_pref": 400}).encode(), len(UP))
    take_over(rig, low := with_link(DEMO_POP, local_pref=50))
    assert egress(rig, low) == LINK


def test_the_as_of_a_peer_that_its_router_does_not_give_is_the_inventorys(
    take_over: Callable[[Rig, Pop], None],
) -> None:
    rig = Rig()
    rig.feed(*UP)
    rig.raw(json.dumps(json.loads((DATA / "frr_peer_up.json").read_text()) | {"peer_asn": 0}).encode(), len(UP))
    [session] = DEMO_POP.links[LINK].sessions
    take_over(rig, with_link(DEMO_POP, sessions=(msgspec.structs.replace(session, asn=64999),)))
    assert rig.state.ribs["rhv1000"].peer_asn("r2", session.peer) == 64999


def test_how_long_a_dump_may_take_to_begin_is_taken_over(take_over: Callable[[Rig, Pop], None]) -> None:
    rig = Rig()
    rig.feed(*UP)
    rig.feed_again("gobgpd_init", first=len(UP), at_s=1.0)
    patient = [msgspec.structs.replace(router, bmp_silence_s=300) for router in DEMO_POP.router]
    rig.flush()
    take_over(rig, msgspec.structs.replace(DEMO_POP, router=tuple(patient)))
    assert [each.first_s for each in rig.state.feeds["rhv1000"].sessions.awaited.values()] == [600.0]


def test_rows_of_before_follow_the_inventory_and_are_written_again() -> None:
    """They have the inventory's local_pref where BMP has none: what equals it is taken for that."""
    rig = Rig()
    rig.feed(*UP)
    rig.flush()
    row = rig.table.rows.get(ROW)
    assert row is not None
    paths = [(prefix, msgspec.Raw(_of_before(bytes(packed)))) for prefix, packed in row.paths]
    packed = msgspec.msgpack.encode(
        {"applied": row.applied, "flush": row.flush, "paths": paths, "awaited": row.awaited}
    )
    progress = rig.table.table.get(b"rhv1000|progress")
    assert progress is not None
    rig.table.table[ROW.encode()] = HEADER.pack(4, row.applied) + packed
    rig.table.table[b"rhv1000|progress"] = bytes([4]) + progress[1:]
    rig.restart()
    assert (egress(rig, DEMO_POP), rig.flush()) == (LINK, [ROW, "rhv1000|progress"])
    assert {version(rig, key) for key in (ROW, "rhv1000|progress")} == {5}
    low = with_link(DEMO_POP, local_pref=50)
    reload(rig, low)
    assert egress(rig, low) == AT_R1
    rig.restart(low)
    assert egress(rig, low) == AT_R1


def _of_before(packed: bytes) -> bytes:
    path_set = msgspec.msgpack.decode(packed, type=tuple[tuple[str, Path], ...])
    assert any(path.local_pref is None for _, path in path_set)
    had = [(router, msgspec.structs.replace(path, local_pref=path.local_pref or 300)) for router, path in path_set]
    return msgspec.msgpack.encode(had)


def version(rig: Rig, key: str) -> int:
    stored = rig.table.table.get(key.encode())
    assert stored is not None
    return int(HEADER.unpack_from(stored)[0])
