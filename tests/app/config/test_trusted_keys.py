"""The settings of signatures: what they may say, and the private keys that they name."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.config.key_files import make_key, read_key, signer_of
from app.config.settings import Settings, load
from app.config.trusted_keys import ANYBODY, trust_of
from app.errors import ConfigError
from tests.keys import signer

INVENTORY = Path(__file__).parents[3] / "deploy" / "local" / "rhv1000.toml"
KEY = f"""
[[trust.key]]
name = "telemetry"
public = "{signer(1).public_text}"
signs = ["decisions"]
[[trust.key]]
name = "ada"
public = "{signer(2).public_text}"
signs = ["control"]
"""


def settings(tmp_path: Path, more: str, mode: str = "auto", environ: dict[str, str] | None = None) -> Settings:
    (tmp_path / "rhv1000.toml").write_text(INVENTORY.read_text())
    path = tmp_path / "autopilot.toml"
    path.write_text(f'pops = ["rhv1000.toml"]\nmode = "{mode}"\n{more}')
    return load(path, environ or {}).settings


def problems(tmp_path: Path, more: str, mode: str = "auto") -> str:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, more, mode)
    return str(caught.value)


def test_nothing_is_announced_without_keys_or_words(tmp_path: Path) -> None:
    said = problems(tmp_path, "")
    assert "trust.key: is empty; mode `auto` needs the keys of telemetry and operators" in said
    assert f'accept_unsigned = "{ANYBODY}"' in said
    assert not settings(tmp_path, "", "dry-run").trust.demands
    assert settings(tmp_path, KEY).trust.demands
    assert not settings(tmp_path, f'[trust]\naccept_unsigned = "{ANYBODY}"').trust.demands
    assert not settings(tmp_path, f'[trust]\naccept_unsigned = "{ANYBODY}"\n{KEY}').trust.demands


@pytest.mark.parametrize("words", ["true", '"yes"', '""', '"anybody"', f'"{ANYBODY}."'])
def test_other_words_switch_nothing_off(tmp_path: Path, words: str) -> None:
    assert "trust.accept_unsigned" in problems(tmp_path, f"[trust]\naccept_unsigned = {words}\n{KEY}")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('signs = ["control"]', 'signs = ["decisions"]', "no key may sign control of rhv1000"),
        ('signs = ["decisions"]', 'signs = ["control"]', "no key may sign decisions of rhv1000"),
        ('signs = ["decisions"]', "signs = []", "signs: is empty"),
        ('signs = ["decisions"]', 'signs = ["all"]', "'all' is not one of decisions, control"),
        ('signs = ["decisions"]', 'signs = ["decisions"]\npops = ["fra1000"]', "no key may sign decisions of rhv1000"),
        ("signs", 'until = "soon"\nsigns', "trust.key[0].until: 'soon' is text; write a date with a time and a zone"),
        ("signs", "until = 2026-12-01T00:00:00\nsigns", "has no zone"),
        (signer(1).public_text, "AAAA", "trust.key[0].public: 'AAAA' is not a public key"),
        (signer(1).public_text, signer(2).public_text, "is given twice, first in trust.key[0].public"),
        ('"ada"', '"telemetry"', "trust.key[1].name: 'telemetry' is given twice"),
    ],
)
def test_a_mistake_is_said(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert said in problems(tmp_path, KEY.replace(before, after, 1))


def test_key_files_are_relative_and_the_environment_names_others(tmp_path: Path) -> None:
    more = f'[signing]\ndecisions_key_file = "keys/t.pem"\n{KEY}'
    assert settings(tmp_path, more).signing.decisions_key_file == f"{tmp_path}/keys/t.pem"
    environ = {"AUTOPILOT_DECISIONS_KEY": "/run/d", "AUTOPILOT_CONTROL_KEY": "/home/ada/c"}
    signing = settings(tmp_path, more, environ=environ).signing
    assert (signing.decisions_key_file, signing.control_key_file) == ("/run/d", "/home/ada/c")


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    made = make_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert read_key(tmp_path / "key").public == made.public
    with pytest.raises(ConfigError, match="file exists"):
        make_key(tmp_path / "key")
    assert read_key(tmp_path / "key").public == made.public
    with pytest.raises(ConfigError, match="no such file"):
        read_key(tmp_path / "none")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    make_key(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match="others can read or change this key"):
        read_key(tmp_path / "key")


def test_a_key_may_be_its_32_bytes_in_base64(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_bytes(base64.b64encode(bytes(32)) + b"\n")
    assert read_key(path).public == Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    for wrong in (b"", b"AAAA", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\xff" * 100):
        path.write_bytes(wrong)
        with pytest.raises(ConfigError, match="no Ed25519 private key"):
            read_key(path)


def test_what_would_be_refused_is_not_signed(tmp_path: Path) -> None:
    file = tmp_path / "key"
    own = make_key(file)
    named = f'[signing]\ndecisions_key_file = "key"\n{KEY}'
    with pytest.raises(ConfigError, match="control_key_file is missing"):
        signer_of(settings(tmp_path, named), "control", ["rhv1000"])
    with pytest.raises(ConfigError, match=f"lets its key {own.key_id} sign decisions of rhv1000"):
        signer_of(settings(tmp_path, named), "decisions", ["rhv1000"])
    of_ours = named.replace(signer(1).public_text, own.public_text)
    found = signer_of(settings(tmp_path, of_ours), "decisions", ["rhv1000"])
    assert found is not None
    assert found.public == own.public
    assert signer_of(settings(tmp_path, "", "dry-run"), "decisions", ["rhv1000"]) is None


def test_trust_is_what_the_settings_say(tmp_path: Path) -> None:
    until = KEY.replace("signs", "until = 2026-12-01T00:00:00+01:00\nsigns", 1)
    keyring = trust_of(settings(tmp_path, until).trust)
    telemetry, ada = (keyring.signers[signer(seed).key_id] for seed in (1, 2))
    assert (telemetry.may_sign("decisions", "x"), telemetry.may_sign("control", "x")) == (True, False)
    assert (ada.may_sign("decisions", "x"), ada.may_sign("control", "*")) == (False, True)
    assert telemetry.until_s == 1_796_079_600.0
