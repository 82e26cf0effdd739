"""`autopilot keys`, and what `check` says about signatures."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.cli.trusting import trusting
from app.clock import ManualClock, utc
from app.config.key_files import make_key
from app.config.settings import Kafka, Settings
from app.config.trusted_keys import ANYBODY, Signing, TrustSettings
from app.contract.schemas import Mode
from tests.app.cli.test_main import deployment, run
from tests.keys import signer, trusted

POP, NOW_S = "rhv1000", ManualClock().now_s()
OTHERS = (trusted(signer(1), "decisions", name="telemetry"), trusted(signer(2), "control", name="ada"))


def test_a_key_is_made_and_what_is_printed_trusts_it(tmp_path: Path) -> None:
    made = run("keys", "new", str(tmp_path / "ada.pem"), "--signs", "control")
    assert made.exit_code == 0
    shown = run("keys", "show", str(tmp_path / "ada.pem"), "--signs", "control")
    assert shown.stdout == made.stdout
    document = json.loads(run("keys", "show", str(tmp_path / "ada.pem"), "--signs", "control", "--json").stdout)
    assert document["public"] in made.stdout
    assert made.stdout.splitlines()[1:3] == ["[[trust.key]]", 'name = "ada"']
    assert f"# {document['id']}: `signing.control_key_file`" in made.stdout
    assert "PRIVATE" not in made.stdout
    again = run("keys", "new", str(tmp_path / "ada.pem"), "--signs", "control")
    assert again.exit_code == 2
    assert "file exists" in again.stderr


@pytest.mark.parametrize(
    ("mode", "trust", "warned"),
    [
        ("auto", TrustSettings(), True),
        ("auto", TrustSettings(accept_unsigned=ANYBODY), True),
        ("dry-run", TrustSettings(key=OTHERS, accept_unsigned=ANYBODY), True),
        ("dry-run", TrustSettings(), False),
        ("auto", TrustSettings(key=OTHERS), False),
    ],
)
def test_what_moves_traffic_unsigned_is_warned_of(mode: Mode, trust: TrustSettings, warned: bool) -> None:
    said = trusting(Settings(pops=("a",), mode=mode, trust=trust), [POP], NOW_S)
    assert said.warnings == ([f"signatures are not asked for, so {ANYBODY}"] if warned else [])
    assert said.problems == []


def test_check_says_who_is_obeyed_and_whose_key_is_here(tmp_path: Path) -> None:
    file = tmp_path / "key"
    own = trusted(make_key(file), "decisions", name="telemetry", pops=(POP,))
    signing = Signing(decisions_key_file=str(file), control_key_file=str(tmp_path / "elsewhere"))
    settings = Settings(pops=("a",), mode="auto", signing=signing, trust=TrustSettings(key=(own, OTHERS[1])))
    said = trusting(settings, [POP, "fra1000"], NOW_S)
    assert said.problems == []
    assert said.sentences == [
        f"this host signs decisions of {POP} as telemetry ({own.key_id})",
        f"signing.control_key_file: {tmp_path}/elsewhere is not here, or not for this user to read",
        f"obeyed: decisions of {POP} by telemetry ({own.key_id})",
        f"obeyed: control of every PoP by ada ({OTHERS[1].key_id})",
    ]


def test_a_key_that_nobody_trusts_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "key"
    made = make_key(file)
    signing = Signing(decisions_key_file=str(file))
    settings = Settings(pops=("a",), signing=signing, trust=TrustSettings(key=OTHERS))
    [problem] = trusting(settings, [POP], NOW_S).problems
    assert f"no [[trust.key]] lets its key {made.key_id} sign decisions of any PoP" in problem
    file.chmod(0o644)
    [problem] = trusting(settings, [POP], NOW_S).problems
    assert "others can read or change this key" in problem


def test_a_key_whose_time_is_over_is_a_problem(tmp_path: Path) -> None:
    """What it signs is refused, and whoever signs would look for the reason here."""
    file = tmp_path / "key"
    own = msgspec.structs.replace(trusted(make_key(file), "decisions", name="telemetry"), until=utc(NOW_S))
    settings = Settings(
        pops=("a",), signing=Signing(decisions_key_file=str(file)), trust=TrustSettings(key=(own, *OTHERS))
    )
    [problem] = trusting(settings, [POP], NOW_S).problems
    assert (
        f"{file}: its key {own.key_id} is refused since {utc(NOW_S)}, the `until` of telemetry; name the new" in problem
    )
    assert trusting(settings, [POP], NOW_S - 1).problems == []


@pytest.mark.parametrize(
    ("mode", "security", "broker", "warned"),
    [
        ("auto", "plaintext", "localhost:9092,kafka.example.net:9092", True),
        ("auto", "plaintext", "127.0.0.1:9092", False),
        ("dry-run", "plaintext", "kafka.example.net:9092", False),
        ("auto", "tls", "kafka.example.net:9092", False),
    ],
)
def test_plaintext_to_a_broker_elsewhere_is_warned_of(mode: Mode, security: Any, broker: str, warned: bool) -> None:
    kafka = Kafka(broker=broker, security=security)
    said = trusting(Settings(pops=("a",), mode=mode, kafka=kafka, trust=TrustSettings(key=OTHERS)), [POP], NOW_S)
    assert [line.startswith("kafka.security is plaintext: ") for line in said.warnings] == [True] * warned
    assert not warned or "on the way to kafka.example.net:9092 can" in said.warnings[0]


def test_the_warning_is_the_last_line(tmp_path: Path) -> None:
    path = deployment(tmp_path, f'\n[trust]\naccept_unsigned = "{ANYBODY}"')
    result = run("check", "--offline", "--config", str(path))
    assert result.stdout.splitlines()[-1] == f"WARNING: signatures are not asked for, so {ANYBODY}"
    assert json.loads(run("check", "--offline", "--config", str(path), "--json").stdout)["warnings"]
