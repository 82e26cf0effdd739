"""The actuator on real daemons, with forgers, strangers and repeaters who may write to every topic."""

import asyncio
import os
import signal
from collections.abc import Callable

import msgspec
import pytest

from app.cli.situation import situation
from app.clock import SystemClock, utc
from app.config.key_files import make_key
from app.contract import topics
from app.contract.schemas import ActuatorStatus, Control, DeadLetter
from app.kafka.orders import ALL
from app.kafka.read import read_topic
from app.lab.daemons.stack import Stack
from tests.integration.bgp import eventually
from tests.integration.conftest import PREFIXES
from tests.integration.loglines import log_lines
from tests.integration.test_actuator import MOVED, NATURAL, POP, acting, move
from tests.keys import signer

pytestmark = [pytest.mark.services]

DECISIONS = topics.DECISIONS.for_pop(POP)
STRANGER = signer(7)


class Observed:
    """What the actuator of a stack says of itself."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    async def letters(self, count: int) -> list[str]:
        """The reasons of its dead letters, once there are so many."""
        letters: list[DeadLetter] = []

        async def are_there() -> bool:
            records = await read_topic(self.stack.kafka, topics.DEAD_LETTERS.name)
            letters[:] = [msgspec.json.decode(record.value, type=DeadLetter) for record in records]
            return len(letters) >= count

        await eventually(are_there)
        return [letter.reason for letter in letters]

    async def says(self, holds: Callable[[ActuatorStatus], bool]) -> ActuatorStatus:
        """Its newest sign of life, once it says so."""
        found: list[ActuatorStatus] = []

        async def is_so() -> bool:
            records = await read_topic(self.stack.kafka, topics.ACTUATOR_STATUS.name, last=1)
            found[:] = [msgspec.json.decode(record.value, type=ActuatorStatus) for record in records]
            return bool(found) and holds(found[-1])

        await eventually(is_so)
        return found[-1]

    async def refusals(self, **counts: int) -> None:
        """Wait until it has refused so many records for each cause, with an underscore for a dash."""
        expected = {cause.replace("_", "-"): count for cause, count in counts.items()}

        def holds(status: ActuatorStatus) -> bool:
            of_control = [each for each in status.refusals if each.topic == topics.CONTROL.name]
            return {each.cause: each.records for each in of_control} == expected

        await self.says(holds)


def forged_order(halt: bool) -> bytes:
    return msgspec.json.encode(Control(pop=ALL, halt=halt, by="mallory", at=utc(SystemClock().now_s())))


async def test_only_what_is_signed_moves_traffic_or_lifts_a_halt(daemons: None) -> None:
    first, second, third = PREFIXES
    async with acting() as made:
        seen, telemetry = Observed(made.stack), made.telemetry
        assert telemetry.signer is not None
        await made.order(halt=False)
        [resume] = [record.value for record in await read_topic(made.stack.kafka, topics.CONTROL.name)]
        old = telemetry.decision(move(first))
        await telemetry.write(DECISIONS, old)
        await made.goes(MOVED, first)

        for value in (
            telemetry.decision(move(second), released=(first,), signed=False),
            STRANGER.sign(DECISIONS, POP, telemetry.decision(move(second), released=(first,), signed=False)),
            telemetry.signer.sign(topics.CONTROL.name, POP, telemetry.decision(move(second), signed=False)),
            telemetry.decision(move(second)).replace(b'"bps":1', b'"bps":2'),
        ):
            await telemetry.write(DECISIONS, value)
        assert await seen.letters(4) == [
            "it is not signed",
            f"its key {STRANGER.key_id} is not trusted",
            "its signature is not of this record",
            "its signature is not of this record",
        ]
        await telemetry.write(topics.CONTROL.name, forged_order(halt=True), ALL)
        await telemetry.write(topics.CONTROL.name, STRANGER.sign(topics.CONTROL.name, ALL, forged_order(True)), ALL)
        await telemetry.decide(move(second), released=(first,))
        await made.goes(MOVED, second)
        await made.goes(NATURAL, first)

        await telemetry.write(DECISIONS, old)  # as it was
        await telemetry.decide(move(second), move(third))
        await made.goes(MOVED, second, third)
        assert await made.hops(first) == NATURAL

        await made.order(halt=True)
        await made.goes(NATURAL, second, third)
        await telemetry.write(topics.CONTROL.name, resume, ALL)
        await telemetry.write(topics.CONTROL.name, forged_order(halt=False), ALL)
        await seen.refusals(unsigned=2, unknown_key=1, replayed=1)
        assert (await seen.says(lambda status: True)).halted_by == ("control",)
        await made.stack.runner.kill("actuator")  # its successor reads all of it again
        await seen.refusals(unsigned=2, unknown_key=1, replayed=1)
        assert (await seen.says(lambda status: True)).halted_by == ("control",)
        now = await situation(made.stack.deployment, POP, SystemClock().now_s())
        assert now.halts[POP].by == "a test (key operator)"
        assert "records-refused" in [notice.kind for notice in now.notices[POP]]

        await made.order(halt=False)

        async def back() -> bool:
            """An actuator that is still halted follows none of these."""
            await telemetry.decide(move(second))
            await asyncio.sleep(0.2)
            return await made.hops(second) == MOVED

        await eventually(back)
        lines = [line["message"] for line in log_lines(made.stack.runner.log("actuator"))]
        assert f"{DECISIONS}: refused a record: bad-signature" in lines


async def test_keys_are_rotated_while_an_override_stands(daemons: None) -> None:
    first, second, third = PREFIXES
    async with acting() as made:
        telemetry, file = made.telemetry, made.stack.settings_file
        old = telemetry.signer
        new = make_key(made.stack.run_dir / "keys" / "new.key")
        assert old is not None

        async def reload(before: str, after: str) -> None:
            text = file.read_text()
            assert before in text
            file.write_text(text.replace(before, after, 1))
            count = len(log_lines(made.stack.runner.log("actuator")))
            os.kill(made.stack.runner.pid("actuator"), signal.SIGHUP)

            async def is_done() -> bool:
                lines = log_lines(made.stack.runner.log("actuator"))[count:]
                return any("reload: trust.key" in line["message"] for line in lines)

            await eventually(is_done)

        await telemetry.decide(move(first))
        await made.goes(MOVED, first)
        trusted = f'name = "new"\npublic = "{new.public_text}"\nsigns = ["decisions"]\n'
        await reload("\n[[trust.key]]\n", f"\n[[trust.key]]\n{trusted}\n[[trust.key]]\n")
        await telemetry.decide(move(first), move(second))
        await made.goes(MOVED, first, second)
        telemetry.signer = new
        await telemetry.decide(move(first), released=(second,))
        await made.goes(NATURAL, second)
        until = f"{utc(SystemClock().now_s()):%Y-%m-%dT%H:%M:%SZ}"
        await reload('name = "telemetry"\n', f'name = "telemetry"\nuntil = {until}\n')
        telemetry.signer = old
        await telemetry.decide(move(third), released=(first,))
        telemetry.signer = new
        await telemetry.decide(move(first), move(second))
        await made.goes(MOVED, first, second)
        assert await made.hops(third) == NATURAL
        withdrawn = await made.told("withdrawn", 2)
        assert {record.prefix for record in withdrawn} == {second}, "nothing else was ever withdrawn"
