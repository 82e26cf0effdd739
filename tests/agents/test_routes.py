"""The routes state: packed rows in front of which the Rib lives, and what a restart finds in them."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from faust.types import TP

from agents.routes import RoutesRead, RoutesState, summary
from app.actuation.bmp_witness import BmpWitness
from app.config.inventory import Pop
from app.feeds.rib_feed import RibFeed
from app.feeds.stale_paths import FIRST_WITHIN_S
from app.stream.consumer import Record
from app.te.routing.natural import NaturalRouting
from app.te.routing.rib import Rib, bucket_of
from tables.rib import KeptRib, RibTable
from tests.agents.outbox import Outbox
from tests.pops import demo_pop
from tests.tables.memory import memory_table, written

DATA = Path(__file__).parents[1] / "data" / "bmp"
TOPIC = TP("bmp-rhv1000", 0)
PREFIX = "20.0.0.0/24"
DEMO_POP = demo_pop()
UP = ("gobgpd_init", "gobgpd_peer_up", "gobgpd_update", "frr_init", "frr_peer_up", "frr_update")


class Rig:
    """A RoutesState over a table in memory; `restart` keeps the table and forgets the rest."""

    def __init__(self) -> None:
        self.table = RibTable(memory_table("rib"))
        self.restart()

    def restart(self, pop: Pop = DEMO_POP) -> None:
        self.changes: list[tuple[str, str, list[str]]] = []
        self.outbox = Outbox()

        def changed(pop: str, router: str, prefixes: Sequence[str]) -> None:
            self.changes.append((pop, router, list(prefixes)))

        self.end: int | None = 0
        self.state = RoutesState({"rhv1000": pop}, self.table, self.outbox.publisher, changed, lambda topic: self.end)
        self.state.load()
        written(self.table.table)
        assert self.flush() == ["rhv1000|progress"], "before the first row, its number"

    def feed(self, *names: str, first: int = 0, at_s: float = 0.0) -> None:
        for offset, name in enumerate(names, first):
            self.raw((DATA / f"{name}.json").read_bytes(), offset, at_s)

    def feed_again(self, *names: str, first: int, at_s: float) -> None:
        """In another BMP session."""
        for offset, name in enumerate(names, first):
            raw = json.loads((DATA / f"{name}.json").read_text()) | {"bmp_router_port": 60_000, "seq": 1000 + offset}
            self.raw(json.dumps(raw).encode(), offset, at_s)

    def raw(self, value: bytes, offset: int, at_s: float = 0.0) -> None:
        self.state.apply(TOPIC, [Record(offset, at_s, None, value)])

    def flush(self) -> list[str]:
        self.state.write_rows()
        self.state.write_progress()
        return written(self.table.table)

    def held(self, router: str) -> list[str]:
        return [path.peer for path in self.state.ribs["rhv1000"].paths(router, PREFIX).values()]


ROW = f"rhv1000|bucket|{bucket_of(PREFIX):04d}"


def test_paths_peers_and_sessions_survive_a_restart() -> None:
    rig = Rig()
    rig.feed(*UP)
    assert rig.flush() == [ROW, "rhv1000|progress"]
    rig.restart()
    assert (rig.held("r1"), rig.held("r2")) == (["127.0.0.31"], ["127.0.0.34"])
    assert summary(rig.state.feeds["rhv1000"])["r1"] == {"prefixes": 1, "peers": 1}
    rig.feed("gobgpd_peer_down", first=len(UP))
    assert rig.held("r1") == []


def test_a_change_is_told_with_its_router_and_prefixes() -> None:
    rig = Rig()
    rig.feed(*UP, "frr_peer_down")
    assert rig.changes[-1] == ("rhv1000", "r2", [PREFIX])


def test_a_replay_changes_nothing_and_needs_no_row() -> None:
    rig = Rig()
    rig.feed(*UP)
    rig.flush()
    rig.restart()
    rig.feed(*UP)
    assert rig.changes == []
    assert rig.flush() == [], "all rows were in the changelog before the progress was written"


def test_rows_ahead_of_the_progress_are_written_again_without_their_records() -> None:
    rig = Rig()
    rig.feed(*UP)
    rig.flush()
    rig.feed("gobgpd_peer_down", first=len(UP))
    rig.state.write_rows()  # the disk has it, the changelog may not, and the process dies
    rig.restart()
    assert rig.held("r1") == []
    written(rig.table.table)
    rig.feed("gobgpd_peer_down", first=len(UP))
    assert rig.flush() == [ROW, "rhv1000|progress"]


def test_no_row_goes_back_in_its_position() -> None:
    rig = Rig()
    rig.feed(*UP, "gobgpd_withdraw")
    rig.state.write_rows()
    rig.restart()
    rig.feed(*UP)
    rig.flush()
    row = rig.table.rows.get(ROW)
    assert row is not None
    assert row.applied == len(UP)


def test_a_router_that_left_the_inventory_is_forgotten() -> None:
    """Natural routing would not know where to put it, and no session would take its paths back."""
    rig = Rig()
    rig.feed(*UP)
    rig.feed("frr_init", first=len(UP))
    rig.flush()
    [other] = [router for router in DEMO_POP.router if router.name != "r2"]
    pop = msgspec.structs.replace(DEMO_POP, router=(other,))
    rig.restart(pop)
    rig.feed("frr_update", first=len(UP) + 1)
    rib = rig.state.ribs["rhv1000"]
    assert NaturalRouting(pop, rib).routes(PREFIX).exits.keys() == {"r1"}
    assert (rib.routers(), rib.peers("r2")) == ({"r1"}, [])


def test_what_rows_lack_is_replay() -> None:
    rig = Rig()
    rig.feed(*UP)
    assert rig.state.checkpoint() == {TOPIC.topic: -1}
    rig.flush()
    assert rig.state.checkpoint() == {TOPIC.topic: len(UP) - 1}
    rig.restart()
    assert rig.state.checkpoint() == {TOPIC.topic: len(UP) - 1}


def test_nothing_seems_read_before_all_rows_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The actuator looks on from another thread, and would take back what copies a path that is not there yet."""
    rig, seen, load = Rig(), [], KeptRib.load
    rig.feed(*UP)
    rig.flush()

    def looked_at(kept: KeptRib) -> None:
        load(kept)
        seen.append(rig.state.feeds["rhv1000"].sessions.applied)

    monkeypatch.setattr(KeptRib, "load", looked_at)
    rig.state.load()
    assert [*seen, rig.state.feeds["rhv1000"].sessions.applied] == [-1, len(UP) - 1]


