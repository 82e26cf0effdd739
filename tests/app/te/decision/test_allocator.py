"""Which prefixes are taken and where they go."""

import pytest

from app.config.inventory import Budgets
from app.contract.schemas import Exit
from app.te.decision.allocator import BUDGET_BOUND, TOO_FEW_SAMPLES, Refuse, Task, allocate, excess_bps
from app.te.decision.guards import Budget
from app.te.decision.ledger import NO_ROOM, NOT_USABLE, SESSION_FULL, Candidate, Ledger
from app.te.routing.natural import Alternate
from app.te.routing.path import Path
from tests.pops import G

GENEROUS = Budgets(max_overrides=10**6, max_moved_share=1.0, max_new_per_cycle=10**6)


def allow(_: Candidate, __: Alternate) -> None:
    """Refuses nothing."""


def to(link: str, number: int = 1) -> Alternate:
    next_hop = f"10.0.0.{number}"
    return Alternate(Exit("r1", link, next_hop, next_hop), Path(next_hop, next_hop, (64600,)))


def candidate(prefix: str, gbps: float, *targets: Alternate, samples: float = 100) -> Candidate:
    return Candidate(prefix, {"hot": gbps * G}, samples, targets or (to("free"),))


def ledger(
    budgets: Budgets = GENEROUS,
    pop_g: float = 1000.0,
    load_g: dict[str, float] | None = None,
    limit_g: dict[str, float] | None = None,
    session_g: dict[tuple[str, str], float] | None = None,
) -> Ledger:
    """`hot` carries 100 Gb/s; `free` and `paid` are empty and may take 80 each."""
    loads = {"hot": 100.0, "free": 0.0, "paid": 0.0} | (load_g or {})
    limits = {"free": 80.0, "paid": 80.0} | (limit_g or {})
    return Ledger(
        {link: gbps * G for link, gbps in loads.items()},
        {link: gbps * G for link, gbps in limits.items()},
        {"free": 0.0, "paid": 1.0},
        {session: gbps * G for session, gbps in (session_g or {}).items()},
        Budget(budgets, pop_g * G, kept=0, moved_bps=0.0),
    )


def relieve(
    goal_g: float,
    candidates: list[Candidate],
    book: Ledger | None = None,
    refuse: Refuse = allow,
    samples: float = 0.0,
) -> Task:
    [task] = allocate([Task("hot", goal_g * G, candidates, samples)], book or ledger(), refuse)
    return task


def moved(task: Task) -> list[tuple[str, str]]:
    return [(move.candidate.prefix, move.target.exit.link) for move in task.moves]


@pytest.mark.parametrize(
    ("goal_g", "sizes_g", "expected"),
    [
        pytest.param(90, [50, 10, 5], [10], id="the largest that fits exactly"),
        pytest.param(90, [50, 9, 5, 4], [9, 4], id="the largest that fits, then the least overshoot"),
        pytest.param(90, [50, 6, 5, 4], [6, 4], id="fills up what remains"),
        pytest.param(90, [50, 30, 20], [20], id="nothing fits: the smallest overshoot"),
        pytest.param(100, [50, 1], [], id="no excess, no move"),
        pytest.param(40, [25, 25, 10], [25, 25, 10], id="all that is needed"),
        pytest.param(10, [25, 25, 10], [25, 25, 10], id="less than needed is better than nothing"),
    ],
)
def test_what_is_moved(goal_g: float, sizes_g: list[int], expected: list[int]) -> None:
    book = ledger()
    task = relieve(goal_g, [candidate(f"{size}/{i}", size) for i, size in enumerate(sizes_g)], book)
    assert [int(prefix.split("/")[0]) for prefix, _ in moved(task)] == expected
    assert excess_bps(task, book) == max(100 - sum(expected) - goal_g, 0) * G


def test_ties_go_to_the_lowest_prefix_and_next_hop() -> None:
    same = [candidate(prefix, 10, to("free", 7), to("free", 3)) for prefix in ("c", "a", "b")]
    task = relieve(80, same)
    assert moved(task) == [("a", "free"), ("b", "free")]
    assert {move.target.exit.next_hop for move in task.moves} == {"10.0.0.3"}


