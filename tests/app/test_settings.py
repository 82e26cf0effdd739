"""Settings: defaults that hold together, the environment's overlay, and every mistake of all files at once."""

from pathlib import Path

import pytest

from app.errors import ConfigError
from app.settings import Deployment, Settings, check_settings, load
from tests.pops import INVENTORY, demo_pop


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "rhv1000.toml").write_text(INVENTORY.read_text())
    path = tmp_path / "autopilot.toml"
    path.write_text(text)
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return caught.value.problems


def test_the_defaults_hold_together_and_are_safe() -> None:
    settings = Settings(pops=("rhv1000.toml",))
    assert check_settings(settings, {"rhv1000": demo_pop()}) == []
    assert settings.mode == "dry-run"


def test_a_cell_is_a_pop_or_a_list_of_them(tmp_path: Path) -> None:
    deployment = load(write(tmp_path, 'pops = ["rhv1000.toml"]\n[cells]\nwest = ["rhv1000"]'), {})
    assert list(deployment.cell("rhv1000")) == list(deployment.cell("west")) == ["rhv1000"]
    with pytest.raises(ConfigError, match="no PoP east"):
        deployment.cell("east")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'pops = ["rhv1000.toml"]\nmode = "observe"\n[kafka]\nbroker = "a:1"')
    deployment = load(path, {"AUTOPILOT_BROKER": "b:2", "AUTOPILOT_MODE": "auto"})
    assert isinstance(deployment, Deployment)
    assert (deployment.settings.kafka.broker, deployment.settings.mode) == ("b:2", "auto")


def test_mistakes_of_all_files_come_together(tmp_path: Path) -> None:
    path = write(tmp_path, 'pops = ["rhv1000.toml", "nowhere.toml"]\n[marks]\nleave = 0.95\n[cells]\nwest = ["east"]')
    (tmp_path / "rhv1000.toml").write_text(INVENTORY.read_text().replace("asn = 64512", "", 1))
    problems = problems_of(path)
    assert len(problems) == 4
    assert "rhv1000.toml.asn: missing" in problems
    assert any("nowhere.toml: cannot be read" in problem for problem in problems)
    assert "autopilot.toml: marks.leave must be below marks.enter" in problems
    assert "autopilot.toml: cells.west: no PoP east" in problems


def test_unknown_keys_and_values_are_named(tmp_path: Path) -> None:
    problems = problems_of(write(tmp_path, 'pops = ["rhv1000.toml"]\nmode = "yolo"\n[kafka]\nbrokers = "a:1"'))
    assert "autopilot.toml.mode: invalid enum value 'yolo'" in problems
    assert any(problem.startswith("autopilot.toml.kafka.brokers: unknown key") for problem in problems)