def test_what_does_not_parse_is_a_dead_letter_once() -> None:
    rig = Rig()
    rig.raw(b"nonsense", 0)
    assert len(rig.outbox.letters) == 1
    rig.raw(b"nonsense", 0)
    assert len(rig.outbox.letters) == 1


def test_revoking_empties_the_rib_that_others_hold() -> None:
    rig = Rig()
    rib = rig.state.ribs["rhv1000"]
    rig.feed(*UP)
    rig.state.reset()
    assert not list(rib.prefixes("r1"))
    rig.flush()
    rig.state.load()
    assert rig.state.ribs["rhv1000"] is rib


STORM = [f"20.{index // 256}.{index % 256}.0/24" for index in range(500)]
STORM_CPU_S = 2.0  # some 30 ms; a storm that is quadratic takes far longer


def route(name: str, prefix: str) -> bytes:
    raw = json.loads((DATA / f"{name}.json").read_text()) | {"ip_prefix": prefix, "peer_ip": "127.0.0.31"}
    return json.dumps(raw).encode()


def stormed() -> Rig:
    """Two routers, 500 prefixes by a peer of r1."""
    rig = Rig()
    rig.feed(*UP)
    for offset, prefix in enumerate(STORM, len(UP)):
        rig.raw(route("gobgpd_update", prefix), offset)
    rig.flush()
    rig.changes.clear()
    return rig


