"""Members of a LAG whose counters stop: whether they still forward, their LAG shows."""

from typing import Any

import pytest

from tests.cases.ports import LINK, Case, run
from tests.cases.test_ports import lag, set_from

G = 10**9


def stops(gbps: float, members: int, **own: Any) -> Case:
    """A LAG of 100 Gb/s, the last of whose members is not reported any more from 12 s on."""
    speed = {"ifSpeed": 100 * G // members}
    return lag(gbps, {"ifType": 161} | own, *[speed] * (members - 1), speed | {"until_s": 12}, windows=9)


CASES = {
    "half of 60": stops(60, 2),
    "half of 45": stops(45, 2),
    "a quarter of 72": stops(72, 4),
    "a LAG without a speed": stops(70, 4, ifSpeed=0),
    "without any speed": lag(60, {"ifType": 161, "ifSpeed": 0}, {"ifSpeed": 0}, {"ifSpeed": 0, "until_s": 12},
                             windows=9),
    "members that are named": stops(60, 2) | {"ifindexes": [101], "members": [501, 502]},
    "of capacity auto": stops(45, 2) | {"inventory": {"capacity_bps": "auto"}},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_member_that_is_silent_takes_no_capacity_while_its_lag_carries_more_than_the_others(name: str) -> None:
    seen = run(CASES[name])
    assert [window.link.capacity_bps for window in seen] == [100e9] * 9
    assert [window for window in seen if window.decision.congestion or window.decision.overrides] == []
    (text,) = {notice.text for notice in seen[-1].notices if notice.where == LINK and notice.kind == "member-silent"}
    assert "its capacity still counts" in text


def test_a_member_that_was_down_before_it_fell_silent_does_not_forward() -> None:
    """The LAG counts 20 % more than its members, as some vendors do."""
    speed: dict[str, Any] = {"ifSpeed": 50 * G}
    down = speed | {"share": 0.0, "until_s": 22, "changes": [set_from(-99, ifStatus=1)]}
    seen = run(lag(40, {"ifType": 161}, speed | {"share": 0.8}, down, windows=9))
    assert seen[-1].link.capacity_bps == 50e9
