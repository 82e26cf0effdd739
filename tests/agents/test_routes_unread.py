"""BMP sessions of which something was not read, or that began under another name: in doubt until the next one."""

import json

import msgspec
import pytest

from agents.routes import summary
from app.config.inventory import Pop
from app.stream.consumer import Record
from app.stream.fetching import Hole
from tests.agents.test_routes import DATA, DEMO_POP, PREFIX, TOPIC, UP, Rig

AT_OWN_ADDRESS = msgspec.structs.replace(
    DEMO_POP,
    router=tuple(msgspec.structs.replace(each, bmp_address=f"10.9.0.{each.name[1]}") for each in DEMO_POP.router),
)
INCOMPLETE = [("bmp-incomplete", "r1"), ("bmp-incomplete", "r2")]


class Alive(Rig):
    """Both routers, each with an address of its own. Their records are numbered as they come, if not otherwise."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.pop, self.at_s, self.next = AT_OWN_ADDRESS, 0.0, 0
        self.port = {"gobgpd": 50_001, "frr": 50_002}
        self.restart(self.pop)
        for name in names:
            self.say(name)

    def say(self, name: str, **changes: object) -> None:
        speaker = name.partition("_")[0]
        own = {"bmp_router": f"10.9.0.{1 if speaker == 'gobgpd' else 2}", "bmp_router_port": self.port[speaker]}
        raw = json.loads((DATA / f"{name}.json").read_text()) | own | {"seq": 100 + self.next} | changes
        record = Record(self.next, self.at_s, None, json.dumps(raw).encode())
        self.state.apply(TOPIC, [record])
        self.next += 1
        self.end = self.next

    def live(self, for_s: float = 10.0) -> None:
        """Let the sessions send statistics for so long."""
        until_s = self.at_s + for_s
        while self.at_s < until_s:
            self.at_s += 10.0
            for speaker in self.port:
                self.say(f"{speaker}_init", bmp_msg_type="stats")

    def lose(self, records: int, is_missing: bool = True) -> None:
        """Nobody reads these."""
        self.state.skip(TOPIC, Hole(self.next, self.next + records, self.at_s, is_missing=is_missing))
        self.next += records

    def begin_again(self, of: str, *messages: str) -> None:
        """A session from another port; the one before has ended."""
        self.say(f"{of}_init", event_type="log_close")
        self.port[of] += 1_000
        for message in ("init", *messages):
            self.say(f"{of}_{message}")

    def become(self, pop: Pop) -> None:
        """A restart with this inventory."""
        self.flush()
        self.pop = pop
        self.restart(pop)
        self.end = self.next

    def doubtful(self) -> set[str]:
        return set(self.state.doubtful(self.pop, self.at_s))

    def notices(self) -> list[tuple[str, str]]:
        return [(notice.kind, notice.where) for notice in self.state.notices(self.pop, self.at_s)]


def renamed(pop: Pop, **names: str) -> Pop:
    replace = msgspec.structs.replace
    routers = tuple(
        replace(
            router,
            name=names.get(router.name, router.name),
            core={names.get(name, name): cost for name, cost in router.core.items()},
            igp_cost={names.get(name, name): cost for name, cost in router.igp_cost.items()},
        )
        for router in pop.router
    )
    links = tuple(replace(link, router=names.get(link.router, link.router)) for link in pop.link)
    return replace(pop, router=routers, link=links)


def test_what_is_read_from_its_beginning_is_whole() -> None:
    rig = Alive(*UP)
    rig.live()
    assert (rig.doubtful(), rig.notices()) == (set(), [])


def test_a_session_whose_beginning_was_not_read_is_in_doubt_until_the_next_one() -> None:
    """The topic keeps less than the age of the session: what there is of it is a part of the table."""
    rig = Alive("gobgpd_update", "frr_peer_up")
    rig.live(200.0)
    assert (rig.doubtful(), rig.notices()) == ({"r1", "r2"}, INCOMPLETE)
    assert rig.held("r1") == ["127.0.0.31"], "nothing is taken away"
    rig.become(rig.pop)
    assert rig.notices() == INCOMPLETE, "a restart has not read it either"
    rig.begin_again("gobgpd", "peer_up", "update")
    rig.live(200.0)
    assert (rig.doubtful(), rig.notices()) == ({"r2"}, INCOMPLETE[1:])


def test_an_initiation_message_that_comes_after_other_records_is_the_beginning() -> None:
    rig = Alive()
    rig.say("gobgpd_peer_up", seq=12)
    rig.say("gobgpd_init", seq=11)
    rig.live()
    assert "r1" not in rig.doubtful()


def test_one_that_was_sent_later_is_information() -> None:
    rig = Alive()
    rig.say("gobgpd_peer_up", seq=12)
    rig.say("gobgpd_init", seq=13)
    rig.live()
    assert "r1" in rig.doubtful()


def test_after_records_that_nobody_read_all_routers_are_in_doubt_until_their_next_session() -> None:
    """Any withdrawal may have been among them."""
    rig = Alive(*UP)
    rig.live()
    rig.lose(100)
    rig.live(200.0)
    assert (rig.doubtful(), rig.notices()) == ({"r1", "r2"}, INCOMPLETE)
    rig.become(rig.pop)
    rig.state.skip(TOPIC, Hole(rig.next - 10, rig.next - 1, rig.at_s, is_missing=True))
    rig.begin_again("frr", "peer_up", "update")
    rig.live(200.0)
    assert (rig.doubtful(), rig.notices()) == ({"r1"}, INCOMPLETE[:1]), "it was skipped before"


def test_what_a_session_awaits_when_records_are_missing_may_have_come() -> None:
    rig = Alive(*UP)
    rig.begin_again("gobgpd")
    rig.lose(100)
    rig.live(200.0)
    assert rig.held("r1") == ["127.0.0.31"]
    assert rig.notices()[0] == INCOMPLETE[0]


def test_the_end_of_a_transaction_is_no_gap() -> None:
    rig = Alive(*UP)
    rig.lose(1, is_missing=False)
    rig.live()
    assert rig.doubtful() == set()


def test_a_renamed_router_keeps_its_routes() -> None:
    """Same address: without its routes, its traffic seemed to leave by the others. It says once what it has to say."""
    rig = Alive(*UP)
    rig.live()
    for name in ("edge1", "ams1", "r1"):
        rig.become(renamed(AT_OWN_ADDRESS, r1=name))
        rig.live()
        assert (rig.doubtful(), rig.notices()) == (set(), [])
        assert rig.held(name) == ["127.0.0.31"]
        assert summary(rig.state.feeds["rhv1000"])[name] == {"prefixes": 1, "peers": 1}


@pytest.mark.parametrize("flushes", [0, 1, 2, 3])
def test_so_it_does_wherever_the_worker_dies(flushes: int) -> None:
    rig = Alive(*UP)
    rig.live()
    rig.become(pop := renamed(rig.pop, r1="edge1"))
    for _ in range(flushes):
        rig.flush()
    rig.restart(pop)
    assert rig.held("edge1") == ["127.0.0.31"]
    for _ in range(3):
        rig.flush()
    rig.live()
    for _ in range(3):
        rig.flush()
    assert rig.state.feeds["rhv1000"].sessions.renamed == {}
    rig.restart(pop)
    assert (rig.held("edge1"), rig.held("r2")) == (["127.0.0.31"], ["127.0.0.34"])


def test_what_a_renamed_router_withdraws_goes() -> None:
    rig = Alive(*UP)
    rig.become(renamed(rig.pop, r1="edge1"))
    rig.say("gobgpd_withdraw", ip_prefix=PREFIX, peer_ip="127.0.0.31")
    assert rig.held("edge1") == []


def test_routers_behind_one_address_keep_their_routes_by_the_names_they_gave() -> None:
    rig = Rig()
    rig.feed(*UP)
    rig.flush()
    pop = renamed(DEMO_POP, r1="edge1")
    sysnames = {"edge1": "r1", "r2": "r2"}
    routers = [msgspec.structs.replace(each, bmp_sysname=sysnames[each.name]) for each in pop.router]
    rig.restart(msgspec.structs.replace(pop, router=tuple(routers)))
    assert (rig.held("edge1"), rig.held("r2")) == (["127.0.0.31"], ["127.0.0.34"])


def test_a_router_that_is_another_device_now_is_in_doubt_until_its_next_session() -> None:
    """The name, its links and its address are those of another one, which says so."""
    rig = Alive(*UP)
    rig.live()
    away = {"r1": "10.9.9.9", "r2": "10.9.0.2"}
    routers = [msgspec.structs.replace(each, bmp_address=away[each.name]) for each in rig.pop.router]
    rig.become(renamed(msgspec.structs.replace(rig.pop, router=tuple(routers)), r1="edge1"))
    rig.live(200.0)
    assert (rig.doubtful(), rig.notices()) == ({"edge1"}, [("bmp-never-heard", "edge1"), ("bmp-unnamed", "10.9.0.1")])


def test_routers_that_change_their_names_are_not_believed_for_each_other() -> None:
    rig = Alive(*UP)
    rig.live()
    rig.become(renamed(rig.pop, r1="r2", r2="r1"))
    assert (rig.held("r1"), rig.held("r2")) == ([], [])
    rig.live()
    assert rig.doubtful() == {"r1", "r2"}


def test_routers_behind_one_address_are_told_apart_by_the_names_they_gave() -> None:
    rig = Rig()
    rig.feed(*UP)
    rig.flush()
    swapped = [
        msgspec.structs.replace(each, bmp_sysname={"r1": "r2", "r2": "r1"}[each.bmp_sysname])
        for each in DEMO_POP.router
    ]
    rig.restart(msgspec.structs.replace(DEMO_POP, router=tuple(swapped)))
    assert (rig.held("r1"), rig.held("r2")) == ([], [])
    sessions = rig.state.feeds["rhv1000"].sessions.sessions
    assert [(each.router, each.unread) for each in sessions.values()] == [("r2", "beginning"), ("r1", "beginning")]


def test_paths_of_a_router_that_left_are_not_there_when_it_comes_back() -> None:
    rig = Alive(*UP)
    rig.live()
    before = rig.pop
    [other] = [router for router in before.router if router.name != "r1"]
    rig.become(msgspec.structs.replace(before, router=(other,)))
    for _ in range(3):
        rig.flush()
    rig.become(before)
    assert rig.held("r1") == []


def test_records_in_a_wrong_order_amid_the_dump_leave_it_in_doubt() -> None:
    rig = Alive(*UP)
    rig.begin_again("gobgpd")
    for message, seq in (("update", 300), ("peer_down", 200), ("peer_up", 301)):
        rig.say(f"gobgpd_{message}", seq=seq)
    rig.next = 400
    rig.live(200.0)
    assert rig.doubtful() == {"r1"}
