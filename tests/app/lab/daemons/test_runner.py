"""The runner on processes of the base system: logs, readiness, order of the end, restarts, privileges."""

import asyncio
import getpass
import os
import signal
from pathlib import Path

import pytest

from app.errors import ENDED_ITSELF, FROZEN, DaemonError
from app.lab.daemons import runner as module
from app.lab.daemons.runner import Probe, Program, Runner
from tests.app.lab.daemons.processes import gone, sh
from tests.patience import PATIENCE_S


def holds(path: Path, text: str) -> Probe:
    async def probe() -> str | None:
        found = path.read_text() if path.exists() else ""
        return None if text in found else f"{text!r} is not in {path.name}"

    return probe


async def test_output_goes_to_the_log_and_readiness_is_asked(tmp_path: Path) -> None:
    async with Runner(tmp_path) as runner:
        log = tmp_path / "talker.log"
        await runner.start(
            Program(name="talker", argv=sh("echo out; echo err >&2; exec sleep 60")), holds(log, "out\nerr\n")
        )
        assert runner.log("talker") == log
        assert not runner.ended


async def test_one_that_is_never_ready_is_named_with_its_log(tmp_path: Path) -> None:
    async with Runner(tmp_path) as runner:
        with pytest.raises(DaemonError) as failure:
            await runner.start(
                Program(name="mute", argv=sh("echo hello; exec sleep 60")), holds(tmp_path / "x", "word"), within_s=3
            )
    message = str(failure.value)
    assert "mute: not ready after 3 s: 'word' is not in x" in message
    assert f"log {tmp_path}/mute.log ends with:\n  hello" in message


async def test_one_that_ends_before_it_is_ready_fails_at_once(tmp_path: Path) -> None:
    async with Runner(tmp_path) as runner:
        with pytest.raises(DaemonError, match=r"dead: ended with status 3(.|\n)*no such thing"):
            await runner.start(
                Program(name="dead", argv=sh("echo no such thing; exit 3")),
                holds(tmp_path / "x", "word"),
                within_s=PATIENCE_S,
            )


async def test_run_waits_for_the_end(tmp_path: Path) -> None:
    async with Runner(tmp_path) as runner:
        await runner.run(Program(name="once", argv=sh("exit 0")), within_s=PATIENCE_S)
        with pytest.raises(DaemonError, match="bad: ended with status 1"):
            await runner.run(Program(name="bad", argv=sh("exit 1")), within_s=PATIENCE_S)


async def test_the_end_is_in_reverse_order_and_by_the_signal_of_each(tmp_path: Path) -> None:
    story = tmp_path / "story"
    script = "trap 'echo {0} {1} >>{2}; exit' {1}; echo up; while :; do sleep 0.05; done"
    async with Runner(tmp_path) as runner:
        for name, number in (("first", signal.SIGTERM), ("second", signal.SIGINT)):
            word = number.name.removeprefix("SIG")
            program = Program(name=name, argv=sh(script.format(name, word, story)), stop_signal=number)
            await runner.start(program, holds(tmp_path / f"{name}.log", "up"))
    assert story.read_text() == "second INT\nfirst TERM\n"


async def test_what_does_not_stop_is_killed_with_its_helpers(tmp_path: Path) -> None:
    reports: list[str] = []
    async with Runner(tmp_path, report=reports.append) as runner:
        script = "trap '' TERM; sleep 60 & echo $!; while :; do sleep 0.05; done"
        program = Program(name="deaf", argv=sh(script), stop_within_s=0.3)
        await runner.start(program, holds(tmp_path / "deaf.log", "\n"))
        helper = int((tmp_path / "deaf.log").read_text())
    assert reports == ["deaf did not stop within 0.3 s; it is killed"]
    await gone([helper])


async def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    async with Runner(tmp_path) as runner:
        await runner.start(Program(name="one", argv=sh("exec sleep 60")))
        await runner.stop("one")
        await runner.stop("one")


