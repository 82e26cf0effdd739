"""A router that BMP does not show: its paths are no targets."""

from tests.app.te.decision.test_cycle import A, B, C, Desk, moved
from tests.app.te.world import path


def test_nothing_new_leads_to_a_router_in_doubt_and_what_does_stays() -> None:
    """The actuator ends what stays, in time; that a path is lost would be reported to neither."""
    paths = {"40.0.0.0/16": [path(1), path(3, 7)], "40.1.0.0/16": [path(1), path(3, 7)]}
    full = {A: {"40.0.0.0/16": 80, "40.1.0.0/16": 15}}
    desk = Desk(paths=paths)
    result = desk.decide(full, doubtful=frozenset({"r2"}))
    assert result.overrides == ()
    assert {(refused.prefix, refused.reason) for refused in result.refused} == {
        ("40.0.0.0/16", "router-doubtful"),
        ("40.1.0.0/16", "router-doubtful"),
    }
    assert moved(desk.decide(full)) == {"40.1.0.0/16": C}
    carried = {A: {"40.0.0.0/16": 80}, C: {"40.1.0.0/16": 15}}
    assert moved(desk.decide(carried, doubtful=frozenset({"r2"}))) == {"40.1.0.0/16": C}


def test_a_router_in_doubt_does_not_bar_the_links_of_others() -> None:
    result = Desk().decide({A: {"40.0.0.0/16": 80, "40.1.0.0/16": 15}}, doubtful=frozenset({"r2"}))
    assert moved(result) == {"40.1.0.0/16": B}
