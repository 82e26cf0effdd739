"""The reaper of one gobgpd, without a gobgpd."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.actuation.reaper_note import KEY
from app.bgp.speaker import RESET_ABOVE, InjectedRoute
from app.cli.reap import reaper
from app.clock import ManualClock
from app.errors import SpeakerError
from app.reaper import FROZEN_S, GRACE_S, HUNG_S, LISTED_PER_S, Daemon, RouteReaper
from tests.app.actuation.routes import route


class SteppedClock(ManualClock):
    """A clock whose wall time somebody sets."""

    stepped_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.stepped_s

    def step(self, seconds: float) -> None:
        self.stepped_s += seconds


class Gobgpd(Daemon):
    """A gobgpd that answers unless `frozen`, and counts how often it is listed."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.held: dict[str, InjectedRoute] = {}
        self.noted: dict[str, bytes] = {}
        self.resets: list[str] = []
        self.frozen, self.unlistable, self.listed, self.ended, self.worked_s = False, False, 0, 0, 0.0

    def lease(self, prefix: str, seconds: float) -> None:
        self.held[prefix] = route(prefix).leased_until(round(self.clock.now_s() + seconds))

    def routes(self) -> dict[str, InjectedRoute]:
        self._answer()
        if self.unlistable:
            raise SpeakerError("the table is too large")
        self.listed += 1
        return dict(self.held)

    def withdraw(self, prefixes: list[str]) -> None:
        self._answer()
        for prefix in prefixes:
            del self.held[prefix]

    def reset(self, reason: str) -> None:
        self._answer()
        self.resets.append(reason)

    def put_note(self, key: str, value: bytes) -> None:
        self._answer()
        self.noted[key] = value

    def close(self) -> None:
        """Nothing to close."""

    def end(self) -> None:
        self.ended += 1

    def cpu_s(self) -> float:
        return self.worked_s

    def _answer(self) -> None:
        if self.frozen:
            raise SpeakerError("no answer in time")


class Rig:
    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.daemon = Gobgpd(self.clock)
        self.halted = False
        self.said: list[str] = []
        self.reaper = RouteReaper(self.daemon, self.daemon, self.clock, 300.0, lambda: self.halted, self.said.append)

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.clock.advance(1)
            self.reaper.look()


def test_a_route_goes_within_seconds_after_its_lease_and_not_before() -> None:
    rig = Rig()
    rig.daemon.lease("203.0.113.0/24", 20)
    rig.daemon.lease("203.0.112.0/24", 200)
    rig.wait(20)
    assert len(rig.daemon.held) == 2
    rig.wait(GRACE_S + 2)
    assert rig.daemon.held.keys() == {"203.0.112.0/24"}
    assert "1 routes, past their lease" in rig.said[0]


def test_a_lease_of_a_year_lasts_for_a_full_one() -> None:
    rig = Rig()
    rig.daemon.lease("203.0.113.0/24", 3e7)
    rig.wait(300)
    assert rig.daemon.held
    rig.wait(GRACE_S + 2)
    assert not rig.daemon.held


def test_a_halt_takes_everything_at_once() -> None:
    rig = Rig()
    rig.daemon.lease("203.0.113.0/24", 200)
    rig.wait(2)
    rig.halted = True
    rig.wait(1)
    assert not rig.daemon.held


@pytest.mark.parametrize(("routes", "resets"), [(RESET_ABOVE, 0), (RESET_ABOVE + 1, 1)])
def test_a_halt_of_many_routes_ends_the_session_as_well(routes: int, resets: int) -> None:
    rig = Rig()
    for number in range(routes):
        rig.daemon.lease(f"20.{number // 256}.{number % 256}.0/24", 200)
    rig.halted = True
    rig.wait(2)
    assert not rig.daemon.held
    assert len(rig.daemon.resets) == resets


