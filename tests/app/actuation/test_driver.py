"""The tasks that bring speakers to their targets: prompt, one by one, and patient with a speaker that fails."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import pytest

from app.actuation.timing import Timing
from app.bgp.speaker import InjectedRoute
from app.errors import SpeakerError
from tests.app.actuation.pop import PREFIX, override
from tests.app.actuation.story import LoggedSpeaker, Story
from tests.app.actuation.test_story_moves import TO_ET2
from tests.patience import PATIENCE_S


class HangingSpeaker(LoggedSpeaker):
    """Answers nothing once `hangs`, as a gobgpd that is stopped."""

    hangs = False

    async def routes(self) -> dict[str, InjectedRoute]:
        await self._answer_later()
        return await super().routes()

    async def withdraw(self, prefixes: Iterable[str]) -> None:
        await self._answer_later()
        await super().withdraw(prefixes)

    async def _answer_later(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()


class LossySpeaker(LoggedSpeaker):
    """Does what it is told; its first answer is lost."""

    answers = False

    async def announce(self, routes: Iterable[InjectedRoute]) -> None:
        await super().announce(routes)
        answered, self.answers = self.answers, True
        if not answered:
            raise SpeakerError("deadline exceeded")


@asynccontextmanager
async def driven(story: Story) -> AsyncIterator[None]:
    task = asyncio.create_task(story.driver.run())
    yield
    task.cancel()
    await asyncio.wait([task])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0)


async def is_moved(story: Story) -> None:
    """A decision is announced at its exit, and once the router shows that, on all routers."""
    story.decide(override(exit=2))
    await until(lambda: bool(story.holding()))
    story.echo()
    await until(lambda: story.holding() == TO_ET2)


async def test_a_decision_is_on_all_routers_without_waiting_for_a_tick() -> None:
    story = Story(timing=Timing(tick_s=3600, list_every_s=3600))
    async with driven(story):
        await is_moved(story)


async def test_a_gobgpd_that_hangs_holds_up_nobody_elses_withdrawal() -> None:
    story = Story(timing=Timing(tick_s=3600, list_every_s=3600))
    hanging = story.speakers["r2"] = HangingSpeaker("r2", story.log)
    story.start(story.reconciler.timing)
    async with driven(story):
        await is_moved(story)
        hanging.hangs = True
        story.gone(2)
        await until(lambda: story.holding() == {"r2": "192.0.2.11"})


@pytest.mark.parametrize("above", [0, 1])
async def test_a_halt_of_many_routes_ends_the_sessions_too(above: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.actuation.driver.RESET_ABOVE", above)
    story = Story()
    story.decide(override(exit=2))
    await story.settle()
    story.reconciler.halt("control", on=True)
    await story.settle()
    assert story.holding() == {}
    reasons = [] if above else ["autopilot: halted by control"]
    assert [story.speakers[router].resets for router in ("r1", "r2")] == [reasons, reasons]


async def test_an_answer_that_was_lost_is_found_by_listing() -> None:
    story = Story()
    story.speakers["r1"] = LossySpeaker("r1", story.log)
    story.start(story.reconciler.timing)
    story.decide(override(exit=2))
    await story.step()
    assert not story.reconciler.speakers["r1"].certain
    await story.settle()
    assert story.holding() == TO_ET2
    assert story.told("announced")[0] == ("r1", "seen after a failure")
    assert [line for line in story.log if line.startswith("r1")] == [f"r1 + {PREFIX} > 198.51.100.2"]


async def test_a_speaker_that_is_down_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    story = Story()
    await story.settle()
    story.speakers["r1"].down = True
    await story.wait(30)
    assert len(caplog.records) == 1
    assert "router r1: memory speaker: ListPath failed" in caplog.text


class FaultySpeaker(LoggedSpeaker):
    """Raises what nobody expects, once, wherever it is asked first."""

    faults = 1

    async def external_paths(self, prefixes: Iterable[str]) -> dict[str, frozenset[str]]:
        if self.faults:
            self.faults -= 1
            raise AttributeError("no such field")
        return await super().external_paths(prefixes)


async def test_paths_that_could_not_be_asked_about_are_asked_about_again() -> None:
    story = Story(timing=Timing(tick_s=0.01))
    faulty = story.speakers["r1"] = FaultySpeaker("r1", story.log)
    story.start(story.reconciler.timing)
    async with driven(story):
        await is_moved(story)
        faulty.router_sends(PREFIX, "198.51.100.1")
        await until(lambda: story.holding() == {})
    assert faulty.faults == 0
