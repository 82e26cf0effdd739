"""Child processes of the local stack. Each has a log file, is probed until it is ready, and ends when we do.

`setpriv` drops root and gives every child the kernel's parent-death signal, so not even SIGKILL of this process leaves
one behind. The signal is bound to the thread that forks: run the event loop in the main thread. Each child leads its
own session, so Ctrl-C reaches only us and we keep control of the order in which they stop.
"""

import asyncio
import contextlib
import os
import pwd
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from app.errors import FROZEN, DaemonError

POLL_S = 0.2
# Only a process that hangs takes so long, on however busy a machine.
READY_WITHIN_S, STOP_WITHIN_S = 120.0, 30.0
LOG_TAIL_LINES = 12
BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)

# Returns what is still missing before the process is ready, or None once it is ready.
Probe = Callable[[], Awaitable[str | None]]
Report = Callable[[str], None]


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A program to run. If it ends by itself, it is restarted at most `restarts_max` times.

    `keeps_user` runs it as ourselves even if the runner drops root for the others.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = {}
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_s: float = STOP_WITHIN_S
    restarts_max: int = 0
    keeps_user: bool = False


class _Child:
    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.log = log
        self.restarts = 0
        self.crashes = 0
        self.stopping = False
        self.process: asyncio.subprocess.Process
        self.watch: asyncio.Task[None]


class Runner:
    """Starts programs in order, and stops them one by one in reverse order on leaving the block, also on SIGTERM.

    Logs go to `log_dir`; programs run as `user` if given. `report` gets a line if one ends by itself or does not stop.
    """

    def __init__(self, log_dir: Path, user: str | None = None, report: Report = lambda line: None) -> None:
        self._log_dir = log_dir
        self._user = user
        self._report = report
        self._children: dict[str, _Child] = {}
        # Exit status of every program that ended by itself and will not be restarted.
        self.ended: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        # SIGTERM leaves the block the way Ctrl-C does: by cancelling the task that entered it.
        task = asyncio.current_task()
        assert task is not None, "a Runner must be entered from a task"
        # `user` may own the directory and we may be root, so no link that it puts there leads our writing elsewhere.
        self._log_fd = os.open(self._log_dir, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        try:
            for name in reversed(list(self._children)):
                await self.stop(name)
        finally:
            os.close(self._log_fd)
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)

    async def start(self, program: Program, probe: Probe | None = None, within_s: float = READY_WITHIN_S) -> None:
        """Start a program and wait until `probe` finds nothing missing; DaemonError names process, reason and log."""
        assert program.name not in self._children, f"{program.name} is already running"
        assert program.restarts_max <= len(BACKOFF_S), f"{program.name}: at most {len(BACKOFF_S)} restarts are possible"
        child = _Child(program, self._log_dir / f"{program.name}.log")
        child.process = await self._fork(child)
        child.watch = asyncio.create_task(self._supervise(child), name=f"watch {program.name}")
        self._children[program.name] = child
        if probe is not None:
            await self.ready(program.name, probe, within_s)

    async def ready(self, name: str, probe: Probe, within_s: float = READY_WITHIN_S) -> None:
        """Poll until `probe` finds nothing missing; DaemonError after `within_s`, or if the process ends."""
        child = self._children[name]
        missing: str | None = "no answer"
        try:
            async with asyncio.timeout(within_s):
                while (missing := await probe()) is not None:
                    if child.watch.done():
                        raise self._failure(child, f"ended with status {child.process.returncode}")
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise self._failure(child, f"not ready after {within_s:g} s: {missing}") from None

    async def run(self, program: Program, within_s: float = READY_WITHIN_S) -> None:
        """Run a program to completion; DaemonError unless it exits with status 0 within `within_s`."""
        await self.start(program)
        child = self._children[program.name]
        child.stopping = True
        try:
            if status := await asyncio.wait_for(child.process.wait(), within_s):
                raise self._failure(child, f"ended with status {status}")
        except TimeoutError:
            raise self._failure(child, f"not done after {within_s:g} s") from None
        finally:
            await self.stop(program.name)

    def pid(self, name: str) -> int:
        """Process id of the program with this name."""
        return self._children[name].process.pid

    def log(self, name: str) -> Path:
        """Log file of the program with this name."""
        return self._children[name].log

    @property
    def restarts(self) -> dict[str, int]:
        """How often each program with `restarts_max` above 0 has been restarted."""
        return {name: child.restarts for name, child in self._children.items() if child.program.restarts_max}

    @property
    def crashes(self) -> int:
        """How many of the restarts were of programs that did not end because they had been frozen."""
        return sum(child.crashes for child in self._children.values())

    async def kill(self, name: str) -> None:
        """SIGKILL one process and wait until it is gone. It is restarted if its program allows restarts."""
        child = self._children[name]
        child.stopping = not child.program.restarts_max
        process = child.process
        _signal_group(process.pid, signal.SIGKILL)
        await process.wait()

    async def stop(self, name: str) -> None:
        """Stop a program with its own signal, then SIGKILL the rest of its group; does nothing if already stopped."""
        if (child := self._children.pop(name, None)) is None:
            return
        child.stopping = True
        child.watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await child.watch
        program, process = child.program, child.process
        try:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(program.stop_signal)
            await asyncio.wait_for(process.wait(), program.stop_within_s)
        except TimeoutError:
            self._report(f"{name} did not stop within {program.stop_within_s:g} s; it is killed")
        finally:
            _signal_group(process.pid, signal.SIGKILL)
        await process.wait()

    async def _fork(self, child: _Child) -> asyncio.subprocess.Process:
        program = child.program
        argv = (*setpriv(None if program.keeps_user else self._user), *program.argv)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        log = os.open(child.log.name, flags, 0o644, dir_fd=self._log_fd)
        try:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **program.env},
                start_new_session=True,
            )
        finally:
            os.close(log)

    async def _supervise(self, child: _Child) -> None:
        """Wait until the process ends; restart it while restarts are left."""
        name = child.program.name
        while True:
            status = await child.process.wait()
            if child.stopping:
                return
            if child.restarts == child.program.restarts_max:
                self.ended[name] = status
                self._report(f"{name} ended with status {status}; log: {child.log}")
                return
            child.restarts += 1
            child.crashes += status != FROZEN
            self._report(f"{name} ended with status {status}; restart {child.restarts} of {child.program.restarts_max}")
            await asyncio.sleep(BACKOFF_S[child.restarts - 1])
            child.process = await self._fork(child)

    def _failure(self, child: _Child, problem: str) -> DaemonError:
        tail = child.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        lines = "\n".join(f"  {line}" for line in tail) or "  (empty)"
        return DaemonError(f"{child.program.name}: {problem}\nlog {child.log} ends with:\n{lines}")


def setpriv(user: str | None) -> tuple[str, ...]:
    """Prefix of a command line: the program after it dies with us and runs as `user`, or as ourselves if None."""
    return ("setpriv", *(identity(user) if user else ()), "--pdeathsig=KILL", "--")


def identity(user: str) -> tuple[str, ...]:
    """Options of setpriv: nothing of root is left, and no program with set-user-id brings it back."""
    return (f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups", "--no-new-privs")


def _signal_group(leader: int, number: signal.Signals) -> None:
    """Signal a process and its helpers, which outlive a leader that crashes. As session leader its pid is the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)
