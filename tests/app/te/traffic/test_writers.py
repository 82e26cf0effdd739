"""Several collectors of one topic, each with its own clock."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app.te.traffic.windows import CREEP, Progress
from app.te.traffic.writers import AWAY_MAX_S, BEHIND_MAX_S, NEW_CLOCK_S, OPEN_PURGES_MAX, SILENT_REFRESHES, WRITERS_MAX

T0, REFRESH_S = 1_795_246_100.0, 2.0


class Clocks:
    """Collectors that purge every refresh; each has a name and a clock, in seconds ahead."""

    def __init__(self, **ahead_s: float) -> None:
        self.ahead_s = ahead_s
        self.progress = Progress(closed_up_to_s=int(T0) - 100)
        self.now_s, self._purges = T0, 0

    def purge(self, name: str, at_s: float) -> None:
        self._purges += 1
        for kind in ("purge_init", "purge_close"):
            self.progress.mark(kind, f"{name.rstrip('_')}/{self._purges}", at_s, REFRESH_S)

    def run(self, seconds: float) -> None:
        """Every collector purges, in the order of their names."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            for name, ahead_s in self.ahead_s.items():
                self.purge(name, self.now_s + ahead_s)
            self.now_s += REFRESH_S

    @property
    def lag_s(self) -> float:
        """How far the watermark is behind the true time."""
        return self.now_s - self.progress.watermark_s

    @property
    def names(self) -> list[str]:
        return sorted(writer.name for writer in self.progress.writers.known)


@pytest.mark.parametrize("ahead_s", [1.0, 5.0, 30.0, 59.0, 600.0, 3600.0])
def test_a_clock_that_is_ahead_does_not_move_the_watermark(ahead_s: float) -> None:
    clocks = Clocks(a=0.0)
    clocks.run(10)
    clocks.ahead_s["b"] = ahead_s
    clocks.run(60)
    assert clocks.lag_s == 2 * REFRESH_S


@pytest.mark.parametrize("ahead_s", [NEW_CLOCK_S + 1, 30.0, 3600.0])
def test_it_does_not_either_under_the_same_name(ahead_s: float) -> None:
    """Of two collectors with the configuration of the manual, both are "flows"."""
    clocks = Clocks(flows=0.0)
    clocks.run(10)
    clocks.ahead_s["flows_"] = ahead_s
    for _ in range(30):
        clocks.run(REFRESH_S)
        assert clocks.lag_s == 2 * REFRESH_S


def test_under_the_same_name_a_little_ahead_costs_one_step() -> None:
    clocks = Clocks(flows=0.0)
    clocks.run(10)
    clocks.ahead_s["flows_"] = 5.0
    clocks.run(60)
    assert clocks.lag_s == 2 * REFRESH_S
    assert clocks.names == ["flows", "flows"]


def test_a_clock_that_is_behind_is_waited_for_unless_it_is_far_behind() -> None:
    clocks = Clocks(a=0.0, b=-40.0)
    clocks.run(60)
    assert clocks.lag_s == 40 + 2 * REFRESH_S
    far = Clocks(a=0.0)
    far.run(10)
    far.ahead_s["b"] = -BEHIND_MAX_S - 10
    far.run(60)
    assert far.lag_s == 2 * REFRESH_S


def test_a_collector_that_ended_is_waited_for_three_refreshes() -> None:
    clocks = Clocks(a=0.0, b=0.0)
    clocks.run(20)
    del clocks.ahead_s["b"]
    clocks.run((SILENT_REFRESHES) * REFRESH_S)
    assert clocks.names == ["a", "b"]
    clocks.run(2 * REFRESH_S)
    assert clocks.names == ["a"]
    assert clocks.lag_s == 2 * REFRESH_S


@pytest.mark.parametrize("silent_s", [3.0, 10.0, 22.0])
def test_the_only_collector_goes_on_at_once_after_a_pause(silent_s: float) -> None:
    clocks = Clocks(flows=0.0)
    clocks.run(10)
    clocks.now_s += silent_s
    clocks.run(REFRESH_S)
    assert clocks.lag_s == 2 * REFRESH_S


def test_after_a_long_pause_it_goes_on_once_it_is_known_to_be_alone() -> None:
    clocks = Clocks(flows=0.0)
    clocks.run(10)
    clocks.now_s += 600
    clocks.run((SILENT_REFRESHES + 2) * REFRESH_S)
    assert clocks.lag_s == 2 * REFRESH_S
    assert clocks.names == ["flows"]


def test_a_collector_that_purges_rarely_is_one_collector() -> None:
    clocks = Clocks()
    for number in range(20):
        clocks.now_s = T0 + number * (NEW_CLOCK_S + 5)
        clocks.purge("flows", clocks.now_s)
        assert len(clocks.names) <= 2
    assert clocks.lag_s <= NEW_CLOCK_S + 5 + REFRESH_S


def test_all_of_them_silent_for_an_hour_are_all_waited_for_again() -> None:
    clocks = Clocks(a=0.0, b=0.3)
    clocks.run(20)
    clocks.now_s += 3600
    clocks.run(20)
    assert clocks.names == ["a", "b"]
    assert clocks.lag_s == 2 * REFRESH_S


