"""The settings of a local stack are files that the workers' own loader accepts."""

import tomllib
from pathlib import Path

import pytest

from app.errors import ConfigError
from app.lab.daemons.deployment import load_local, to_toml, write_inventory, write_settings

INVENTORY = Path(__file__).parents[4] / "deploy" / "local" / "rhv1000.toml"


def test_the_workers_load_what_is_written(tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path, INVENTORY)
    overrides = {"mode": "auto", "kafka": {"session_timeout_s": 8.0}, "pacing": {"lease_s": 60.0}}
    path = write_settings(tmp_path, inventory, "127.0.0.1:9", overrides)
    deployment = load_local(path)
    settings = deployment.settings
    assert (settings.mode, settings.pacing.lease_s) == ("auto", 60.0)
    assert (settings.kafka.broker, settings.kafka.replication_factor) == ("127.0.0.1:9", 1)
    assert settings.kafka.session_timeout_s == 8.0, "merged beside the broker"
    assert settings.data_dir == str(tmp_path / "data")
    (pop,) = deployment.pops.values()
    assert pop.routers["r1"].injector.grpc == f"unix://{tmp_path}/injector-r1.sock"


def test_an_override_that_is_no_setting_is_refused(tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path, INVENTORY)
    path = write_settings(tmp_path, inventory, "127.0.0.1:9", {"windows": {"lenght_s": 5}})
    with pytest.raises(ConfigError, match="lenght_s: unknown key"):
        load_local(path)


def test_another_broker_in_the_environment_does_not_reach_a_local_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOPILOT_BROKER", "production:9092")
    path = write_settings(tmp_path, write_inventory(tmp_path, INVENTORY), "127.0.0.1:9", {})
    assert load_local(path).settings.kafka.broker == "127.0.0.1:9"


def test_toml_reads_back() -> None:
    table = {
        "a": 'quo"te ü',
        "n": 1.5,
        "flag": True,
        "l": ["x", "y"],
        "t": {"k": 1, "u": {"v": "w"}},
        "e": {"f": {"g": 2}},
    }
    assert tomllib.loads(to_toml(table)) == table