async def test_restarts_are_counted_told_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.0, 0.0, 0.0))
    reports: list[str] = []
    async with Runner(tmp_path, report=reports.append) as runner:
        await runner.start(Program(name="crasher", argv=sh("exit 7"), restarts_max=2))

        async def given_up() -> str | None:
            return None if reports and reports[-1].startswith("crasher ended with status 7; log") else "still tried"

        async with asyncio.timeout(PATIENCE_S):
            while await given_up():
                await asyncio.sleep(0.01)
        assert runner.restarts == {"crasher": 2}
        assert runner.crashes == 2
        assert runner.ended == {"crasher": 7}
    told = [f"crasher ended with status 7; restart {count} of 2" for count in (1, 2)]
    assert reports == [*told, f"crasher ended with status 7; log: {tmp_path}/crasher.log"]


@pytest.mark.parametrize(("status", "crashes"), [(FROZEN, 0), (ENDED_ITSELF, 1)])
async def test_only_a_worker_that_was_frozen_has_not_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, crashes: int
) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.0,))
    up = holds(tmp_path / "worker.log", "up\nup\n")
    async with Runner(tmp_path) as runner:
        first = f"test -e {tmp_path}/ran && exec sleep 60; touch {tmp_path}/ran; exit {status}"
        await runner.start(Program(name="worker", argv=sh(f"echo up; {first}"), restarts_max=1), up)
        assert runner.restarts == {"worker": 1}
        assert runner.crashes == crashes


async def test_a_killed_worker_comes_back_and_a_killed_daemon_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.0, 0.0, 0.0))
    up = holds(tmp_path / "worker.log", "up\n")
    async with Runner(tmp_path) as runner:
        await runner.start(Program(name="worker", argv=sh("echo up; exec sleep 60"), restarts_max=1), up)
        await runner.start(Program(name="daemon", argv=sh("exec sleep 60")))
        before = runner.pid("worker")
        await runner.kill("worker")
        await runner.kill("daemon")
        await runner.ready("worker", holds(tmp_path / "worker.log", "up\nup\n"))
        assert runner.pid("worker") != before
        assert runner.restarts == {"worker": 1}
        assert not runner.ended, "asked for, so no surprise"


async def test_root_is_dropped_but_not_for_our_own_workers(tmp_path: Path) -> None:
    user = "nobody" if os.geteuid() == 0 else None
    async with Runner(tmp_path, user) as runner:
        await runner.run(Program(name="daemon", argv=sh("id -un; id -G | wc -w")), within_s=PATIENCE_S)
        await runner.run(Program(name="worker", argv=sh("id -un"), keeps_user=True), within_s=PATIENCE_S)
    name, groups = (tmp_path / "daemon.log").read_text().split()
    assert name == (user or getpass.getuser())
    assert user is None or groups == "1"
    assert (tmp_path / "worker.log").read_text().strip() == getpass.getuser()


async def test_a_log_is_written_where_no_link_leads(tmp_path: Path) -> None:
    """The user of the daemons owns the directory, and root writes the logs."""
    theirs, run_dir = tmp_path / "theirs", tmp_path / "run"
    theirs.mkdir()
    run_dir.mkdir()
    (theirs / "file").touch()
    (run_dir / "linked.log").symlink_to(theirs / "file")
    async with Runner(run_dir) as runner:
        with pytest.raises(OSError, match="symbolic link"):
            await runner.start(Program(name="linked", argv=sh("echo ours")))
        run_dir.rename(tmp_path / "moved")
        run_dir.symlink_to(theirs)
        # Its log cannot be read where it should be, but what it says is where the directory is now.
        await runner.run(Program(name="talker", argv=sh("echo ours")), within_s=PATIENCE_S)
    assert (tmp_path / "moved/talker.log").read_text() == "ours\n"
    assert [path.name for path in theirs.iterdir()] == ["file"]
    assert (theirs / "file").read_text() == ""