def test_at_the_start_the_first_may_be_the_one_that_is_ahead() -> None:
    clocks = Clocks(b=3600.0, a=0.0)
    clocks.progress = Progress()
    clocks.run(REFRESH_S)
    assert clocks.lag_s == 2 * REFRESH_S
    assert clocks.progress.newest_s == T0, "and its records are from the future"


def test_one_forged_marker_of_the_far_future_closes_nothing() -> None:
    clocks = Clocks(flows=0.0)
    clocks.run(10)
    for name in ("flows", "else"):
        clocks.purge(name, T0 + 10**9)
        assert clocks.lag_s == 2 * REFRESH_S
    clocks.run(20)
    assert clocks.names == ["flows"]
    assert clocks.lag_s == 2 * REFRESH_S


def test_a_megabyte_of_markers_leaves_little() -> None:
    clocks = Clocks(flows=0.0)
    clocks.run(10)
    for number in range(20_000):
        clocks.progress.mark("purge_init", f"flows/x{number}", clocks.now_s, REFRESH_S)
        clocks.progress.mark("purge_init", f"w{number}/1", clocks.now_s, REFRESH_S)
    known = clocks.progress.writers.known
    assert len(known) == WRITERS_MAX
    assert max(len(writer.open_purges) for writer in known) == OPEN_PURGES_MAX
    clocks.run(60)
    assert clocks.names == ["flows"]
    assert clocks.lag_s == 2 * REFRESH_S


@given(
    ahead_s=st.floats(1.0, 2 * 86_400.0),
    turns=st.lists(st.tuples(st.booleans(), st.integers(1, 30)), min_size=1, max_size=12),
    first=st.booleans(),
)
def test_a_pause_of_the_slower_clock_makes_none_of_its_bytes_late(
    ahead_s: float, turns: list[tuple[bool, int]], first: bool
) -> None:
    """`turns` say for how many refreshes the slower one speaks or does not; the other is ahead and speaks always."""
    clocks = Clocks(a=0.0)
    clocks.run(10)
    both = {"a": 0.0, "b": ahead_s} if first else {"b": ahead_s, "a": 0.0}
    clocks.ahead_s = dict(both)
    clocks.run(10)
    for speaks, refreshes in turns:
        if speaks:
            clocks.ahead_s = dict(both)
        else:
            clocks.ahead_s.pop("a", None)
        for _ in range(min(refreshes, 12) if speaks else min(refreshes, int(AWAY_MAX_S / REFRESH_S / len(turns)))):
            clocks.run(REFRESH_S)
            assert 0 <= clocks.lag_s <= (SILENT_REFRESHES + 3) * REFRESH_S, "and windows go on"


@pytest.mark.parametrize("ahead_s", [40.0, 3600.0])
def test_a_collector_that_does_not_come_back_is_gone_after_the_lead_of_the_others(ahead_s: float) -> None:
    clocks = Clocks(a=0.0, b=ahead_s)
    clocks.run(10)
    del clocks.ahead_s["a"]
    clocks.run(max(ahead_s, AWAY_MAX_S) - REFRESH_S)
    assert clocks.lag_s > 0
    clocks.run(3 * REFRESH_S)
    assert clocks.names == ["b"]
    assert clocks.lag_s == 2 * REFRESH_S - ahead_s


def test_a_clock_that_is_set_right_beside_others_is_not_waited_for_as_it_was() -> None:
    clocks = Clocks(a=-3600.0, b=0.0)
    clocks.run(60)
    clocks.ahead_s["a"] = 0.0
    clocks.run((SILENT_REFRESHES + 2) * REFRESH_S)
    assert clocks.names == ["a", "b"]
    assert clocks.lag_s == 2 * REFRESH_S


@given(back_s=st.integers(int(BEHIND_MAX_S) + 4, 900), more=st.integers(0, 2))
def test_windows_go_on_while_every_clock_is_behind_and_are_caught_up_with(back_s: int, more: int) -> None:
    clocks = Clocks(**{f"c{number}": 0.0 for number in range(1 + more)})
    clocks.run(20)
    clocks.now_s -= back_s
    at_s = clocks.progress.watermark_s
    clocks.run(60)
    went_s = clocks.progress.watermark_s - at_s
    assert CREEP * (60 - (SILENT_REFRESHES + 3) * REFRESH_S) <= went_s <= CREEP * 60 or back_s <= BEHIND_MAX_S + 60
    clocks.run(back_s / (1 - CREEP))
    assert clocks.lag_s == 2 * REFRESH_S


def test_forged_names_do_not_keep_a_collector_out() -> None:
    clocks = Clocks(b=3600.0)
    clocks.run(10)
    for number in range(WRITERS_MAX):
        clocks.purge(f"forged{number}", clocks.now_s)
    clocks.run(20)
    clocks.ahead_s["a"] = 0.0
    clocks.run(10)
    assert "a" in clocks.names
