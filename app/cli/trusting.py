"""What `check` says about signatures: who is obeyed, what this host signs with, and where nobody has to sign."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from app.clock import utc
from app.config.endpoints import is_local
from app.config.key_files import read_key
from app.config.settings import Settings
from app.config.trusted_keys import ANYBODY, KINDS, describe, trust_of
from app.contract.signing import Kind
from app.errors import ConfigError

ALL = "*"


class Trusting(NamedTuple):
    """Problems, sentences for people, and warnings that nobody may overlook."""

    problems: list[str]
    sentences: list[str]
    warnings: list[str]


def trusting(settings: Settings, pops: Collection[str], now_s: float) -> Trusting:
    """Look at the keys of the settings, and at the private ones that this user can read on this host."""
    said = Trusting([], [], [])
    for kind in KINDS:
        _own_key(settings, kind, pops, now_s, said)
    away = [broker for broker in settings.kafka.broker.split(",") if not is_local(broker)]
    if settings.mode == "auto" and settings.kafka.security == "plaintext" and away:
        text = f"whoever is on the way to {', '.join(away)} can read and change what Kafka carries"
        said.warnings.append(f"kafka.security is plaintext: {text}")
    if settings.trust.demands:
        said.sentences.extend(f"obeyed: {describe(key)}" for key in settings.trust.key)
    elif settings.trust.accept_unsigned or settings.mode == "auto":
        said.warnings.append(f"signatures are not asked for, so {ANYBODY}")
    else:
        said.sentences.append(f"decisions and orders need no signature: nothing is announced in mode {settings.mode}")
    return said


def _own_key(settings: Settings, kind: Kind, pops: Collection[str], now_s: float, said: Trusting) -> None:
    name = f"{kind}_key_file"
    path: str | None = getattr(settings.signing, name)
    if path is None:
        return
    if not os.access(path, os.R_OK):  # the settings may be those of another host, or of another user
        said.sentences.append(f"signing.{name}: {path} is not here, or not for this user to read")
        return
    try:
        key_id = read_key(Path(path)).key_id
    except ConfigError as error:
        said.problems.extend(f"signing.{name}: {problem}" for problem in error.problems)
        return
    signer = trust_of(settings.trust).signers.get(key_id)
    if signer is not None and signer.until_s <= now_s:
        ended = f"its key {key_id} is refused since {utc(signer.until_s)}, the `until` of {signer.name}"
        said.problems.append(f"signing.{name}: {path}: {ended}; name the new one")
    elif signer is not None and (may := [pop for pop in (*pops, ALL) if signer.may_sign(kind, pop)]):
        said.sentences.append(f"this host signs {kind} of {', '.join(may)} as {signer.name} ({key_id})")
    elif settings.trust.key:
        said.problems.append(f"signing.{name}: {path}: no [[trust.key]] lets its key {key_id} sign {kind} of any PoP")
