"""Signed decisions and orders, and what may be made of them: only what a trusted key has signed so is believed."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from app.clock import utc
from app.config.trusted_keys import TrustSettings, trust_of
from app.contract import topics
from app.contract.decoding import Read, reader_of
from app.contract.schemas import Control, Decision
from app.contract.signing import TAIL_BYTES, Signer, Untrusted
from app.kafka.orders import ALL, ISSUED_WITHIN_S, Orders
from tests.fuzz import corpus
from tests.fuzz.corpus import NOW_S, POP
from tests.keys import signer, trusted

OTHER_POP = "fra1000"
OURS, OF_OTHER_POP, RETIRED, STRANGER = SIGNERS = [signer(number) for number in range(1, 5)]
KEYRING = trust_of(
    TrustSettings(
        key=(
            trusted(OURS, "decisions", "control"),
            trusted(OF_OTHER_POP, "decisions", "control", pops=(OTHER_POP,)),
            msgspec.structs.replace(trusted(RETIRED, "decisions", "control"), until=utc(NOW_S - 3600)),
        )
    )
)
ORDERS_EVERY_S, ORDERS, AROUND_S = 60, range(-10, 11), 900
BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

read_decision: Read[Decision] = reader_of(Decision)


class Forged(AssertionError):
    """Something is believed that nobody signed, or not believed though it is signed."""


class Sent(NamedTuple):
    """A record as Kafka has it."""

    topic: str
    key: bytes
    value: bytes


def sent(by: Signer, topic: str, pop: str, value: bytes) -> Sent:
    return Sent(topic, pop.encode(), by.sign(topic, pop, value))


def _order(number: int, pop: str) -> Control:
    return Control(pop=pop, halt=number % 2 == 0, by=OURS.key_id, at=utc(NOW_S + number * ORDERS_EVERY_S))


def _decisions(by: Signer, pop: str) -> Iterator[Sent]:
    for value in corpus.published()["decision"]:
        yield sent(by, topics.DECISIONS.for_pop(pop), pop, value.replace(POP.encode(), pop.encode()))


DECISIONS = [record for by in SIGNERS for pop in (POP, OTHER_POP) for record in _decisions(by, pop)]
GENUINE = {*_decisions(OURS, POP), *_decisions(OURS, OTHER_POP), *_decisions(OF_OTHER_POP, OTHER_POP)}
GIVEN = {
    sent(OURS, topics.CONTROL.name, pop, msgspec.json.encode(order)): order
    for number in ORDERS
    for pop in (POP, ALL)
    for order in [_order(number, pop)]
}
STRANGE = [sent(by, topics.CONTROL.name, POP, msgspec.json.encode(_order(0, POP))) for by in SIGNERS[1:]]


def forgeries(mutants: Sequence[bytes], genuine: Sequence[Sent], rng: random.Random) -> Iterator[Sent]:
    """Genuine records, and those that know one: mutants, other places, another's signature, other text of the same."""
    for mutant in mutants:
        record, other = rng.choice(genuine), rng.choice(genuine)
        value, tail = record.value, record.value[-TAIL_BYTES:]
        letter = BASE64.index(value[-5:-4])
        yield rng.choice(
            (
                record,
                record._replace(value=mutant),
                record._replace(value=other.value),
                record._replace(key=other.key),
                record._replace(topic=other.topic),
                record._replace(value=other.value[:-TAIL_BYTES] + tail),
                record._replace(value=value[:-5] + BASE64[letter ^ 1 : (letter ^ 1) + 1] + value[-4:]),
                record._replace(value=value[:-TAIL_BYTES] + rng.choice((b" ", b',"more":1')) + tail),
            )
        )


def decisions(mutants: Sequence[bytes], rng: random.Random) -> None:
    """A decision is believed if and only if it stands where a key that may has signed it."""
    for record in forgeries(mutants, DECISIONS, rng):
        _judge(record, record in GENUINE)
    for mutant in mutants:
        if mutant.startswith(b'{"') and mutant.endswith(b"}"):
            _judge(sent(OURS, topics.DECISIONS.for_pop(POP), POP, mutant), True)


def _judge(record: Sent, is_signed: bool) -> None:
    said = KEYRING.read(read_decision, *record, NOW_S)
    if isinstance(said, Untrusted) == is_signed:
        raise Forged(f"{record}: {said}")


def orders(mutants: Sequence[bytes], rng: random.Random) -> None:
    """What stands is what was given last, whatever comes beside it, and at whatever time it comes again."""
    refused = list[Untrusted]()
    reader = Orders(KEYRING, lambda topic, record, at_s: refused.append(record))
    standing: dict[bytes, Control] = {}
    for record in forgeries(mutants, [*GIVEN, *STRANGE], rng):
        at_s = NOW_S + rng.uniform(-AROUND_S, AROUND_S)
        reader.take(record.key, record.value, at_s)  # whatever its topic is: only one is read
        order, before = GIVEN.get(record._replace(topic=topics.CONTROL.name)), standing.get(record.key)
        if order and abs(order.at.timestamp() - at_s) <= ISSUED_WITHIN_S and (not before or order.at > before.at):
            standing[record.key] = order
        for pop in (POP, ALL):
            if reader.last(pop) != standing.get(pop.encode()):
                raise Forged(f"{record} at {at_s}: {reader.last(pop)} stands, not {standing.get(pop.encode())}")
