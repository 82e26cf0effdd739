"""Settings: defaults that hold together, the environment's overlay, and every mistake of all files at once."""

from math import nan
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.config.settings import Deployment, Kafka, Settings, check_settings, load
from app.config.thresholds import Pacing, Thresholds, WindowSettings
from app.errors import ConfigError
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
    environ = {"AUTOPILOT_BROKER": "b:2", "AUTOPILOT_MODE": "auto", "AUTOPILOT_LOG_FORMAT": "text"}
    deployment = load(path, environ)
    assert isinstance(deployment, Deployment)
    settings = deployment.settings
    assert (settings.kafka.broker, settings.mode, settings.log_format) == ("b:2", "auto", "text")


def test_paths_are_relative_to_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    write(tmp_path / "etc", 'pops = ["rhv1000.toml"]\ndata_dir = "state"')
    monkeypatch.chdir(tmp_path)
    settings = load(Path("etc/autopilot.toml"), {}).settings
    assert (settings.data_dir, settings.halt_file) == (f"{tmp_path}/etc/state", f"{tmp_path}/etc/halt")
    settings = load(Path("etc/autopilot.toml"), {"AUTOPILOT_DATA_DIR": "data"}).settings
    assert settings.data_dir == f"{tmp_path}/etc/data"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    path = write(tmp_path, 'pops = ["rhv1000.toml"]\ndata_dir = "/var/lib/autopilot"\nhalt_file = "/run/halt"')
    settings = load(path, {}).settings
    assert (settings.data_dir, settings.halt_file) == ("/var/lib/autopilot", "/run/halt")


def test_mistakes_of_all_files_come_together(tmp_path: Path) -> None:
    path = write(
        tmp_path, 'pops = ["rhv1000.toml", "nowhere.toml"]\n[thresholds]\nleave = 0.95\n[cells]\nwest = ["east"]'
    )
    (tmp_path / "rhv1000.toml").write_text(INVENTORY.read_text().replace("asn = 64512", "", 1))
    problems = problems_of(path)
    assert len(problems) == 4
    assert "rhv1000.toml.asn: missing" in problems
    assert any("nowhere.toml: cannot be read" in problem for problem in problems)
    assert "autopilot.toml: thresholds.leave must be below thresholds.enter" in problems
    assert "autopilot.toml: cells.west: no PoP east" in problems


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"thresholds": Thresholds(saturated=0.85)}, "thresholds.saturated must not be below thresholds.enter"),
        (
            {"thresholds": Thresholds(shed_to=0.95)},
            "thresholds.shed_to must not be above thresholds.enter, or the link stays congested",
        ),
        ({"pacing": Pacing(share_decay_s=0)}, "pacing.share_decay_s must be above 0"),
        ({"pacing": Pacing(share_decay_s=-1)}, "pacing.share_decay_s must be above 0"),
        ({"pacing": Pacing(share_decay_s=nan)}, "pacing.share_decay_s must be above 0"),
        ({"pacing": Pacing(lease_s=0)}, "pacing.lease_s and add_within_s must be above 0"),
        ({"pacing": Pacing(lease_s=-1)}, "pacing.lease_s and add_within_s must be above 0"),
        ({"pacing": Pacing(add_within_s=-1)}, "pacing.lease_s and add_within_s must be above 0"),
        ({"pacing": Pacing(min_stay_s=-1)}, "pacing.min_stay_s must not be negative"),
        ({"state_port": 65_536}, "state_port must be a port, 1 to 65535"),
        ({"state_port": 0}, "state_port must be a port, 1 to 65535"),
        ({"actuator_port": -1}, "actuator_port must be a port, 1 to 65535, or 0 for none"),
        ({"actuator_port": 70_000}, "actuator_port must be a port, 1 to 65535, or 0 for none"),
        ({"view_port": 0}, "view_port must be a port, 1 to 65535"),
        ({"actuator_port": 6070}, "state_port, actuator_port and view_port must differ: each process opens its own"),
        ({"view_port": 6070}, "state_port, actuator_port and view_port must differ: each process opens its own"),
        (
            {"windows": WindowSettings(retention_s=179)},
            "windows.retention_s must be at least 2 * pacing.share_decay_s, the history of shares",
        ),
        (
            {"windows": WindowSettings(length_s=300)},
            "windows.retention_s must be at least 3 * windows.length_s",
        ),
        ({"kafka": Kafka(standby_replicas=2)}, "kafka.standby_replicas must be 0 or 1"),
        (
            {"kafka": Kafka(broker="10.0.0.1")},
            "kafka.broker '10.0.0.1' must be host:port, or several separated by commas",
        ),
        ({"cells": {"a": ("rhv1000",), "b": ("rhv1000",)}}, "PoP rhv1000 is in more than one cell: a, b"),
        ({"cells": {"a": ("rhv1000", "rhv1000")}}, "PoP rhv1000 is in more than one cell: a, a"),
    ],
)
def test_every_mistake_between_keys_is_named(changes: dict[str, Any], problem: str) -> None:
    settings = msgspec.structs.replace(Settings(pops=("rhv1000.toml",)), **changes)
    assert problem in check_settings(settings, {"rhv1000": demo_pop()})


def test_unknown_keys_and_values_are_named(tmp_path: Path) -> None:
    problems = problems_of(write(tmp_path, 'pops = ["rhv1000.toml"]\nmode = "yolo"\n[kafka]\nbrokers = "a:1"'))
    assert "autopilot.toml.mode: 'yolo' is not one of observe, dry-run, auto" in problems
    assert any(problem.startswith("autopilot.toml.kafka.brokers: unknown key") for problem in problems)


def test_a_second_worker_on_this_host_has_a_folder_and_a_port_of_its_own() -> None:
    deployment = Deployment(Settings(pops=("rhv1000.toml",), data_dir="/data"), {"rhv1000": demo_pop()})
    assert deployment.instance(None, None) == deployment
    other = deployment.instance("b", 6071)
    assert (other.settings.data_dir, other.settings.state_port) == ("/data/b", 6071)
    assert other.pops == deployment.pops


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[marks]\nenter = 0.9", "autopilot.toml.marks: was renamed to thresholds"),
        ("[thresholds]\nact_now = 0.97", "autopilot.toml.thresholds.act_now: was renamed to saturated"),
        ("[pacing]\nhold_s = 300", "autopilot.toml.pacing.hold_s: was renamed to lease_s"),
        ("[pacing]\nmin_hold_s = 300", "autopilot.toml.pacing.min_hold_s: was renamed to min_stay_s"),
        ("[pacing]\nunwind_share = 0.3", "autopilot.toml.pacing.unwind_share: was renamed to release_share"),
    ],
)
def test_an_old_key_names_the_new_one(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, f"pops = []\n{text}\n"), environ={})
    assert said in caught.value.problems


def test_a_renamed_key_exists() -> None:
    """Else the advice leads nowhere."""
    for kind in (Settings, Thresholds, Pacing):
        assert set(kind.RENAMED.values()) <= set(kind.__struct_fields__), kind
