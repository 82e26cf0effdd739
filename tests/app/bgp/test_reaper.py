"""The last resort: what outlives its hold goes, whatever else stands still."""

from typing import cast

import pytest

from app.bgp.gobgp import GobgpSpeaker
from app.bgp.reaper import BlockingGobgp, Reaper
from app.bgp.render import render
from app.bgp.speaker import InjectedRoute
from app.clock import ManualClock
from app.errors import SpeakerError
from tests.app.bgp.gobgpd import ALONE, running
from tests.app.bgp.pop import POP, PREFIX, override
from tests.app.bgp.routes import MARKER, route


class Held:
    """A gobgpd as the reaper sees it."""

    def __init__(self, log: list[str], name: str, *routes: InjectedRoute) -> None:
        self.held = {each.prefix: each for each in routes}
        self.down = False
        self._log = log
        self._name = name

    def routes(self) -> dict[str, InjectedRoute]:
        if self.down:
            raise SpeakerError("down")
        return dict(self.held)

    def withdraw(self, prefixes: list[str]) -> None:
        for prefix in prefixes:
            del self.held[prefix]
            self._log.append(f"{self._name} - {prefix}")


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.log: list[str] = []
        self.halted = False
        routes = render(POP, override(exit=2), 7, 1)
        self.speakers = {name: Held(self.log, name, each) for name, each in routes.items()}
        speakers = cast(dict[str, BlockingGobgp], self.speakers)
        self.reaper = Reaper(POP, speakers, self.clock, 300, lambda: self.halted, grace_s=60)
        self.reaper.deadlines = {PREFIX: self.clock.monotonic_s() + 300}


def test_what_is_within_its_hold_and_grace_stays() -> None:
    rig = Rig()
    rig.clock.advance(360)
    assert rig.reaper.look() == []


def test_what_outlives_both_goes_the_exit_last() -> None:
    rig = Rig()
    rig.clock.advance(361)
    assert rig.reaper.look() == [("r1", PREFIX), ("r2", PREFIX), ("r3", PREFIX)]
    assert rig.log == [f"r2 - {PREFIX}", f"r3 - {PREFIX}", f"r1 - {PREFIX}"]
    assert rig.reaper.look() == []


def test_a_renewed_hold_keeps_it() -> None:
    rig = Rig()
    rig.clock.advance(350)
    rig.reaper.deadlines = {PREFIX: rig.clock.monotonic_s() + 300}
    rig.clock.advance(300)
    assert rig.reaper.look() == []


def test_what_nobody_keeps_books_on_has_one_hold_from_when_it_was_first_seen() -> None:
    rig = Rig()
    rig.reaper.deadlines = {}
    rig.clock.advance(1000)
    assert rig.reaper.look() == []
    rig.clock.advance(360)
    assert rig.reaper.look() == []
    rig.clock.advance(1)
    assert len(rig.reaper.look()) == 3


def test_a_gobgpd_that_does_not_answer_does_not_keep_the_others_waiting() -> None:
    rig = Rig()
    rig.speakers["r2"].down = True
    rig.clock.advance(361)
    assert rig.reaper.look() == [("r1", PREFIX), ("r3", PREFIX)]


def test_the_halt_file_needs_no_event_loop() -> None:
    rig = Rig()
    rig.halted = True
    assert len(rig.reaper.look()) == 3


@pytest.mark.services
async def test_against_a_real_gobgpd() -> None:
    async with running(("alone", ALONE)) as [daemon]:
        gobgpd = BlockingGobgp(daemon.target, MARKER)
        speaker = GobgpSpeaker(daemon.target, MARKER)
        kept, reaped = route("203.0.0.0/24"), route("2001:db8:7::/48", "2001:db8:ffff::9")
        await speaker.announce([kept, reaped])
        assert gobgpd.routes() == {each.prefix: each for each in (kept, reaped)}
        gobgpd.withdraw([reaped.prefix])
        assert await speaker.routes() == {kept.prefix: kept}
        await daemon.stop()
        with pytest.raises(SpeakerError, match="ListPath failed"):
            gobgpd.routes()
        gobgpd.close()
        await speaker.close()
