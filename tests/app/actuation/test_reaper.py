"""The last resort: what outlives its hold goes, whatever else stands still."""

import threading

import pytest

from app.actuation.reaper import Reaper
from app.actuation.render import render
from app.bgp.blocking import BlockingGobgp
from app.bgp.gobgp import GobgpSpeaker
from app.bgp.speaker import InjectedRoute
from app.clock import ManualClock
from app.errors import SpeakerError
from tests.app.actuation.pop import POP, PREFIX, override
from tests.app.actuation.routes import MARKER, route
from tests.app.bgp.gobgpd import ALONE, running
from tests.patience import PATIENCE_S


class HeldRoutes:
    """A gobgpd as the reaper sees it."""

    def __init__(self, log: list[str], name: str, *routes: InjectedRoute) -> None:
        self.held = {each.prefix: each for each in routes}
        self.fails: Exception | None = None
        self.refuses: Exception | None = None
        self._log = log
        self._name = name

    def routes(self) -> dict[str, InjectedRoute]:
        if self.fails is not None:
            raise self.fails
        return dict(self.held)

    def withdraw(self, prefixes: list[str]) -> None:
        if self.refuses is not None:
            raise self.refuses
        for prefix in prefixes:
            del self.held[prefix]
            self._log.append(f"{self._name} - {prefix}")

    def close(self) -> None: ...


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.log: list[str] = []
        self.halted = False
        routes = render(POP, override(exit=2), int(self.clock.now_s()) + 300)
        self.speakers = {name: HeldRoutes(self.log, name, each) for name, each in routes.items()}
        self.reaper = Reaper(POP, self.speakers, self.clock, lambda: self.halted, lease_s=300, grace_s=60)

    def leased_until(self, lease_end_s: float) -> None:
        for speaker in self.speakers.values():
            speaker.held = {prefix: each.leased_until(int(lease_end_s)) for prefix, each in speaker.held.items()}


def test_what_is_within_its_hold_and_grace_stays() -> None:
    rig = Rig()
    rig.clock.advance(360)
    assert rig.reaper.looked_s is None
    assert rig.reaper.look() == []
    assert rig.reaper.looked_s == rig.clock.monotonic_s()


def test_what_outlives_both_goes_the_exit_last() -> None:
    rig = Rig()
    rig.clock.advance(361)
    assert rig.reaper.look() == [("r1", PREFIX), ("r2", PREFIX), ("r3", PREFIX)]
    assert rig.log == [f"r2 - {PREFIX}", f"r3 - {PREFIX}", f"r1 - {PREFIX}"]
    assert rig.reaper.look() == []


def test_a_renewed_hold_keeps_it() -> None:
    rig = Rig()
    rig.clock.advance(350)
    rig.reaper.look()
    rig.leased_until(rig.clock.now_s() + 300)
    rig.clock.advance(300)
    assert rig.reaper.look() == []


def test_a_lease_that_ends_in_a_year_is_a_full_one_at_most() -> None:
    """Somebody typed it in, or a clock is wrong."""
    rig = Rig()
    rig.leased_until(rig.clock.now_s() + 3e7)
    assert rig.reaper.look() == []
    rig.clock.advance(360)
    assert rig.reaper.look() == []
    rig.clock.advance(1)
    assert len(rig.reaper.look()) == 3


def test_a_route_without_a_lease_goes() -> None:
    rig = Rig()
    rig.leased_until(0)
    assert len(rig.reaper.look()) == 3


@pytest.mark.parametrize("error", [SpeakerError("down"), ValueError("a path of a kind nobody foresaw")])
def test_a_gobgpd_that_does_not_answer_does_not_keep_the_others_waiting(error: Exception) -> None:
    rig = Rig()
    rig.speakers["r2"].fails = error
    rig.clock.advance(361)
    assert rig.reaper.look() == [("r1", PREFIX), ("r3", PREFIX)]


@pytest.mark.parametrize("error", [SpeakerError("down"), ValueError("closed")])
def test_a_withdrawal_that_fails_does_not_keep_the_others_waiting(error: Exception) -> None:
    rig = Rig()
    rig.speakers["r2"].refuses = error
    rig.clock.advance(361)
    rig.reaper.look()
    assert rig.log == [f"r3 - {PREFIX}", f"r1 - {PREFIX}"]


def test_the_thread_logs_an_error_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    looks = threading.Semaphore(0)

    def halted() -> bool:
        looks.release()
        raise PermissionError("halt")

    reaper = Reaper(POP, rig.speakers, rig.clock, halted, lease_s=300, grace_s=60)
    reaper.start(every_s=0.001)
    assert all(looks.acquire(timeout=PATIENCE_S) for _ in range(2)), "it ended"
    reaper.stop()
    assert "reaper" in caplog.text
    assert "PermissionError" in caplog.text


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
