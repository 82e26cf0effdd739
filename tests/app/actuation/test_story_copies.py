"""An override copies the path that is live in the actuator's own view, and follows it."""

import msgspec

from app.contract.schemas import SourcePath
from app.te.routing.path import Path
from tests.app.actuation.pop import PREFIX, exit_at, override
from tests.app.actuation.story import Story
from tests.app.actuation.test_story_moves import TO_ET2


def live(story: Story, as_path: tuple[int, ...], med: int | None = None) -> None:
    """The neighbour on et2 announces PREFIX by another path."""
    where = exit_at(2)
    story.rib.update("r1", PREFIX, Path(where.peer, where.next_hop, as_path, "egp", med))
    story.reconciler.rib_changed([PREFIX])


async def standing() -> Story:
    story = Story()
    story.decide(override(exit=2))
    await story.settle()
    assert story.holding() == TO_ET2
    return story


async def test_origin_and_med_come_from_the_live_path() -> None:
    story = Story()
    live(story, (64602, 65010), med=30)
    story.decide(override(exit=2, source_path=SourcePath((64602, 65010), "igp", 7)))
    await story.settle()
    for speaker in story.speakers.values():
        assert (speaker.held[PREFIX].med, speaker.held[PREFIX].origin) == (30, "egp")


async def test_a_decision_that_names_another_path_is_refused_and_a_standing_one_follows() -> None:
    story = Story()
    live(story, (64602, 65099))
    story.decide(override(exit=2))
    assert await story.settle() == []
    assert story.told("refused") == [("r1", "source-path-differs")]
    story = await standing()
    await story.wait(10)
    live(story, (64602, 65099, 65010))
    await story.settle()
    assert {speaker.held[PREFIX].as_path for speaker in story.speakers.values()} == {(64602, 65099, 65010)}
    assert story.told("announced")[3:] == [(router, "path-changed") for router in ("r1", "r2", "r3")]
    story.decide(override(exit=2))
    assert await story.settle() == [], "telemetry has not seen it yet"


async def test_attributes_that_change_all_the_time_are_followed_every_10_s() -> None:
    story = await standing()
    announced = 0
    for second in range(60):
        live(story, (64602, 65010), med=second)
        announced += len(await story.wait(1))
    assert announced == 5 * 3
    await story.wait(11)
    assert {speaker.held[PREFIX].med for speaker in story.speakers.values()} == {59}


async def test_a_path_that_may_not_be_copied_any_more_is_lost() -> None:
    story = await standing()
    live(story, (64602, 64512, 65010))  # our own AS
    await story.settle()
    assert story.holding() == {}


async def test_every_router_with_a_path_of_its_own_must_get_it() -> None:
    story = Story()
    story.decide(override(exit=2, inject_on=("r1", "r2")))
    assert await story.settle() == []
    assert story.told("refused") == [("r3", "holder-not-injected")]


async def test_refusals_name_the_router_that_is_the_reason() -> None:
    story = Story()
    story.speakers["r3"].down = True
    await story.wait(3)
    story.decide(override(exit=2))
    assert story.told("refused") == [("r3", "speaker-unreachable")]


async def test_somebody_elses_speaker_is_a_reason_too() -> None:
    story = Story()
    await story.settle()
    story.reconciler.owns("r2", is_mine=False, holder="another:1:2")
    story.decide(override(exit=2))
    assert await story.settle() == []
    assert story.told("refused") == [("r2", "speaker-not-ours")]


async def test_another_inventory_judges_at_the_next_decision() -> None:
    story = await standing()
    drained = tuple(msgspec.structs.replace(link, drain=link.name == "et2") for link in story.pop.link)
    story.reconciler.reconfigure(msgspec.structs.replace(story.pop, link=drained))
    until_s = story.reconciler.overrides.entries[PREFIX].lease_until_s
    story.reconciler.rib_changed([PREFIX])
    story.clock.advance(10)
    story.decide(override(exit=2))
    assert await story.settle() == []
    assert story.told("refused") == [("r1", "link-drained")]
    assert story.reconciler.overrides.entries[PREFIX].lease_until_s == until_s
