"""Which signed decisions reach the actuator, and what is said of those that do not."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec
from faust.types import TP

from agents.actuate import Following
from app.clock import utc
from app.config.trusted_keys import TrustSettings, trust_of
from app.contract.schemas import Decision
from app.contract.signing import Keyring, Signer
from app.kafka.untrusted import RefusalLog
from app.stream.consumer import Record
from tests.agents.outbox import Outbox
from tests.app.actuation.pop import decision, override
from tests.keys import signer, trusted

TOPIC, POP = TP("decisions-rhv1000", 0), "rhv1000"
T0 = 1_700_000_000.0
OLD, NEW, STRANGER = signer(1), signer(2), signer(3)


def value(seq: int, by: Signer | None, pop: str = POP, at_s: float = T0) -> bytes:
    made = msgspec.structs.replace(decision(at_s, seq, [override()]), pop=pop)
    encoded = msgspec.json.encode(made)
    return encoded if by is None else by.sign(f"decisions-{pop}", pop, encoded)


class Actuator:
    """What follows decisions: `seqs` are those that it was given."""

    def __init__(self, trust: Keyring) -> None:
        self.seqs: list[int] = []
        self.refusals, self.outbox = RefusalLog(), Outbox()
        self.following = Following([POP], trust, self._follow, self.refusals.note, self.outbox.publisher)

    def _follow(self, decision: Decision) -> None:
        self.seqs.append(decision.seq)

    async def read(self, *values: bytes, at_s: float = T0) -> None:
        async def events() -> Any:
            records = [Record(offset, at_s, b"rhv1000", value) for offset, value in enumerate(values)]
            yield SimpleNamespace(message=SimpleNamespace(tp=TOPIC), value=records)

        await self.following.run(cast(Any, SimpleNamespace(events=events)))

    @property
    def causes(self) -> dict[str, int]:
        return {each.cause: each.records for each in self.refusals.of([TOPIC.topic])}


async def test_what_is_not_signed_by_ours_is_a_dead_letter_and_the_next_is_followed() -> None:
    actuator = Actuator(trust_of(TrustSettings(key=(trusted(OLD, "decisions"), trusted(NEW, "control")))))
    foreign = msgspec.json.encode(decision(T0, 9, [override()]))
    await actuator.read(
        value(1, OLD),
        value(2, None),
        value(3, STRANGER),
        value(4, NEW),
        value(5, OLD).replace(b'"seq":5', b'"seq":6'),
        value(7, OLD, pop="fra1000"),
        value(0, OLD, at_s=T0 - 1000),
        OLD.sign("control", POP, foreign),
        value(10, OLD),
    )
    assert actuator.seqs == [1, 10]
    assert actuator.causes == {
        "unsigned": 1,
        "unknown-key": 1,
        "foreign-key": 1,
        "bad-signature": 2,
        "wrong-topic": 1,
        "replayed": 1,
    }
    assert [letter.partition(": ")[0] for letter in actuator.outbox.letters] == [
        f"decisions-rhv1000@{offset}" for offset in range(1, 8)
    ]


async def test_what_telemetry_could_not_send_before_is_late_and_no_replay() -> None:
    actuator = Actuator(trust_of(TrustSettings(key=(trusted(OLD, "decisions"),))))
    late = value(3, OLD, at_s=T0 - 1000)
    await actuator.read(late)
    assert actuator.causes == {"replayed": 1}, "nothing is known yet"
    await actuator.read(value(2, OLD), late, late, value(4, OLD), late)
    assert actuator.seqs == [2, 3, 3, 4]
    assert actuator.causes == {"replayed": 2}


async def test_keys_are_rotated_without_a_gap() -> None:
    """The new key is trusted before it signs, and the old one until it does not sign any more."""
    old, new = trusted(OLD, "decisions", name="old"), trusted(NEW, "decisions", name="new")
    actuator = Actuator(trust_of(TrustSettings(key=(old,))))
    await actuator.read(value(1, OLD))
    actuator.following.trust = trust_of(TrustSettings(key=(old, new)))
    await actuator.read(value(2, OLD))
    await actuator.read(value(3, NEW))
    retired = msgspec.structs.replace(old, until=utc(T0 + 20))
    actuator.following.trust = trust_of(TrustSettings(key=(retired, new)))
    await actuator.read(value(3, OLD), at_s=T0 + 19)  # a repeat
    await actuator.read(value(4, NEW), at_s=T0 + 30)
    await actuator.read(value(5, OLD), at_s=T0 + 30)
    actuator.following.trust = trust_of(TrustSettings(key=(new,)))
    await actuator.read(value(6, NEW), at_s=T0 + 40)
    await actuator.read(value(7, OLD), at_s=T0 + 40)
    assert actuator.seqs == [1, 2, 3, 3, 4, 6]
    assert actuator.causes == {"retired-key": 1, "unknown-key": 1}
