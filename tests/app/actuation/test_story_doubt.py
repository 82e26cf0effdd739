"""Stories of routers of which BMP is silent: nothing new leads there, and what leaves by them ends in time."""

import pytest

from app.actuation.timing import Timing
from tests.app.actuation.pop import PREFIX, override
from tests.app.actuation.story import Story
from tests.app.actuation.test_story_moves import TO_ET2

MANY = [f"203.0.{number}.0/24" for number in range(48)]
ROUTERS = ("r1", "r2", "r3")
SILENCE_S, GONE_S = 30, 60  # after the last record: in doubt; everything is gone


async def standing(*prefixes: str, timing: Timing | None = None) -> Story:
    """These prefixes leave by et2 of r1."""
    story = Story(prefixes=prefixes, timing=timing)
    story.decide(*(override(prefix) for prefix in prefixes))
    await story.settle()
    assert all(story.holding(prefix) == TO_ET2 for prefix in prefixes)
    return story


async def decided_on(story: Story, seconds: int, *prefixes: str) -> list[str]:
    """Time passes, with a decision every 10 s that wants all of it; what was done."""
    done = []
    for _ in range(seconds // 10):
        done += await story.wait(10)
        story.decide(*(override(prefix) for prefix in prefixes))
    return done


async def test_all_overrides_by_a_silent_router_are_gone_60_s_after_its_last_record() -> None:
    """Although every decision renews them, for a dead collector reports no neighbour that died."""
    story = await standing(*MANY)
    story.silence(*ROUTERS)
    shortened = await decided_on(story, 50, *MANY)
    assert len(shortened) == len(MANY) * len(ROUTERS), "their leases end sooner from when r1 is doubted"
    assert all(" + " in each for each in shortened)
    done = await decided_on(story, GONE_S - 50, *MANY)
    assert len(done) == len(MANY) * len(ROUTERS)
    assert not any(speaker.held for speaker in story.speakers.values())
    assert story.told("withdrawn", MANY[0]) == [(router, "router-not-heard") for router in ("r2", "r3", "r1")]
    assert story.told("refused", MANY[0]) == [("r1", "router-doubtful")], "a decision does not put it back"


async def test_the_exit_still_goes_last() -> None:
    story = await standing(PREFIX)
    story.silence(*ROUTERS)
    done = [each for each in await story.wait(GONE_S) if " - " in each]
    assert done[-1] == f"r1 - {PREFIX}"
    assert len(done) == 3


async def test_overrides_by_another_router_stay() -> None:
    story = Story(prefixes=[PREFIX, "203.0.0.0/24"])
    story.decide(override(PREFIX, exit=2), override("203.0.0.0/24", exit=3))
    await story.settle()
    story.silence("r1")
    for _ in range(7):
        await story.wait(10)
        story.decide(override(PREFIX, exit=2), override("203.0.0.0/24", exit=3))
    assert story.holding(PREFIX) == {}
    assert story.holding("203.0.0.0/24") != {}


async def test_a_router_that_is_heard_again_keeps_its_overrides_and_gets_new_ones() -> None:
    story = await standing(PREFIX)
    story.silence("r1")
    await decided_on(story, 50, PREFIX)
    story.silent_since_s.clear()
    story.mute.clear()
    story.decide(override(PREFIX))
    assert await story.wait(100) == [f"{router} + {PREFIX} > {hop}" for router, hop in TO_ET2.items()], "longer leases"
    assert story.holding() == TO_ET2


async def test_nothing_new_leads_to_a_router_in_doubt() -> None:
    story = Story(prefixes=[PREFIX, "203.0.0.0/24"])
    story.silence("r1")
    await story.wait(SILENCE_S + 1)
    story.decide(override(PREFIX, exit=2), override("203.0.0.0/24", exit=3))
    await story.settle()
    assert story.told("refused") == [("r1", "router-doubtful")]
    assert story.holding(PREFIX) == {}
    assert story.holding("203.0.0.0/24") != {}, "it leaves by r2"


async def test_a_move_that_was_decided_before_the_doubt_does_not_begin_in_it() -> None:
    story = Story()
    story.speakers["r1"].down = True
    story.silence("r1")
    await story.wait(15)
    story.reconciler.speakers["r1"].reachable = True  # nobody has noticed yet that it is down
    story.decide(override())
    await story.wait(18)
    story.speakers["r1"].down = False
    await story.wait(5)
    assert story.holding() == {}
    assert story.told("refused")[-1] == ("r1", "router-doubtful")


async def test_a_router_in_doubt_that_is_not_the_exit_does_not_stop_the_moves_of_others() -> None:
    """Nobody sees whether it takes the route; its speaker has to do, and it is not published as confirmed."""
    story = Story()
    story.silence("r3")
    await story.wait(SILENCE_S + 1)
    story.decide(override(exit=2))
    for _ in range(6):
        await story.wait(10)
        story.decide(override(exit=2))
    assert story.holding() == TO_ET2
    assert story.reconciler.overrides.entries[PREFIX].state == "standing"
    assert sorted(story.told("confirmed")) == [
        ("r1", "rhv1000/r1/et1 is congested"),
        ("r2", "rhv1000/r1/et1 is congested"),
    ]


async def test_routes_that_nobody_decided_end_by_doubt_too() -> None:
    """An actuator that starts again while the collector is dead."""
    story = await standing(PREFIX)
    story.silence(*ROUTERS)
    story.start(Timing())
    assert await story.wait(SILENCE_S) == []
    await story.wait(GONE_S - SILENCE_S)
    assert story.holding() == {}


async def test_before_bmp_is_read_nobody_is_in_doubt() -> None:
    story = await standing(PREFIX)
    story.ready = False
    story.silence(*ROUTERS)
    assert await story.wait(100) == []


async def test_a_decision_from_before_bmp_was_read_is_judged_by_all_of_it() -> None:
    """The last record of the topic makes the actuator ready and changes a path: nothing ticks in between."""
    story = Story()
    story.ready = False
    story.silence(*ROUTERS)
    await story.wait(SILENCE_S + 1)
    story.decide(override())
    story.silent_since_s.clear()
    story.mute.clear()
    story.ready = True
    story.up(2)
    await story.settle()
    assert story.holding() == TO_ET2
    assert story.told("refused") == []


@pytest.mark.parametrize(("waited_s", "cut"), [(SILENCE_S, False), (SILENCE_S + 1, True)])
async def test_the_end_by_doubt_stands_on_the_routes(waited_s: int, cut: bool) -> None:
    """So a reaper ends them, whatever becomes of this process."""
    story = await standing(PREFIX, timing=Timing(lease_s=600))
    story.decide(override())
    began_s = story.clock.now_s()
    story.silence("r1")
    await story.wait(waited_s)
    ends_s = {router: speaker.held[PREFIX].lease_end_s for router, speaker in story.speakers.items()}
    by_doubt_s = round(began_s + SILENCE_S + Timing().doubt_lease_s)
    assert (ends_s == {"r1": by_doubt_s, "r2": by_doubt_s - 3, "r3": by_doubt_s - 3}) is cut


async def test_a_release_does_not_wait_for_what_silent_routers_would_show() -> None:
    story = await standing(PREFIX)
    story.silence(*ROUTERS)
    await story.wait(SILENCE_S + 1)
    story.decide(released=[PREFIX])
    done = await story.wait(2)
    assert done[-1] == f"r1 - {PREFIX}", "in order all the same"
    assert story.holding() == {}
