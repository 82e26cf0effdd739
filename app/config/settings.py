"""Settings of a deployment: one TOML file, almost every key with a default; `AUTOPILOT_*` variables override it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import msgspec

from app.config.inventory import Pop, load_pop
from app.config.thresholds import Pacing, Policy, Thresholds, WindowSettings
from app.config.toml import convert, read_toml
from app.contract.schemas import Mode
from app.errors import ConfigError
from app.logs import LogFormat

PORT_MAX = 2**16 - 1
BROKER = re.compile(r"[^\s,]+:\d{1,5}")


class Kafka(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach the broker, and how we use it."""

    broker: str = "localhost:9092"
    """`HOST:PORT`, or several separated by commas. `AUTOPILOT_BROKER` in the environment wins."""
    replication_factor: int = 3
    """Replicas of the topics and changelogs that we create. Change: 1 only for a cluster of one node."""
    session_timeout_s: float = 10.0
    """Seconds, at least 6. A worker that the broker does not hear from for this long loses its work to a standby; a
    worker that was frozen for half of it ends itself. Change: longer if hosts pause often.
    """
    standby_replicas: int = 0
    """0 or 1. With 1 a second worker of a cell keeps its tables warm. Change: if a takeover must not wait for a
    recovery.
    """


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything a process needs besides the inventories, whose files `pops` lists.

    `pops`, `data_dir` and `halt_file` are relative to the folder of the settings file; absolute paths stay. Each
    process opens the ports that it is given, so several cells on one host need a settings file each.
    """

    RENAMED: ClassVar = {"marks": "thresholds"}

    pops: tuple[str, ...]
    """List of inventory files, one per PoP, relative to this file. To add a PoP, add its file here."""
    data_dir: str = "data"
    """Directory of the tables, relative to this file, on a local disk. `AUTOPILOT_DATA_DIR` wins."""
    mode: Mode = "dry-run"
    """`observe` decides and publishes; `dry-run` also follows the decisions in memory and publishes what it would
    announce; `auto` announces. `AUTOPILOT_MODE` wins. Change: to `auto` when a day of dry-run has convinced you.
    """
    kafka: Kafka = Kafka()
    """Table. How to reach the broker, and how we use it."""
    windows: WindowSettings = WindowSettings()
    """Table. The time windows in which traffic is counted."""
    thresholds: Thresholds = Thresholds()
    """Table. When congestion opens and closes, and how far links are relieved and filled."""
    pacing: Pacing = Pacing()
    """Table. The timers of a decision, and how fast moves are released."""
    state_port: int = 6070
    """Port. Telemetry's own `/state`, `/metrics`, `/healthz` and `/readyz`, on loopback. Change: for several workers
    on one host.
    """
    actuator_port: int = 0
    """Port, or 0 for none. The same for the actuator, on loopback. Change: set it to scrape the actuator's metrics."""
    view_port: int = 6072
    """Port of the web page. Change: if 6072 is taken."""
    halt_file: str = "halt"
    """File, relative to this one. While it exists on an actuator's host, that actuator withdraws all our routes, with
    or without Kafka.
    """
    log_format: LogFormat = "json"
    """`json` or `text`: the log of telemetry, actuator and view on stderr. `AUTOPILOT_LOG_FORMAT` wins."""
    cells: dict[str, tuple[str, ...]] = {}
    """Table: cell name = list of PoPs that share a worker. A PoP in no list is a cell of its own. Change: to run many
    small PoPs in few processes.
    """

    @property
    def policy(self) -> Policy:
        """The thresholds and timers of a decision."""
        return Policy(self.thresholds, self.pacing)


class Deployment(msgspec.Struct, frozen=True):
    """Settings with the PoPs they name."""

    settings: Settings
    pops: dict[str, Pop]

    def instance(self, name: str | None, state_port: int | None) -> "Deployment":
        """This deployment for one of several workers of a cell on this host: with its own data directory and port."""
        data_dir = str(Path(self.settings.data_dir) / name) if name else self.settings.data_dir
        port = state_port or self.settings.state_port
        return Deployment(msgspec.structs.replace(self.settings, data_dir=data_dir, state_port=port), self.pops)

    def cell(self, name: str) -> dict[str, Pop]:
        """The PoPs of a cell: those that `cells` lists, or the PoP of that name; ConfigError if one does not exist."""
        names = self.settings.cells.get(name, (name,))
        if missing := [pop for pop in names if pop not in self.pops]:
            raise ConfigError([f"cell {name}: no PoP {pop}; known: {', '.join(self.pops)}" for pop in missing])
        return {pop: self.pops[pop] for pop in names}


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Deployment:
    """Read settings and every inventory they name; ConfigError lists all mistakes of all files."""
    problems: list[str] = []
    settings = convert(_overlaid(read_toml(path), environ), Settings, path.name, problems)
    pops: dict[str, Pop] = {}
    for name in settings.pops if settings else ():
        try:
            pop = load_pop(path.parent / name)
        except ConfigError as error:
            problems.extend(error.problems)
        else:
            if pop.name in pops:
                problems.append(f"{name}: PoP {pop.name} is defined twice")
            pops[pop.name] = pop
    if settings:
        problems.extend(f"{path.name}: {problem}" for problem in check_settings(settings, pops))
    if problems or settings is None:
        raise ConfigError(problems)
    return Deployment(_rooted(settings, path.parent.absolute()), pops)