def test_a_storm_of_withdraws_and_peer_down_leaves_nothing_in_bounded_time() -> None:
    rig = stormed()
    began_s = time.process_time()
    for offset, prefix in enumerate(STORM, 1000):
        rig.raw(route("gobgpd_withdraw", prefix), offset)
    rig.feed("gobgpd_peer_down", first=2000)
    rig.flush()
    assert time.process_time() - began_s < STORM_CPU_S
    assert not rig.state.ribs["rhv1000"].prefixes("r1")
    assert rig.held("r2") == ["127.0.0.34"], "the other router keeps its own"
    assert {prefix for _, _, prefixes in rig.changes for prefix in prefixes} == set(STORM)
    rig.restart()
    assert not rig.state.ribs["rhv1000"].prefixes("r1")


def test_peer_down_before_its_withdraws_is_the_same_storm() -> None:
    rig = stormed()
    rig.feed("gobgpd_peer_down", first=1000)
    for offset, prefix in enumerate(STORM, 2000):
        rig.raw(route("gobgpd_withdraw", prefix), offset)
    assert set(rig.changes[0][2]) == set(STORM)
    assert not rig.state.ribs["rhv1000"].prefixes("r1")
    rig.flush()
    rig.restart()
    assert not rig.state.ribs["rhv1000"].prefixes("r1")


def test_a_path_of_a_peer_never_seen_up_is_kept_and_is_no_target() -> None:
    rig = Rig()
    rig.feed("gobgpd_init", "gobgpd_update")
    assert rig.held("r1") == ["127.0.0.31"]
    rib, pop = rig.state.ribs["rhv1000"], demo_pop()
    natural = NaturalRouting(pop, rib)
    egress = natural.natural_exit("r1", PREFIX)
    assert egress is not None
    assert natural.alternates(PREFIX) == ()
    (path,) = rib.paths("r1", PREFIX).values()
    assert natural.barred(egress, path) == "session-down"
    assert not BmpWitness(pop, rib).exit_path(PREFIX, egress)
    rig.feed("gobgpd_peer_up", first=2)
    assert [one.exit for one in natural.alternates(PREFIX)] == [egress]


def test_junk_among_routes_never_reaches_a_row() -> None:
    rig = Rig()
    rig.feed(*UP)
    before = dict(rig.state.ribs["rhv1000"].paths("r1", PREFIX))
    for offset, change in enumerate(({"log_type": "surprise"}, {"peer_ip": ""}), len(UP)):
        rig.raw(json.dumps(json.loads(route("gobgpd_update", PREFIX)) | change).encode(), offset)
    assert rig.state.ribs["rhv1000"].paths("r1", PREFIX) == before
    assert len(rig.outbox.letters) == 2
    rig.flush()


def test_an_update_that_cannot_be_read_takes_the_path_that_it_replaces() -> None:
    """RFC 7606, section 2: the router has given up the old path, whatever the new one is."""
    rig = Rig()
    rig.feed(*UP)
    rig.raw(json.dumps(json.loads(route("gobgpd_update", PREFIX)) | {"local_pref": 2**64}).encode(), len(UP))
    assert rig.held("r1") == []
    [letter] = rig.outbox.letters
    assert f"treated as a withdraw of {PREFIX} by 127.0.0.31 at 127.0.0.1: " in letter
    assert rig.flush() == [ROW, "rhv1000|progress"]


BEGUN_S = 100.0
OVER_S = BEGUN_S + FIRST_WITHIN_S + 1  # the session before is long silent
OTHER = "20.0.7.0/24"


def began_again() -> Rig:
    """Two paths of a peer of r1, whose session begins again; the peer and one of the paths are refreshed."""
    rig = Rig()
    rig.feed(*UP)
    rig.raw(route("gobgpd_update", OTHER), 10)
    rig.flush()
    rig.feed_again("gobgpd_init", "gobgpd_peer_up", "gobgpd_update", first=20, at_s=BEGUN_S)
    return rig