def test_a_frozen_daemon_is_ended_and_one_that_is_slow_once_is_not() -> None:
    rig = Rig()
    rig.wait(2)
    rig.daemon.frozen = True
    rig.wait(FROZEN_S - 1)
    rig.daemon.frozen = False
    rig.wait(3)
    assert rig.daemon.ended == 0
    rig.daemon.frozen = True
    rig.wait(FROZEN_S + 1)
    assert rig.daemon.ended == 1


def test_a_daemon_that_is_only_busy_gets_more_time() -> None:
    rig = Rig()
    rig.daemon.frozen = True
    for second in range(round(HUNG_S) - 1):
        rig.daemon.worked_s = second
        rig.wait(1)
    assert rig.daemon.ended == 0
    rig.daemon.worked_s += 1
    rig.wait(1)
    assert rig.daemon.ended == 1


def test_looking_at_many_routes_is_rare_and_still_in_time() -> None:
    rig = Rig()
    for number in range(5 * LISTED_PER_S):
        rig.daemon.lease(f"20.{number // 65536}.{number // 256 % 256}.{number % 256}/32", 60)
    rig.wait(50)
    assert rig.daemon.listed <= 50 / 5 + 1
    rig.wait(10 + GRACE_S + 2)
    assert not rig.daemon.held


def test_it_leaves_a_sign_of_life_each_time() -> None:
    rig = Rig()
    rig.reaper.look()
    first = rig.daemon.noted[KEY]
    rig.wait(1)
    assert rig.daemon.noted[KEY] != first


def test_it_is_started_without_what_is_large() -> None:
    show = "import sys, app.cli.reap, app.reaper; print(*{'grpc', 'asyncio', 'ssl', 'numpy', 'faust'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", show], check=True, capture_output=True, text=True).stdout == "\n"


@pytest.mark.parametrize("target", ["gobgp", "unix://gobgp.sock", "127.0.0.1"])
def test_a_target_that_is_no_address_is_named(target: str) -> None:
    result = CliRunner().invoke(reaper, ["--target", target, "--marker", "64512:911"])
    assert result.exit_code == 2
    assert f"Invalid value for '--target': '{target}' " in result.output
    assert "unix:///PATH" in result.output


@pytest.mark.parametrize("marker", ["foo", "64500", "64500:0911", "64500:65536", "70000:1", "64500:911:1", ""])
def test_a_marker_that_no_route_has_is_refused(marker: str) -> None:
    result = CliRunner().invoke(reaper, ["--target", "unix:///run/x", "--marker", marker])
    assert result.exit_code == 2
    assert f"{marker!r} is no community ASN:NUMBER; `autopilot check` prints that of each PoP" in result.output


def test_a_daemon_that_takes_notes_and_cannot_be_listed_is_ended() -> None:
    rig = Rig()
    rig.daemon.lease("203.0.113.0/24", 20)
    rig.wait(2)
    rig.daemon.unlistable = True
    rig.wait(20 + GRACE_S + FROZEN_S + 2)
    assert rig.daemon.ended > 0


def test_a_process_that_cannot_be_seen_is_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another PID namespace its number reads as 0, which would be ourselves."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        monkeypatch.setattr("app.reaper.struct.unpack", lambda *_: (0, 0, 0))
        daemon = Daemon(f"unix://{path}")
        with pytest.raises(OSError, match="not visible"):
            daemon.end()
        assert path.exists()
        assert daemon.cpu_s() != daemon.cpu_s(), "unknown equals nothing"


@pytest.mark.parametrize("step_s", [-600.0, 600.0])
def test_a_step_of_the_clock_changes_no_lease_that_was_seen(step_s: float) -> None:
    rig = Rig()
    rig.daemon.lease("203.0.113.0/24", 60)
    rig.wait(1)
    rig.clock.step(step_s)
    rig.wait(58)
    assert rig.daemon.held
    rig.wait(3 + GRACE_S)
    assert not rig.daemon.held
