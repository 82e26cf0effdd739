"""Who may say what: only the very record that a trusted key signed is believed, where and when it was signed."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clock import utc
from app.contract.decoding import Read, Rejected, reader_of
from app.contract.schemas import Control, Decision
from app.contract.signing import DOMAIN, TAIL_BYTES, Keyring, Kind, TrustedSigner, Untrusted
from tests.app.actuation.pop import decision, override
from tests.keys import ANYBODY, signer

AT_S = 1_700_000_000.0
TOPIC, KEY = "decisions-rhv1000", b"rhv1000"
SIGNER, STRANGER = signer(1), signer(2)
GOOD = decision(AT_S, 41, [override()])
BODY = msgspec.json.encode(GOOD)
VALUE = SIGNER.sign(TOPIC, "rhv1000", BODY)
read: Read[Decision] = reader_of(Decision)
read_order: Read[Control] = reader_of(Control)


def keyring(*signs: Kind, pops: frozenset[str] | None = None, until_s: float = float("inf")) -> Keyring:
    kinds = frozenset[Kind](signs or ("decisions", "control"))
    return Keyring({SIGNER.key_id: TrustedSigner("ada", SIGNER.public, kinds, pops, until_s)}, demands=True)


def cause(value: bytes, topic: str = TOPIC, key: bytes | None = KEY, by: Keyring | None = None) -> str | None:
    """Why a record is not trusted; None if it is."""
    found = (by or keyring()).read(read, topic, key, value, AT_S)
    return found.cause if isinstance(found, Untrusted) else None


def test_what_was_signed_is_read_as_it_was_made() -> None:
    assert keyring().read(read, TOPIC, KEY, VALUE, AT_S) == GOOD
    assert len(VALUE) == len(BODY) + TAIL_BYTES - 1
    assert msgspec.json.decode(VALUE, type=Decision) == GOOD, "whoever does not verify reads it as before"


@given(st.integers(0, 8 * len(VALUE) - 1))
def test_no_bit_of_a_record_can_change(bit: int) -> None:
    forged = bytearray(VALUE)
    forged[bit // 8] ^= 1 << bit % 8
    assert cause(bytes(forged)) is not None


def test_no_bit_of_a_signature_can_change() -> None:
    """Base64 has bits that decode to nothing, and hexadecimal digits come in two cases: these, too."""
    for bit in range(8 * (len(VALUE) - TAIL_BYTES), 8 * len(VALUE)):
        forged = bytearray(VALUE)
        forged[bit // 8] ^= 1 << bit % 8
        assert cause(bytes(forged)) is not None, bytes(forged[-TAIL_BYTES:])


@given(st.integers(0, 8 * len(KEY) - 1))
def test_no_bit_of_its_key_can_change(bit: int) -> None:
    forged = bytearray(KEY)
    forged[bit // 8] ^= 1 << bit % 8
    assert cause(VALUE, key=bytes(forged)) == "bad-signature"
    assert cause(VALUE, key=None) == "bad-signature"


@given(st.integers(0, 7 * len(TOPIC) - 1))
def test_no_bit_of_its_topic_can_change(bit: int) -> None:
    forged = bytearray(TOPIC.encode())
    forged[bit // 7] ^= 1 << bit % 7
    assert cause(VALUE, topic=forged.decode()) in ("bad-signature", "wrong-topic")


@given(st.binary(max_size=400))
def test_nothing_else_passes(value: bytes) -> None:
    assert cause(value) is not None
    assert cause(VALUE + value) is not None or not value
    assert cause(value + VALUE) is not None or not value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (BODY, "unsigned"),
        (b"", "unsigned"),
        (VALUE.removesuffix(b"}") + b" }", "unsigned"),
        (STRANGER.sign(TOPIC, "rhv1000", BODY), "unknown-key"),
        (VALUE.replace(SIGNER.key_id.encode(), STRANGER.key_id.encode()), "unknown-key"),
        (
            STRANGER.sign(TOPIC, "rhv1000", BODY).replace(STRANGER.key_id.encode(), SIGNER.key_id.encode()),
            "bad-signature",
        ),
        (BODY[:-1] + VALUE[-TAIL_BYTES:].replace(b"ed25519", b"ed448"), "unsigned"),
    ],
)
def test_a_forgery_has_a_name(value: bytes, expected: str) -> None:
    assert cause(value) == expected


def test_what_is_signed_for_one_pop_is_nothing_in_another() -> None:
    assert cause(VALUE, "decisions-fra1000", b"fra1000") == "wrong-topic"
    resume = Control(pop="fra1000", halt=False, by="x", at=utc(AT_S))
    order = SIGNER.sign("control", "fra1000", msgspec.json.encode(resume))
    found = keyring().read(read_order, "control", b"*", order, AT_S)
    assert isinstance(found, Untrusted)
    assert found.cause == "wrong-topic"


def test_what_is_signed_in_another_domain_is_refused() -> None:
    """A signature over the same bytes, made for another purpose or version."""
    key_id = SIGNER.key_id.encode()
    parts = (DOMAIN.replace(b"1", b"2"), TOPIC.encode(), KEY, key_id)
    of_others = b"".join([*(len(part).to_bytes(4, "big") + part for part in parts), BODY])
    for signed in (of_others, BODY, TOPIC.encode() + KEY + key_id + BODY):
        made = base64.b64encode(SIGNER._key.sign(signed))
        assert cause(b'%b,"signature":"ed25519 %b %b"}' % (BODY[:-1], key_id, made)) == "bad-signature"


def test_the_borders_of_topic_and_key_are_signed() -> None:
    moved = SIGNER.sign("decisions-rhv100", "0rhv1000", BODY)
    assert cause(moved) == "bad-signature"


def test_a_key_signs_what_it_may_and_where() -> None:
    assert cause(VALUE, by=keyring("control")) == "foreign-key"
    assert cause(VALUE, by=keyring(pops=frozenset({"fra1000"}))) == "foreign-key"
    assert cause(VALUE, by=keyring(pops=frozenset({"rhv1000"}))) is None
    everywhere = SIGNER.sign("control", "*", msgspec.json.encode(Control(pop="*", halt=True, by="x", at=utc(AT_S))))
    found = keyring(pops=frozenset({"rhv1000"})).read(read_order, "control", b"*", everywhere, AT_S)
    assert isinstance(found, Untrusted), "one that may halt a PoP may not halt all"
    assert isinstance(keyring().read(read_order, "control", b"*", everywhere, AT_S), Control)


def test_a_retired_key_is_good_for_what_came_before() -> None:
    assert cause(VALUE, by=keyring(until_s=AT_S)) is None
    assert cause(VALUE, by=keyring(until_s=AT_S - 1)) == "retired-key"


def test_the_reason_of_a_refusal_can_be_shown() -> None:
    found = keyring().read(read, TOPIC, KEY, BODY, AT_S)
    assert isinstance(found, Rejected)
    assert (found.reason, found.raw) == ("it is not signed", BODY)


def test_where_no_signature_is_asked_for_all_are_read() -> None:
    for value in (BODY, VALUE, STRANGER.sign(TOPIC, "rhv1000", BODY)):
        assert ANYBODY.read(read, TOPIC, KEY, value, AT_S) == GOOD
