"""What becomes of overrides when a link leaves the inventory."""

import msgspec
import pytest

from app.contract.schemas import Released
from app.te.routing.natural import NaturalRouting
from tests.app.te.decision.test_cycle import POP, A, B, Desk, after, moved, spread
from tests.pops import pop


@pytest.mark.parametrize("gone", [B, A])
def test_overrides_to_and_from_a_link_that_left_the_inventory_are_released(gone: str) -> None:
    desk = Desk()
    first = desk.decide({A: spread(95)})
    [prefix] = moved(first)
    desk.pop = pop(*(each for each in POP.link if POP.link_id(each) != gone))
    desk.natural = NaturalRouting(desk.pop, desk.rib)
    desk.history = [{link: seen[link] for link in seen if link != gone} for seen in desk.history]
    carried = {link: flows for link, flows in after(first, 60).items() if link != gone}
    second = desk.decide(carried)
    assert second.released == (Released(prefix, "left-inventory"),)
    assert gone not in second.state.links
    third = desk.decide(carried)
    assert not third.released
    assert all(past.override.exit.link != gone for past in third.state.settling.values())


def test_overrides_to_a_link_that_another_router_has_now_are_released() -> None:
    """Its id stays the same where only the cut between the names of router and link moves."""
    desk = Desk()
    first = desk.decide({A: spread(95)})
    [prefix] = moved(first)
    exits = msgspec.structs.replace(first.overrides[0].exit, router="r2")
    held = desk.state.held[prefix]
    moved_away = msgspec.structs.replace(held, override=msgspec.structs.replace(held.override, exit=exits))
    desk.state = msgspec.structs.replace(desk.state, held={prefix: moved_away})
    assert desk.decide(after(first, 60)).released == (Released(prefix, "left-inventory"),)


def test_what_was_seen_of_a_link_that_left_does_not_keep_a_prefix_from_going_home() -> None:
    desk = Desk()
    first = desk.decide({A: spread(95)})
    [prefix] = moved(first)
    held = desk.state.held[prefix]
    seen = msgspec.structs.replace(held, observed={"r1": (A, "p/r1/gone")})
    desk.state = msgspec.structs.replace(desk.state, held={prefix: seen})
    second = desk.decide(after(first, 60))
    assert second.state.held[prefix].observed == {}
    assert [each.link for each in second.overrides[0].natural] == [A]