def test_cheaper_targets_first_until_they_are_full() -> None:
    both = (to("paid", 1), to("free", 2))
    task = relieve(80, [candidate(str(i), 5, *both) for i in range(10)], ledger(limit_g={"free": 12.0}))
    assert [link for _, link in moved(task)] == ["free", "free", "paid", "paid"]


def test_never_back_to_the_source_nor_to_a_link_that_may_not_receive() -> None:
    task = relieve(90, [candidate("a", 10, to("hot")), candidate("b", 10, to("down"))])
    assert not task.moves
    assert task.refused == {"a": NO_ROOM, "b": NO_ROOM}


def test_what_lies_on_the_target_already_needs_no_room_there() -> None:
    shared = Candidate("a", {"hot": 10 * G, "free": 70 * G}, 100, (to("free"),))
    book = ledger(load_g={"free": 70.0})
    assert moved(relieve(90, [shared], book)) == [("a", "free")]
    assert book.load_bps == {"hot": 90 * G, "free": 80 * G, "paid": 0.0}


def test_a_session_has_a_cap_of_its_own() -> None:
    two_peers = [candidate(str(i), 5, to("free", 1), to("free", 2)) for i in range(4)]
    task = relieve(80, two_peers, ledger(session_g={("r1", "10.0.0.1"): 6.0}))
    assert [move.target.exit.peer for move in task.moves] == ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.2"]


def test_a_binding_budget_is_not_called_lack_of_room() -> None:
    task = relieve(0, [candidate(str(i), 10) for i in range(4)], ledger(Budgets(max_new_per_cycle=2)))
    assert len(task.moves) == 2
    assert set(task.refused.values()) == {BUDGET_BOUND}


def test_a_share_budget_still_lets_smaller_ones_go() -> None:
    share = Budgets(max_moved_share=0.30)
    task = relieve(60, [candidate("a", 38), candidate("b", 20)], ledger(share, pop_g=100.0))
    assert moved(task) == [("b", "free")]
    assert task.refused == {"a": BUDGET_BOUND}


def test_few_samples_move_only_together() -> None:
    few = [candidate(str(i), 5, samples=10) for i in range(4)]
    book = ledger()
    assert relieve(90, few[:2], book).refused == {"0": TOO_FEW_SAMPLES, "1": TOO_FEW_SAMPLES}
    assert book.load_bps["hot"] == 100 * G, "what was not moved is not booked"
    assert len(relieve(85, few).moves) == 3
    assert len(relieve(90, few[:2], samples=10).moves) == 2, "together with those moved before"


def test_a_refused_target_leaves_the_others() -> None:
    task = relieve(
        90,
        [candidate("a", 10, to("free", 1), to("paid", 2)), candidate("b", 9, to("free", 1))],
        refuse=lambda _, target: "would-loop" if target.exit.link == "free" else None,
    )
    assert moved(task) == [("a", "paid")]


def test_others_do_without_the_room_that_only_one_can_use() -> None:
    """`hot` is worse and goes first: it prefers `free`, but `warm` has no other way."""
    book = ledger(load_g={"warm": 95.0}, limit_g={"free": 8.0})
    mine = [candidate("a", 8, to("free"), to("paid")), candidate("b", 7, to("free"), to("paid"))]
    theirs = [Candidate("w", {"warm": 5 * G}, 100, (to("free"),))]
    tasks = allocate([Task("warm", 90 * G, theirs), Task("hot", 92 * G, mine)], book, allow)
    assert {(task.source, *moved(task)) for task in tasks} == {("hot", ("a", "paid")), ("warm", ("w", "free"))}


@pytest.mark.parametrize(
    ("gbps", "link", "lack"),
    [(20, "free", None), (90, "free", NO_ROOM), (20, "paid", SESSION_FULL), (20, "down", NOT_USABLE)],
)
def test_lack_names_the_rule_by_which_a_target_is_left_out(gbps: float, link: str, lack: str | None) -> None:
    book = ledger(session_g={("r1", "10.0.0.2"): 10})
    target = to(link, 2 if link == "paid" else 1)
    one = candidate("p", gbps, target)
    assert book.lack(one, target) == lack
    assert book.targets(one, "hot") == ([] if lack else [target])
