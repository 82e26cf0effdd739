"""What each router is given."""

from hypothesis import given
from hypothesis import strategies as st

from app.actuation.render import render
from app.contract.schemas import SourcePath
from app.te.routing.path import Origin, Path
from tests.app.actuation.pop import POP, PREFIX, PREFIX6, override


def test_the_exit_gets_the_next_hop_and_the_others_the_exits_loopback() -> None:
    routes = render(POP, override(PREFIX, exit=3), None, 41)
    assert {router: route.next_hop for router, route in routes.items()} == {
        "r1": "192.0.2.12", "r2": "198.51.100.3", "r3": "192.0.2.12",
    }  # fmt: skip
    routes = render(POP, override(PREFIX6, exit=4, inject_on=("r3", "r1")), None, 41)
    assert {router: route.next_hop for router, route in routes.items()} == {
        "r3": "2001:db8:ffff::4", "r1": "2001:db8:ffff::13",
    }  # fmt: skip


@given(
    st.lists(st.integers(1, 2**32 - 1), min_size=1).map(tuple),
    st.sampled_from(["igp", "egp", "incomplete"]),
    st.none() | st.integers(0, 2**32 - 1),
)
def test_attributes_are_the_live_paths_and_the_marks_are_ours(
    as_path: tuple[int, ...], origin: Origin, med: int | None
) -> None:
    path = Path("192.0.2.1", "198.51.100.2", as_path, origin, med, communities=("64602:1",))
    for route in render(POP, override(source_path=SourcePath((1,), "egp", 7)), path, 41).values():
        assert (route.as_path, route.origin, route.med) == (as_path, origin, med)
        assert (route.local_pref, route.large_community) == (1000, (64512, 41, 0))
        assert route.communities == ("64512:911", "65535:65281")
