"""Stories of starts and stops: the actuator is new, everything is halted, and the limits that bind."""

import msgspec
import pytest

from app.actuation.describe import describe_overrides, describe_speakers
from app.actuation.timing import Timing
from app.clock import ManualClock
from app.contract.schemas import SourcePath
from tests.app.actuation.pop import POP, PREFIX, override
from tests.app.actuation.story import Story
from tests.app.actuation.test_story_faults import standing
from tests.app.actuation.test_story_moves import TO_ET2

# starts


async def test_nothing_moves_before_bmp_was_read_and_all_of_it_after() -> None:
    story = Story()
    story.ready = False
    story.decide(override(exit=2))
    assert await story.wait(25) == []
    story.ready = True
    await story.wait(2)
    assert story.holding() == TO_ET2


async def test_while_bmp_is_read_again_nothing_is_taken_for_lost() -> None:
    story = await standing()
    story.ready = False
    story.down(2)
    assert await story.wait(60) == []
    story.up(2)
    story.ready = True
    assert await story.wait(2) == []


async def test_a_restart_keeps_what_is_still_decided() -> None:
    story = await standing()
    story.start(Timing())
    await story.wait(5)
    story.decide(override(exit=2))
    assert await story.wait(60) == []
    assert story.holding() == TO_ET2
    assert story.reconciler.overrides.entries[PREFIX].state == "standing"


async def test_claiming_it_by_an_older_decision_does_not_shorten_its_hold() -> None:
    story = await standing()
    story.start(Timing())
    story.decide(override(exit=2), age_s=290)
    await story.wait(250)
    assert story.holding() == TO_ET2


async def test_people_see_what_is_held_and_why() -> None:
    story = await standing()
    assert describe_overrides(story.reconciler) == {
        PREFIX: {"state": "standing", "reason": "rhv1000/r1/et1 is congested", **TO_ET2}
    }
    assert describe_speakers(story.reconciler)["r1"] == {
        "reachable": True,
        "held": 1,
        "wanted": 1,
        "doubtful": False,
        "owned": True,
        "holder": None,
    }


async def test_a_restart_lets_go_of_what_nobody_decides_after_a_hold_in_safe_order() -> None:
    story = await standing()
    story.start(Timing())
    assert await story.wait(250) == []
    done = await story.wait(41)
    assert done[-1] == f"r1 - {PREFIX}"
    assert story.holding() == {}


async def test_a_crash_loop_makes_no_lease_longer() -> None:
    story = await standing()
    for _ in range(16):
        story.start(Timing())
        assert await story.wait(15) == []
    for _ in range(4):
        story.start(Timing())
        await story.wait(15)
    assert story.holding() == {}


class UnknownTime(ManualClock):
    """The clock of a host that is wrong by so many seconds, until the broker has said its time."""

    def __init__(self, now_s: float, ahead_s: float) -> None:
        super().__init__(now_s)
        self.ahead_s = ahead_s

    def now_s(self) -> float:
        return super().now_s() + self.ahead_s


@pytest.mark.parametrize("ahead_s", [-600.0, 600.0])
async def test_a_lease_found_before_the_time_is_known_ends_when_it_says(ahead_s: float) -> None:
    story = await standing()
    story.clock = clock = UnknownTime(story.clock.now_s(), ahead_s)
    story.ready = False
    story.start(Timing())
    assert await story.wait(5) == []
    clock.ahead_s, story.ready = 0.0, True
    assert await story.wait(240) == []
    await story.wait(50)
    assert story.holding() == {}


async def test_a_path_lost_during_a_restart_is_not_held() -> None:
    story = await standing()
    story.rib.withdraw("r1", PREFIX, "127.0.0.32")
    story.start(Timing())
    assert len(await story.step()) == 3
    assert story.holding() == {}


async def test_half_an_override_found_at_start_is_completed_by_its_decision() -> None:
    story = await standing()
    del story.speakers["r3"].held[PREFIX]
    story.echo()
    story.start(Timing())
    story.decide(override(exit=2))
    await story.settle()
    assert story.holding() == TO_ET2


async def test_routes_found_without_their_exit_go_at_once() -> None:
    story = await standing()
    del story.speakers["r1"].held[PREFIX]
    story.echo()
    story.start(Timing())
    assert sorted(await story.step()) == [f"r2 - {PREFIX}", f"r3 - {PREFIX}"]


# halt and limits


async def test_a_halt_takes_everything_at_once_and_nothing_comes_until_it_is_over() -> None:
    story = await standing()
    story.reconciler.halt("control", True)
    assert len(await story.step()) == 3
    story.decide(override(exit=2))
    assert await story.wait(10) == []
    story.reconciler.halt("file", True)
    story.reconciler.halt("control", False)
    story.decide(override(exit=2))
    assert await story.wait(10) == []
    story.reconciler.halt("file", False)
    story.decide(override(exit=2))
    await story.settle()
    assert story.holding() == TO_ET2
    assert {reason for _, reason in story.told("withdrawn")} == {"halted by control"}


async def test_a_halt_works_before_bmp_was_read_and_on_what_is_found_later() -> None:
    story = await standing()
    story.ready = False
    story.start(Timing())
    story.reconciler.halt("file", True)
    await story.wait(3)
    assert story.holding() == {}


async def test_routers_get_no_more_than_80_percent_of_their_maximum_prefix() -> None:
    routers = [msgspec.structs.replace(router, maximum_prefix=10) for router in POP.router]
    prefixes = [f"203.0.{number}.0/24" for number in range(9)]
    story = Story(msgspec.structs.replace(POP, router=tuple(routers)), prefixes)
    story.decide(*(override(prefix) for prefix in prefixes))
    await story.settle()
    assert len(story.speakers["r1"].held) == 8
    assert story.told("refused", prefixes[8]) == [("r1", "maximum-prefix")]


async def test_budgets_bind() -> None:
    prefixes = [f"203.0.{number}.0/24" for number in range(5)]
    budgets = msgspec.structs.replace(POP.budgets, max_overrides=4, max_new_per_cycle=3)
    story = Story(msgspec.structs.replace(POP, budgets=budgets), prefixes)
    story.decide(*(override(prefix) for prefix in prefixes))
    story.decide(*(override(prefix) for prefix in prefixes))
    await story.settle()
    assert sorted(story.speakers["r1"].held) == prefixes[:4]
    assert story.told("refused", prefixes[3]) == [("r1", "budget-new-per-cycle")]
    assert story.told("refused", prefixes[4])[-1] == ("r1", "budget-overrides")


async def test_what_a_guard_refuses_is_not_announced_and_told_once() -> None:
    story = Story()
    for _ in range(3):
        story.decide(override(exit=2, source_path=SourcePath((), "igp")))
        assert await story.settle() == []
    assert story.told("refused") == [("r1", "empty-as-path")]
