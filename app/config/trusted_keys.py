"""Who may say what moves traffic: the keys that this host signs with, and those that it obeys."""

import base64
from collections.abc import Collection, Iterator
from datetime import datetime
from math import inf
from typing import Any, Literal

import msgspec

from app.config import forms
from app.config.inventory_rules import twice
from app.config.toml import Problem, TomlTable
from app.contract.signing import Keyring, Kind, TrustedSigner, id_of

Anybody = Literal["anybody who can write to Kafka may move my traffic"]
ANYBODY: Anybody = "anybody who can write to Kafka may move my traffic"
KINDS: tuple[Kind, ...] = ("decisions", "control")


class Signing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The private keys of this host, each in a file of its own that nobody else can read (`autopilot keys new`).

    Both are relative to this file.
    """

    decisions_key_file: forms.Text | None = None
    """File with the key that telemetry signs its decisions with. `AUTOPILOT_DECISIONS_KEY` wins."""
    control_key_file: forms.Text | None = None
    """File with the key that `autopilot halt` and `resume` sign their orders with. `AUTOPILOT_CONTROL_KEY` wins.
    Change: each operator has one of their own.
    """


class TrustedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public key that is obeyed."""

    name: forms.Name
    """Whose key it is, such as `telemetry-ams1` or `ada`: for people."""
    public: forms.PublicKey
    """The public key, as `autopilot keys new` and `keys show` print it."""
    signs: tuple[Kind, ...]
    """List of `decisions` (telemetry) and `control` (operators). One key for both is possible, but not wise."""
    pops: tuple[forms.TopicName, ...] = ()
    """List of the PoPs that it may sign for; empty means all, and `autopilot halt` without `--pop`."""
    until: forms.Moment | None = None
    """Time with its zone. What came to Kafka later is refused, what came before stands. Change: to the time of a
    rotation, when the new key is in use; take the key out only a day later, and out at once if it was stolen.
    """

    @property
    def key_id(self) -> str:
        """The id by which records name it."""
        return id_of(base64.b64decode(self.public))


class TrustSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose decisions and orders are obeyed. As soon as a key stands here, what is not signed by one is refused."""

    key: tuple[TrustedKey, ...] = ()
    """List of tables. The public keys that are obeyed; mode `auto` needs at least one of telemetry and one of an
    operator.
    """
    accept_unsigned: Anybody | None = None
    """No signature is looked at if this says `anybody who can write to Kafka may move my traffic`, which is then true.
    """

    @property
    def demands(self) -> bool:
        """Whether signatures are looked at."""
        return bool(self.key) and self.accept_unsigned is None


def trust_of(settings: TrustSettings) -> Keyring:
    """What the readers of decisions and orders go by."""
    return Keyring({each.key_id: _signer(each) for each in settings.key}, settings.demands)


def _signer(key: TrustedKey) -> TrustedSigner:
    until_s = inf if key.until is None else key.until.timestamp()
    pops = frozenset(key.pops) if key.pops else None
    return TrustedSigner(key.name, base64.b64decode(key.public), frozenset(key.signs), pops, until_s)


def rules(trust: TomlTable, mode: Any, pops: Collection[str | None]) -> Iterator[Problem]:
    """Every contradiction between the keys that are trusted, the mode and the PoPs."""
    keys = trust.tables("key")
    for part in ("name", "public"):
        yield from twice((key.get(part), key.at(part)) for key in keys if key.has(part))
    for key in keys:
        if key.is_empty("signs"):
            yield Problem(key.at("signs"), "is empty; write what it may sign: decisions, or control")
    if trust.get("accept_unsigned") is not None:
        return
    if not trust.given("key"):
        if mode == "auto":
            words = f'under [trust]: accept_unsigned = "{ANYBODY}"'
            text = "mode `auto` needs the keys of telemetry and operators (`autopilot keys new`), or these words"
            yield Problem("trust.key", f"is empty; {text} {words}")
        return
    for kind in KINDS:
        of_kind = [key for key in keys if kind in [word for _, word in key.each("signs")]]
        for pop in filter(None, pops):
            if not any(not (named := [name for _, name in key.each("pops")]) or pop in named for key in of_kind):
                yield Problem("trust.key", f"no key may sign {kind} of {pop}, so all of them would be refused")


def describe(key: TrustedKey) -> str:
    """A trusted key in one line."""
    until = "" if key.until is None else f" that came until {_time(key.until)}"
    pops = f" of {', '.join(key.pops)}" if key.pops else " of every PoP"
    return f"{' and '.join(key.signs)}{pops}{until} by {key.name} ({key.key_id})"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}"
