"""`autopilot reload`: asks the workers on this host what a SIGHUP would change, and sends it if all of them can."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import msgspec

from app.cli.show import chosen
from app.clock import Clock
from app.config.settings import Deployment
from app.contract.decoding import Read, Rejected, reader_of
from app.errors import DaemonError
from app.reload import Preview

ANSWER_S, DONE_S, LOOK_EVERY_S = 5.0, 30.0, 0.2
_read_preview: Read[Preview] = reader_of(Preview)


class Reloaded(msgspec.Struct, frozen=True):
    """The workers that were asked, the ports (by settings key) where none answered, and whether all took over."""

    workers: list[Preview]
    silent: dict[str, int]
    reloaded: bool


async def reload(deployment: Deployment, pop: str | None, clock: Clock) -> Reloaded:
    """Reload the workers on this host, those of `pop` if given, all or none; ConfigError if there is no such PoP.

    DaemonError if a worker cannot be signalled, or does not run with its files in the end.
    """
    chosen(deployment, pop)
    settings = deployment.settings
    ports = {"state_port": settings.state_port, "actuator_port": settings.actuator_port}
    answers = {key: await _ask(settings.url(port)) for key, port in ports.items() if port}
    silent = {key: ports[key] for key, answer in answers.items() if answer is None}
    workers = {
        settings.url(ports[key]): answer
        for key, answer in answers.items()
        if answer is not None and (pop is None or pop in answer.pops)
    }
    can = bool(workers) and not any(worker.problems or worker.restarts for worker in workers.values())
    if can:
        for worker in workers.values():
            _signal(worker)
        for url, worker in workers.items():
            await _wait_for(worker, url, clock)
    return Reloaded(list(workers.values()), silent, can)


def lines(found: Reloaded) -> list[str]:
    """What happened, for people."""
    silent = [f"no worker answers at {key} ({port}) on this host" for key, port in found.silent.items()]
    return [line for worker in found.workers for line in _of_worker(worker, found.reloaded)] + silent


def _of_worker(worker: Preview, reloaded: bool) -> Iterator[str]:
    name, stays = f"{worker.process} of {worker.cell}", f"nothing was changed, configuration {worker.config} stays"
    if worker.problems:
        yield f"{name}: its files have mistakes; {stays}:"
        yield from (f"- {problem}" for problem in worker.problems)
    elif worker.restarts:
        yield f"{name}: needs a restart for these; {stays}:"
        yield from (f"- {change}" for change in worker.restarts)
    elif not reloaded:
        yield f"{name}: {stays}, because another worker cannot follow"
    else:
        yield f"{name}: configuration {worker.after} is in use" + (":" if worker.changes else "; nothing differs")
        yield from (f"- {change}" for change in worker.changes)


async def _ask(url: str) -> Preview | None:
    """What a SIGHUP would change in the worker that answers at this URL; None if none does."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/state/reload") as answer:
            answer.raise_for_status()
            preview = _read_preview(await answer.read())
    except (aiohttp.ClientError, TimeoutError):
        return None
    return None if isinstance(preview, Rejected) else preview


def _signal(worker: Preview) -> None:
    """Send SIGHUP, which ends a process that does not expect it: the pid may be of another container's."""
    try:
        command = Path(f"/proc/{worker.pid}/cmdline").read_bytes().split(b"\0")
        if worker.process.encode() in command:
            return os.kill(worker.pid, signal.SIGHUP)
        reason = "it is not among the processes here"
    except OSError as error:
        reason = str(error.strerror)
    raise DaemonError(
        f"{worker.process} of {worker.cell}, process {worker.pid}: {reason}; send it SIGHUP where it runs"
    )


async def _wait_for(worker: Preview, url: str, clock: Clock) -> None:
    until_s = clock.monotonic_s() + DONE_S
    while (now := await _ask(url)) is None or now.config != worker.after:
        if clock.monotonic_s() > until_s:
            raise DaemonError(f"{worker.process} of {worker.cell}: it did not take over its files; see its log")
        await asyncio.sleep(LOOK_EVERY_S)
