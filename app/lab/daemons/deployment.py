"""Writes the configuration of a local stack: its inventory, with the sockets of this run, keys, and autopilot.toml."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.config.key_files import make_key, read_key
from app.config.settings import Deployment, load
from app.config.trusted_keys import KINDS
from app.contract.signing import Kind

SETTINGS = "autopilot.toml"
SOCKETS = "unix:///run/autopilot/"  # where the inventories of the laboratory have their gobgpds


def write_inventory(run_dir: Path, inventory: Path) -> Path:
    """Copy the inventory to `run_dir`/pops with this run's folder in place of SOCKETS; its path."""
    pops = run_dir / "pops"
    pops.mkdir(exist_ok=True)
    path = pops / inventory.name
    path.write_text(with_sockets_in(run_dir, inventory.read_text(encoding="utf-8")), encoding="utf-8")
    return path


def with_sockets_in(folder: Path, inventory: str) -> str:
    """The text of an inventory of the laboratory, with the sockets of its gobgpds in `folder`."""
    return inventory.replace(SOCKETS, f"unix://{folder}/")


def write_settings(run_dir: Path, inventory: Path, broker: str, overrides: Mapping[str, object]) -> Path:
    """Write autopilot.toml for this broker to `run_dir`, with `overrides` merged in table by table; its path.

    Telemetry and operator get a key each in `run_dir`/keys, and both are trusted.
    """
    decisions, control = (_key_file(run_dir, kind) for kind in KINDS)
    settings: dict[str, object] = {
        "signing": {"decisions_key_file": str(decisions), "control_key_file": str(control)},
        "trust": {"key": [_trusted("telemetry", "decisions", decisions), _trusted("operator", "control", control)]},
        "pops": [str(inventory.relative_to(run_dir))],
        "data_dir": str(run_dir / "data"),
        "halt_file": str(run_dir / "halt"),
        "actuator_port": 0,  # several stacks may run at once
        "kafka": {"broker": broker, "replication_factor": 1},
    }
    path = run_dir / SETTINGS
    path.write_text(to_toml(merged(settings, overrides)), encoding="utf-8")
    return path


def load_local(settings: Path) -> Deployment:
    """Load the settings exactly as written: no environment variable may point a local stack at another broker."""
    return load(settings, environ={})


def _key_file(run_dir: Path, kind: Kind) -> Path:
    """The key of this run for records of this kind; made if it is not there."""
    folder = run_dir / "keys"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{kind}.key"
    if not path.exists():
        make_key(path)
    return path


def _trusted(name: str, kind: Kind, file: Path) -> dict[str, object]:
    return {"name": name, "public": read_key(file).public_text, "signs": [kind]}


def to_toml(table: Mapping[str, object], name: str = "") -> str:
    """Render a nested mapping as TOML. Other values must be plain JSON, lists of it, or lists of such mappings."""
    lists = {key: value for key, value in table.items() if isinstance(value, list) and value and _is_table(value[0])}
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping) and key not in lists}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in plain.items()]
    header = f"\n[{name}]\n" if name and lines else ""
    nested = [
        to_toml(value, f"{name}.{key}" if name else key) for key, value in table.items() if isinstance(value, Mapping)
    ]
    nested += [
        to_toml(item, path).replace(f"[{path}]", f"[[{path}]]", 1)
        for path, items in ((f"{name}.{key}" if name else key, items) for key, items in lists.items())
        for item in items
    ]
    return header + "".join(lines) + "".join(nested)


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The first table with what the second has in its place, table by table."""
    result = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if nested else value
    return result
