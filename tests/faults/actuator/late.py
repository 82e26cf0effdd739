"""A gobgpd that answers the actuator late: what must go goes all the same, for nobody waits until it has answered.

Its reaper has a connection of its own, and is answered in time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from app.bgp.calls import DEADLINE
from tests.faults.actuator.light import AWAY, LightRig, on_injectors
from tests.faults.actuator.parts import OVERRIDES, PEER, ROUTER
from tests.faults.actuator.rig import NATURAL_PEER, prefixes
from tests.faults.actuator.verdict import Trial

LATE_S = DEADLINE.base_s + 0.5
GONE_S = 5.0
MISSED = "no answer in time"
READ_BYTES = 1 << 16


class Answers:
    """The answers of one daemon, which come `late_s` seconds late."""

    late_s = 0.0

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass a connection on to the daemon."""
        answers, requests = await asyncio.open_unix_connection(self._socket)
        with suppress(ConnectionError):
            async with asyncio.TaskGroup() as group:
                group.create_task(_passed_on(reader, requests))
                group.create_task(self._delayed(answers, writer))

    async def _delayed(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while read := await answers.read(READ_BYTES):
            loop.call_later(self.late_s, writer.write, read)
        writer.close()


async def _passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while read := await reader.read(READ_BYTES):
        writer.write(read)
    writer.close()


async def lose_or_halt(trial: Trial) -> None:
    """The row: the paths under some overrides go, every other time all are halted by order; withdrawals do not wait."""
    many = prefixes(OVERRIDES * trial.times)
    async with (
        on_injectors(trial, {NATURAL_PEER: many, PEER: many}, away=ROUTER) as rig,
        answering_late(rig) as answers,
    ):
        for number in range(trial.times):
            mine = many[OVERRIDES * number : OVERRIDES * (number + 1)]
            await rig.decide(PEER, mine)
            answers.late_s = LATE_S
            await _is_missed(rig)
            began_s = rig.clock.monotonic_s()
            if number % 2:
                await rig.command("halt")
            else:
                await rig.echoes["pop1"].withdraw(PEER, mine)
            await trial.gone(partial(rig.held, "pop1"), began_s, GONE_S)
            answers.late_s = 0.0
            if number % 2:
                await rig.command("resume")
            trial.say(f"{trial.seconds[-1]} s")
        rig.no_exits(trial)


async def _is_missed(rig: LightRig) -> None:
    """Wait until the actuator says that it has no answer, and so does not know what is held."""
    log = rig.settings_file.parent / "actuator.log"
    before = log.read_text().count(MISSED)

    async def is_said() -> bool:
        return log.read_text().count(MISSED) > before

    await rig.until(is_said, lambda: "the actuator missed no answer")


@asynccontextmanager
async def answering_late(rig: LightRig) -> AsyncIterator[Answers]:
    """Start the gobgpd of ROUTER, which the actuator reaches through the answers that are given."""
    [place] = rig.places.values()
    await rig.restart_gobgpd(place, ROUTER)
    socket = Path(place.target(ROUTER).removeprefix("unix://"))
    answers = Answers(socket)
    away = place.site.run_dir / AWAY / socket.name
    away.parent.mkdir()
    server = await asyncio.start_unix_server(answers.serve, away)
    try:
        yield answers
    finally:
        server.close()
