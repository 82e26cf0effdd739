"""The safe steps, seen one by one."""

from app.actuation.render import render
from app.actuation.safe_order import PrefixSight, same, settled, to_hold, to_leave
from app.bgp.speaker import InjectedRoute
from tests.app.actuation.pop import POP, PREFIX, override
from tests.app.actuation.routes import route

VIA1, VIA2, VIA3 = (render(POP, override(exit=exit), None, 300) for exit in (1, 3, 4))  # exits r1, r2, r3


def sight(
    actual: dict[str, InjectedRoute], shown: dict[str, InjectedRoute] | None = None, dead: tuple[str, ...] = ()
) -> PrefixSight:
    """Routers show what speakers hold, unless told otherwise; next hops in `dead` have no path."""
    seen = actual if shown is None else shown
    return PrefixSight(
        actual,
        {router: each.next_hop for router, each in seen.items()},
        POP.router_by_loopback,
        lambda router, next_hop: next_hop not in dead,
    )


def test_nothing_yet_means_the_exit_first() -> None:
    assert to_hold(sight({}), VIA1, "r1") == {"r1": VIA1["r1"]}


def test_a_held_exit_that_does_not_show_is_not_enough() -> None:
    assert to_hold(sight({"r1": VIA1["r1"]}, shown={}), VIA1, "r1") == {"r1": VIA1["r1"]}


def test_a_longer_lease_changes_nothing_until_it_is_due() -> None:
    renewed = render(POP, override(exit=1), None, 310)
    assert to_hold(sight(VIA1), renewed, "r1") == VIA1
    assert settled(sight(VIA1), renewed)
    assert to_hold(sight(VIA1), renewed, "r1", lambda present, wanted: present.prefix == PREFIX) == renewed


def test_a_router_no_longer_wanted_goes_once_nobody_is_sent_there() -> None:
    want = {router: VIA2[router] for router in ("r2", "r3")}  # r1, the old exit, is not in it
    moving = {"r1": VIA1["r1"], "r2": VIA2["r2"], "r3": VIA1["r3"]}
    assert to_hold(sight(moving), want, "r2") == {"r1": VIA1["r1"], **want}
    moved = {"r1": VIA1["r1"], **want}
    assert to_hold(sight(moved), want, "r2") == want


def test_leaving_takes_a_chain_from_its_far_end() -> None:
    chain = {"r3": VIA1["r3"], "r1": VIA2["r1"], "r2": VIA2["r2"]}  # r3 > r1 > r2 > out
    assert to_leave(sight(chain)) == {"r1": VIA2["r1"], "r2": VIA2["r2"]}


def test_two_routers_sent_to_each_other_lead_nowhere_and_go() -> None:
    ring = {"r1": VIA2["r1"], "r2": VIA1["r2"]}
    assert sight(ring).safe() == {}
    assert to_leave(sight(ring)) == {}


def test_a_dead_path_takes_everything_that_leads_to_it() -> None:
    chain = {"r3": VIA1["r3"], "r1": VIA2["r1"], "r2": VIA2["r2"]}
    assert sight(chain, dead=("198.51.100.3",)).safe() == {}


def test_settled_is_held_and_shown_everywhere_and_nowhere_else() -> None:
    assert settled(sight(VIA1), VIA1)
    assert not settled(sight(VIA1, shown={"r1": VIA1["r1"]}), VIA1)
    assert not settled(sight({"r1": VIA1["r1"]}), VIA1)
    assert not settled(sight(VIA1), {"r1": VIA1["r1"]})


def test_same_looks_at_everything_but_the_lease() -> None:
    assert same(route().leased_until(1), route().leased_until(2))
    assert not same(route(med=1), route(med=2))
    assert not same(None, route())
