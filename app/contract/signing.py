"""Signatures of the records that move traffic: to reach the broker is not enough to decide, or to lift a halt.

The value of a signed record is JSON whose last field is `"signature":"ed25519 KEY-ID BASE64"`. It covers the topic, the
record's key, the id of the signer's key, and the value without that field, byte by byte: a record cannot be sent
again under another topic or key. The signature stands in the value and not beside it, so it goes wherever the value
goes: through tables, mirrors and dead letters.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from math import inf
from typing import Literal, NamedTuple, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.contract import topics
from app.contract.decoding import Read, Rejected, reader_of, rejected

DOMAIN = b"egress-autopilot signed record 1"
SIGNATURE = "ed25519 ([0-9a-f]{16}) ([A-Za-z0-9+/]{86}==)"
TAIL = re.compile(rb',"signature":"%b"\}' % SIGNATURE.encode())
TAIL_BYTES = len(',"signature":"ed25519  "}') + 16 + 88

Kind = Literal["decisions", "control"]
Cause = Literal["unsigned", "unknown-key", "foreign-key", "retired-key", "bad-signature", "wrong-topic", "replayed"]
T = TypeVar("T")


class Untrusted(Rejected, frozen=True):
    """A record that was not written by whom it should be, or not now, by `cause`."""

    cause: Cause = "unsigned"


def untrusted(value: bytes, cause: Cause, reason: str) -> Untrusted:
    """An Untrusted of these bytes."""
    cut = rejected(value, ValueError(reason))
    return Untrusted(cut.raw, cut.reason, cause=cause)


class _OfPop(msgspec.Struct):
    pop: str = ""


_read_name: Read[_OfPop] = reader_of(_OfPop)


def public_bytes(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of a public key."""
    return key.public_bytes_raw()


def id_of(public: bytes) -> str:
    """The id of a key: it follows from the public key, so nobody has to choose or to keep it."""
    return hashlib.sha256(public).hexdigest()[:16]


class Signer:
    """Signs records with a private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = public_bytes(key.public_key())
        self.key_id = id_of(self.public)

    @property
    def public_text(self) -> str:
        """The public key as settings have it."""
        return base64.b64encode(self.public).decode()

    def sign(self, topic: str, key: str, value: bytes) -> bytes:
        """The value of a record, which is a JSON object with some field, with its signature."""
        assert value.startswith(b'{"'), "an object with a field"
        made = base64.b64encode(self._key.sign(_signed_bytes(topic, key.encode(), self.key_id, value)))
        return b'%b,"signature":"ed25519 %b %b"}' % (value[:-1], self.key_id.encode(), made)


class TrustedSigner(NamedTuple):
    """A public key, and what it may sign: records of these kinds, of these PoPs (None: of all), until a Unix time."""

    name: str
    public: bytes
    signs: frozenset[Kind]
    pops: frozenset[str] | None = None
    until_s: float = inf

    def may_sign(self, kind: Kind, pop: str) -> bool:
        """Whether it may sign at all what is of this kind and this PoP; an order for all PoPs has `*`."""
        return kind in self.signs and (self.pops is None or pop in self.pops)


class Keyring:
    """The keys that are obeyed. If it does not `demand` signatures, every record is taken, signed or not."""

    def __init__(self, signers: Mapping[str, TrustedSigner], demands: bool) -> None:
        self.demands = demands
        self.signers = signers
        self._keys = {key_id: Ed25519PublicKey.from_public_bytes(each.public) for key_id, each in signers.items()}

    def read(self, read: Read[T], topic: str, key: bytes | None, value: bytes | None, at_s: float) -> T | Rejected:
        """What a record says, if it may be believed; `at_s` is its time in Kafka."""
        opened = self._open(topic, key or b"", value or b"", at_s)
        return opened if isinstance(opened, Untrusted) else read(opened)

    def signer_of(self, value: bytes) -> TrustedSigner | None:
        """Whose key a record names, which was `read` before; None if signatures do not count."""
        tail = _tail(value) if self.demands else None
        return None if tail is None else self.signers.get(tail[1].decode())

    def _open(self, topic: str, key: bytes, value: bytes, at_s: float) -> bytes | Untrusted:
        """The value without its signature, or why it is not believed. Only the bytes that were signed are read on."""
        if not self.demands:
            return value
        if (tail := _tail(value)) is None:
            return untrusted(value, "unsigned", "it is not signed")
        key_id, made = tail[1].decode(), base64.b64decode(tail[2])
        if (signer := self.signers.get(key_id)) is None:
            return untrusted(value, "unknown-key", f"its key {key_id} is not trusted")
        body = value[: tail.start()] + b"}"
        try:
            self._keys[key_id].verify(made, _signed_bytes(topic, key, key_id, body))
            is_canonical = base64.b64encode(made) == tail[2]
        except InvalidSignature:
            is_canonical = False
        if not is_canonical:
            return _not_signed_for(topic, key, value, body)
        kind, pop = _kind_and_pop(topic, key)
        if not signer.may_sign(kind, pop):
            return untrusted(value, "foreign-key", f"the key of {signer.name} may not sign {kind} of {pop}")
        if at_s > signer.until_s:
            return untrusted(value, "retired-key", f"the key of {signer.name} is retired")
        return body


def _tail(value: bytes) -> re.Match[bytes] | None:
    """The signature at the end of a value, with the id of its key; None if it is not signed."""
    return TAIL.fullmatch(value, max(0, len(value) - TAIL_BYTES))


def _not_signed_for(topic: str, key: bytes, value: bytes, body: bytes) -> Untrusted:
    """A record whose signature is not good: forged, or taken from another PoP, which it still names."""
    named, (_, pop) = _read_name(body), _kind_and_pop(topic, key)
    if isinstance(named, _OfPop) and named.pop != pop:
        return untrusted(value, "wrong-topic", f"it is of {named.pop}, and stands in {topic} under the key of {pop}")
    return untrusted(value, "bad-signature", "its signature is not of this record")


def _kind_and_pop(topic: str, key: bytes) -> tuple[Kind, str]:
    if topic == topics.CONTROL.name:
        return "control", key.decode(errors="replace")
    return "decisions", topic.removeprefix(topics.DECISIONS.for_pop(""))


def _signed_bytes(topic: str, key: bytes, key_id: str, body: bytes) -> bytes:
    """What is signed. Each part before the last has its length, so that no two records have the same bytes."""
    parts = (DOMAIN, topic.encode(), key, key_id.encode())
    return b"".join([*(len(part).to_bytes(4, "big") + part for part in parts), body])
