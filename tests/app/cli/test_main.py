"""The command line: exit codes, every mistake at once, one JSON document as the last line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli.main import main
from app.lab.daemons.ports import free_port
from app.lab.demo import ordinary_user
from tests.pops import INVENTORY


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def deployment(tmp_path: Path, extra: str = "") -> str:
    (tmp_path / "rhv1000.toml").write_text(INVENTORY.read_text())
    path = tmp_path / "autopilot.toml"
    path.write_text(f'pops = ["rhv1000.toml"]\n{extra}')
    return str(path)


def test_a_wrong_configuration_is_a_usage_error_that_lists_everything(tmp_path: Path) -> None:
    result = run("check", "--config", deployment(tmp_path, 'mode = "yolo"\nspeed = 9'))
    assert result.exit_code == 2
    assert "autopilot.toml.mode: 'yolo' is not one of observe, dry-run, auto" in result.stderr
    assert "autopilot.toml.speed: unknown key" in result.stderr


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    result = run("links", "--config", str(tmp_path / "nowhere.toml"))
    assert result.exit_code == 2
    assert "nowhere.toml: cannot be read" in result.stderr


def test_check_dumps_the_effective_configuration(tmp_path: Path) -> None:
    result = run("check", "--offline", "--dump", "--config", deployment(tmp_path))
    assert result.exit_code == 0
    document = json.loads(result.stdout.splitlines()[-1])
    assert document["ok"] is True
    assert document["effective"]["settings"]["thresholds"]["enter"] == 0.9
    assert document["effective"]["pops"]["rhv1000"]["asn"] == 64512


def test_check_says_that_no_broker_answers(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    result = run("check", "--json", "--config", deployment(tmp_path, f'[kafka]\nbroker = "{nobody}"'))
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout.splitlines()[-1])["problems"]
    assert nobody in problem
    assert "kafka.broker" in problem


@pytest.mark.parametrize("command", ["links", "overrides", "congestion", "watch"])
def test_reading_without_a_broker_fails_and_says_what_to_check(tmp_path: Path, command: str) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    result = run(command, "--config", deployment(tmp_path, f'[kafka]\nbroker = "{nobody}"'))
    assert result.exit_code == 1
    assert nobody in result.stderr


@pytest.mark.parametrize("command", ["halt", "resume"])
@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 2001, "\x1b[31m"])
def test_a_reason_is_one_line_that_can_be_read(tmp_path: Path, command: str, reason: str) -> None:
    result = run(command, "--reason", reason, "--config", deployment(tmp_path))
    assert (result.exit_code, "write one line of at most 2000 characters" in result.output) == (2, True)


@pytest.mark.parametrize("command", ["links", "overrides", "congestion", "watch", "halt", "resume"])
def test_an_unknown_pop_is_a_usage_error_that_names_the_known(tmp_path: Path, command: str) -> None:
    result = run(command, "--pop", "ams9", "--config", deployment(tmp_path))
    assert result.exit_code == 2
    assert "no PoP ams9; known: rhv1000" in result.stderr


@pytest.mark.parametrize("command", ["links", "overrides", "congestion"])
def test_an_error_is_one_json_document_where_json_is_asked_for(tmp_path: Path, command: str) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    result = run(command, "--json", "--config", deployment(tmp_path, f'[kafka]\nbroker = "{nobody}"'))
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["ok"], document["problems"]) == (False, [])
    assert nobody in document["error"]


def test_mistakes_of_a_configuration_are_listed_in_json(tmp_path: Path) -> None:
    result = run("check", "--json", "--config", deployment(tmp_path, 'mode = "yolo"\nspeed = 9'))
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert document["ok"] is False
    assert len(document["problems"]) == 2
    assert "speed: unknown key" in document["error"]


def test_wrong_usage_is_one_json_document_too() -> None:
    result = run("demo", "--seed", "-1", "--json")
    assert result.exit_code == 2
    assert "--seed" in json.loads(result.stdout)["error"]
    assert result.stderr == ""


@pytest.mark.parametrize(
    "arguments", [("telemetry",), ("demo", "--for", "0"), ("demo", "--seed", "-1"), ("fly",), ("links", "--bogus")]
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_unknown_scenario_is_a_usage_error_that_names_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordinary_user, "become", lambda arguments: None)  # as root it replaces this process
    result = run("demo", "--scenario", "storm")
    assert result.exit_code == 2
    assert "known: bad-input, leak, link-failure, loop, no-room, surge" in result.stderr


@pytest.mark.parametrize("process", ["telemetry", "actuator"])
def test_an_unknown_cell_is_named(tmp_path: Path, process: str) -> None:
    result = run(process, "--cell", "west", "--config", deployment(tmp_path))
    assert result.exit_code == 2
    assert "cell west: no PoP west; known: rhv1000" in result.stderr


def test_the_environment_names_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPILOT_CONFIG", deployment(tmp_path))
    assert run("check", "--offline").exit_code == 0
    assert run("check", "--offline", "--config", str(tmp_path / "nowhere.toml")).exit_code == 2
