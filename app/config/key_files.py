"""Private keys in files: made, read, and held against the keys that are trusted."""

import base64
import binascii
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from app.config.settings import Settings
from app.config.trusted_keys import trust_of
from app.contract.signing import Kind, Signer
from app.errors import ConfigError

KEY_BYTES_MAX = 10_000


def make_key(path: Path) -> Signer:
    """Write a new private key that only this user can read; ConfigError if the file is there, or cannot be made."""
    key = Ed25519PrivateKey.generate()
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    except OSError as error:
        raise ConfigError([f"{path}: {(error.strerror or 'it cannot be written').lower()}"]) from error
    return Signer(key)


def read_key(path: Path) -> Signer:
    """Read a private key, in PEM or its 32 bytes in base64; ConfigError if it is none, or if others can read it."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            raw = file.read(KEY_BYTES_MAX)
    except OSError as error:
        raise ConfigError([f"{path}: the key cannot be read: {(error.strerror or str(error)).lower()}"]) from error
    # A secret that Kubernetes mounts belongs to root, and is read by the group of its pod.
    shared = stat.S_IRWXO | (stat.S_IRWXG if status.st_uid == os.geteuid() else stat.S_IWGRP)
    if status.st_mode & shared:
        raise ConfigError([f"{path}: others can read or change this key; use `chmod 600 {path}`, or make a new one"])
    return Signer(_parsed(path, raw.strip()))


def _parsed(path: Path, raw: bytes) -> Ed25519PrivateKey:
    try:
        if not raw.startswith(b"-----"):
            return Ed25519PrivateKey.from_private_bytes(base64.b64decode(raw, validate=True))
        key = load_pem_private_key(raw, password=None)
        if isinstance(key, Ed25519PrivateKey):
            return key
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm):
        pass
    raise ConfigError([f"{path}: no Ed25519 private key without a password; make one with `autopilot keys new`"])


def signer_of(settings: Settings, kind: Kind, pops: Iterable[str]) -> Signer | None:
    """What this host signs records of this kind with, for these PoPs; None if it need not sign, and has no key.

    ConfigError if what it wrote would be refused by whoever has these settings.
    """
    name = f"{kind}_key_file"
    path: str | None = getattr(settings.signing, name)
    trust = trust_of(settings.trust)
    if path is None:
        if trust.demands:
            raise ConfigError([f"signing.{name} is missing: without a signature, all {kind} would be refused"])
        return None
    signer = read_key(Path(path))
    known = trust.signers.get(signer.key_id)
    foreign = [pop for pop in pops if known is None or not known.may_sign(kind, pop)]
    if trust.demands and foreign:
        names = ", ".join("all PoPs at once" if pop == "*" else pop for pop in foreign)
        raise ConfigError(
            [f"signing.{name}: {path}: no [[trust.key]] lets its key {signer.key_id} sign {kind} of {names}"]
        )
    return signer
