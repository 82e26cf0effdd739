"""How long the steps of a story took, as the histograms tell it."""

from prometheus_client import REGISTRY

from app.actuation.bmp_witness import BmpWitness
from app.actuation.driver import Driver
from app.actuation.journal import Journal
from app.actuation.reconciler import Reconciler
from tests.app.actuation.pop import override
from tests.app.actuation.story import Story


def measured() -> list[float]:
    """Count and sum of both stages."""
    return [
        REGISTRY.get_sample_value(f"autopilot_{stage}_seconds_{name}", {"pop": "rhv1000"}) or 0.0
        for stage in ("announce", "route")
        for name in ("count", "sum")
    ]


async def growth(story: Story, *routers: str) -> list[float]:
    """What a round over the routers, and then their BMP, adds."""
    before = measured()
    await story.step()
    story.echo(*routers)
    return [after - start for after, start in zip(measured(), before, strict=True)]


async def test_the_exit_is_announced_and_every_router_has_shown_it() -> None:
    story = Story()
    story.decide(override(exit=2), age_s=1.0)
    story.clock.advance(1)
    assert await growth(story, "r1") == [1, 2, 0, 0]
    story.decide(override(exit=2))  # a renewal is no new decision on it
    story.clock.advance(1)
    assert await growth(story, "r2") == [0, 0, 0, 0]
    story.clock.advance(1)
    assert await growth(story, "r3") == [0, 0, 1, 4]


async def test_renewals_and_repairs_are_not_measured() -> None:
    story = Story()
    story.decide(override(exit=2))
    await story.settle()
    before = measured()
    story.decide(override(exit=2))
    story.lose_speaker("r1")
    await story.wait(5)
    assert story.holding()["r1"] == "198.51.100.2"
    assert measured() == before


async def test_another_exit_is_measured_anew() -> None:
    story = Story()
    story.decide(override(exit=2))
    await story.settle()
    before = measured()
    story.clock.advance(10)
    story.decide(override(exit=3))
    await story.settle()
    assert [after - start for after, start in zip(measured(), before, strict=True)] == [1, 0, 1, 0]


async def test_a_dry_run_is_not_measured() -> None:
    story = Story()
    journal = Journal(story.pop, story.clock, story.records.append, dry=True)
    story.reconciler = Reconciler(BmpWitness(story.pop, story.rib), story.clock, journal, lambda: True)
    story.driver = Driver(story.reconciler, story.opens(), story.clock)
    for router in story.speakers:
        story.reconciler.listed(router, {})
    before = measured()
    story.decide(override(exit=2))
    await story.settle()
    assert story.holding()
    assert measured() == before