def check_settings(settings: Settings, pops: Mapping[str, Pop]) -> list[str]:
    """List the contradictions between settings; empty if they fit together."""
    rules = _thresholds(settings.thresholds) | _clocks(settings.windows, settings.pacing) | _process(settings)
    problems = [rule for rule, holds in rules.items() if not holds]
    cells_of: dict[str, list[str]] = {}
    for cell, names in settings.cells.items():
        problems.extend(f"cells.{cell}: no PoP {name}" for name in names if name not in pops)
        for name in names:
            cells_of.setdefault(name, []).append(cell)
    problems.extend(
        f"PoP {name} is in more than one cell: {', '.join(cells)}" for name, cells in cells_of.items() if len(cells) > 1
    )
    return problems


def _thresholds(thresholds: Thresholds) -> dict[str, bool]:
    return {
        "thresholds.leave must be below thresholds.enter": thresholds.leave < thresholds.enter,
        "thresholds.saturated must not be below thresholds.enter": thresholds.saturated >= thresholds.enter,
        "thresholds.fill_to must be below thresholds.enter, or a target congests at once": thresholds.fill_to
        < thresholds.enter,
        "thresholds.shed_to must not be above thresholds.enter, or the link stays congested": thresholds.shed_to
        <= thresholds.enter,
        "thresholds.shed_to_saturated must not be above thresholds.shed_to": thresholds.shed_to_saturated
        <= thresholds.shed_to,
        "thresholds.ratio_high must be above 1": thresholds.ratio_high > 1,
        "thresholds other than ratio_high must lie between 0 and 1": all(
            0 < share <= 1 for name, share in msgspec.structs.asdict(thresholds).items() if name != "ratio_high"
        ),
    }


def _clocks(windows: WindowSettings, pacing: Pacing) -> dict[str, bool]:
    """Rules on windows and pacing: each states what must hold, because no comparison with nan does."""
    history_s = 2 * pacing.share_decay_s
    return {
        "windows.length_s must be above 0": windows.length_s > 0,
        "windows.grace_s and refresh_s must not be negative": windows.grace_s >= 0 and windows.refresh_s >= 0,
        "windows.retention_s must be at least 3 * windows.length_s": windows.retention_s >= 3 * windows.length_s,
        "windows.retention_s must be at least 2 * pacing.share_decay_s, the history of shares": (
            windows.retention_s >= history_s
        ),
        "pacing.share_decay_s must be above 0": pacing.share_decay_s > 0,
        "pacing.share_attack_s must be above 0": pacing.share_attack_s > 0,
        "pacing.lease_s and add_within_s must be above 0": pacing.lease_s > 0 and pacing.add_within_s > 0,
        "pacing.min_stay_s must not be negative": pacing.min_stay_s >= 0,
        "pacing.quarantine_s must not be negative": pacing.quarantine_s >= 0,
        "pacing.release_share must lie between 0 and 1": 0 < pacing.release_share <= 1,
    }


def _process(settings: Settings) -> dict[str, bool]:
    state, actuator, view = settings.state_port, settings.actuator_port, settings.view_port
    return {
        f"state_port must be a port, 1 to {PORT_MAX}": 0 < state <= PORT_MAX,
        f"actuator_port must be a port, 1 to {PORT_MAX}, or 0 for none": 0 <= actuator <= PORT_MAX,
        f"view_port must be a port, 1 to {PORT_MAX}": 0 < view <= PORT_MAX,
        "state_port, actuator_port and view_port must differ: each process opens its own": (
            len({state, actuator, view}) == 3
        ),
        f"kafka.broker {settings.kafka.broker!r} must be host:port, or several separated by commas": all(
            BROKER.fullmatch(address) for address in settings.kafka.broker.split(",")
        ),
        "kafka.session_timeout_s must be at least 6, the broker's floor": settings.kafka.session_timeout_s >= 6,
        "kafka.standby_replicas must be 0 or 1": settings.kafka.standby_replicas in (0, 1),
        "pops must list at least one inventory file": bool(settings.pops),
    }


def _rooted(settings: Settings, folder: Path) -> Settings:
    """The settings with absolute paths, which hold wherever a process is started."""
    return msgspec.structs.replace(
        settings, data_dir=str(folder / settings.data_dir), halt_file=str(folder / settings.halt_file)
    )


def _overlaid(raw: dict[str, object], environ: Mapping[str, str]) -> dict[str, object]:
    """`AUTOPILOT_BROKER`, `AUTOPILOT_DATA_DIR`, `AUTOPILOT_MODE` and `AUTOPILOT_LOG_FORMAT` override the file."""
    kafka = raw.get("kafka", {})
    if (broker := environ.get("AUTOPILOT_BROKER")) and isinstance(kafka, dict):
        raw = raw | {"kafka": kafka | {"broker": broker}}
    for key in ("data_dir", "mode", "log_format"):
        if value := environ.get(f"AUTOPILOT_{key.upper()}"):
            raw = raw | {key: value}
    return raw