@pytest.mark.parametrize("flushed", [False, True])
def test_a_restart_keeps_which_paths_were_not_refreshed(flushed: bool) -> None:
    rig = began_again()
    rig.state.write_rows()
    if flushed:
        rig.flush()
    rig.restart()
    rig.feed_again("gobgpd_init", "gobgpd_peer_up", "gobgpd_update", first=20, at_s=BEGUN_S)
    assert set(rig.state.ribs["rhv1000"].prefixes("r1")) == {PREFIX, OTHER}
    rig.feed_again("gobgpd_init", first=30, at_s=OVER_S)
    assert set(rig.state.ribs["rhv1000"].prefixes("r1")) == {PREFIX}
    rig.flush()
    rig.restart()
    assert set(rig.state.ribs["rhv1000"].prefixes("r1")) == {PREFIX}


def test_a_row_of_an_earlier_session_is_stale_as_a_whole() -> None:
    rig = Rig()
    rig.feed(*UP)
    rig.flush()
    rig.feed_again("gobgpd_init", first=20, at_s=BEGUN_S)
    rig.flush()
    rig.restart()
    rig.feed_again("gobgpd_init", first=30, at_s=OVER_S)
    assert rig.held("r1") == []
    assert rig.state.ribs["rhv1000"].peers("r1") == []


def test_a_path_of_a_peer_never_seen_up_is_no_longer_stale_after_a_restart() -> None:
    rig = Rig()
    rig.feed("gobgpd_init", "gobgpd_update")
    rig.raw(peer_up("127.0.0.32"), 2)
    rig.raw(route("gobgpd_update", OTHER), 3)
    rig.flush()
    rig.feed_again("gobgpd_init", first=20, at_s=BEGUN_S)
    rig.flush()
    rig.restart()
    rig.raw(peer_up("127.0.0.32"), 21, BEGUN_S)
    rig.feed_again("gobgpd_update", first=22, at_s=BEGUN_S)
    rig.feed("frr_init", first=30, at_s=OVER_S)
    rig.feed("gobgpd_update", first=31, at_s=OVER_S)
    rig.feed("frr_init", first=40, at_s=OVER_S + FIRST_WITHIN_S + 1)
    assert set(rig.state.ribs["rhv1000"].prefixes("r1")) == {PREFIX, OTHER}


def peer_up(peer: str) -> bytes:
    raw = json.loads((DATA / "gobgpd_peer_up.json").read_text()) | {"peer_ip": peer}
    return json.dumps(raw).encode()


class Reading:
    """A feed of one PoP and the end of its topic."""

    def __init__(self) -> None:
        self.end: int | None = None
        self.begin()
        self.read = RoutesRead(lambda: {"rhv1000": self.feed}, self.end_of)

    def begin(self) -> None:
        """Recovery or a rebalance: a new feed."""
        self.feed = RibFeed(demo_pop(), Rib())

    def end_of(self, topic: str) -> int | None:
        assert topic == "bmp-rhv1000"
        return self.end

    def applied(self, offset: int) -> None:
        self.feed.sessions.applied = offset


def test_routes_are_read_once_the_end_that_was_seen_first_is_applied() -> None:
    reading = Reading()
    assert not reading.read("rhv1000")  # nothing fetched yet
    reading.end = 10
    reading.applied(8)
    assert not reading.read("rhv1000")
    reading.end = 1000  # it grows while we read
    reading.applied(9)
    assert reading.read("rhv1000")


def test_an_empty_topic_is_read() -> None:
    reading = Reading()
    reading.end = 0
    assert reading.read("rhv1000")


def test_after_a_rebalance_they_are_read_anew() -> None:
    reading = Reading()
    reading.end = 10
    reading.applied(9)
    assert reading.read("rhv1000")
    reading.begin()
    assert not reading.read("rhv1000")
    reading.applied(9)
    assert reading.read("rhv1000")
