"""Settings of a deployment: one TOML file, almost every key with a default; `AUTOPILOT_*` variables override it."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

from app.config import forms, inventory_rules
from app.config.folders import unwritable
from app.config.gobgp_settings import FILES as FILES_OF_GOBGP
from app.config.gobgp_settings import Gobgp
from app.config.http_settings import Http
from app.config.interfaces import numbered
from app.config.inventory import Pop
from app.config.inventory_rules import between
from app.config.settings_rules import cells_of, rules
from app.config.thresholds import Pacing, Policy, Thresholds, WindowSettings
from app.config.toml import Problem, TomlTable, build, parse, parse_again, read_toml
from app.config.trusted_keys import Signing, TrustSettings
from app.contract.schemas import Mode
from app.errors import ConfigError
from app.logs import LogFormat

OVERLAY = {
    "kafka.broker": "AUTOPILOT_BROKER",
    "kafka.cert_file": "AUTOPILOT_CERT",
    "kafka.key_file": "AUTOPILOT_CERT_KEY",
    "data_dir": "AUTOPILOT_DATA_DIR",
    "mode": "AUTOPILOT_MODE",
    "log_format": "AUTOPILOT_LOG_FORMAT",
    "signing.decisions_key_file": "AUTOPILOT_DECISIONS_KEY",
    "signing.control_key_file": "AUTOPILOT_CONTROL_KEY",
}

S = TypeVar("S", bound=msgspec.Struct)
FILES_OF_KAFKA = ("ca_file", "cert_file", "key_file", "password_file")
Security = Literal["plaintext", "tls", "mtls", "sasl-scram"]


class Kafka(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach the broker, and how we use it."""

    broker: forms.Broker = "localhost:9092"
    """`HOST:PORT` or `[IPV6]:PORT`, or several separated by commas. `AUTOPILOT_BROKER` in the environment wins."""
    security: Security = "plaintext"
    """`plaintext`, `tls`, `mtls` (TLS with a certificate of ours) or `sasl-scram` (SCRAM-SHA-512 over TLS): what the
    listener at `broker` expects. Change: away from `plaintext` before you set `mode` to `auto`, or whoever reaches the
    broker decides for you.
    """
    ca_file: forms.Text | None = None
    """File, relative to this one: the CAs that may vouch for the brokers, in PEM. Without it the CAs of the operating
    system may. Change: if the brokers' certificates come from a CA of your own, as Strimzi's do.
    """
    cert_file: forms.Text | None = None
    """File, relative to this one: our certificate and what leads from it to its CA, in PEM. For `mtls`; with
    `sasl-scram` if the listener wants both. `AUTOPILOT_CERT` wins, so that processes that share this file have a
    certificate each.
    """
    key_file: forms.Text | None = None
    """File, relative to this one: the private key of `cert_file`, in PEM, without a passphrase. `AUTOPILOT_CERT_KEY`
    wins.
    """
    username: forms.Text | None = None
    """Who we are to the broker. For `sasl-scram`."""
    password_file: forms.Text | None = None
    """File, relative to this one, that has nothing but the password of `username`. For `sasl-scram`. All four files are
    looked at before each new connection, so a change of their content needs no restart.
    """
    replication_factor: forms.Replicas = 3
    """Replicas of the topics and changelogs that we create. Change: 1 only for a cluster of one node."""
    session_timeout_s: forms.SessionTimeout = 10.0
    """Seconds, at least 6. A worker that the broker does not hear from for this long loses its work to a standby; a
    worker that was frozen for half of it ends itself. Change: longer if hosts pause often.
    """
    answer_s: forms.AnswerWait = 30.0
    """Seconds, at least 10. A worker whose broker answers a write later than this ends itself; time in which its host
    gave it no CPU is not counted. Change: longer if the election of a leader takes longer.
    """
    standby_replicas: forms.ZeroOrOne = 0
    """0 or 1. With 1 a second worker of a cell keeps its tables warm. Change: if a takeover must not wait for a
    recovery.
    """


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything a process needs besides the inventories, whose files `pops` lists.

    `pops`, `data_dir`, `halt_file` and the files of keys are relative to the folder of the settings file; absolute
    paths stay. Each process opens the port that it is given, on loopback, so several cells on one host need a settings
    file each; a worker whose port is taken runs all the same, without its metrics.
    """

    RENAMED: ClassVar = {"marks": "thresholds"}

    pops: tuple[forms.Text, ...]
    """List of inventory files, one per PoP, relative to this file. To add a PoP, add its file here."""
    data_dir: forms.Text = "data"
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
    signing: Signing = Signing()
    """Table. The keys that this host signs decisions and orders with."""
    trust: TrustSettings = TrustSettings()
    """Table. Whose decisions and orders are obeyed."""
    gobgp: Gobgp = Gobgp()
    """Table. How this host's processes reach gobgpds over TCP."""
    http: Http = Http()
    """Table. Who may ask telemetry, actuator and view over HTTP, and who is behind a proxy in front of the view."""
    state_port: forms.Port = 6070
    """Port. Telemetry's own `/state`, `/metrics`, `/healthz` and `/readyz`, on loopback. Change: for several workers
    on one host.
    """
    actuator_port: forms.PortOrNone = 6071
    """Port, or 0 for none. The same for the actuator, on loopback. Change: for several actuators on one host."""
    view_port: forms.Port = 6072
    """Port of the web page. Change: if 6072 is taken."""
    halt_file: forms.Text = "halt"
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

    def cell_of(self, pop: str) -> str:
        """The name of the cell that a PoP is in."""
        return next((cell for cell, pops in self.settings.cells.items() if pop in pops), pop)

    @property
    def cells(self) -> dict[str, list[str]]:
        """The names of all cells, each with those of its PoPs."""
        cells: dict[str, list[str]] = {}
        for pop in self.pops:
            cells.setdefault(self.cell_of(pop), []).append(pop)
        return cells

    def cell(self, name: str) -> dict[str, Pop]:
        """The PoPs of a cell: those that `cells` lists, or the PoP of that name; ConfigError if one does not exist."""
        names = self.settings.cells.get(name, (name,))
        if missing := [pop for pop in names if pop not in self.pops]:
            raise ConfigError([f"cell {name}: no PoP {pop}; known: {', '.join(self.pops)}" for pop in missing])
        return {pop: self.pops[pop] for pop in names}


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Deployment:
    """Read settings and every inventory they name; ConfigError lists all mistakes of all files."""
    problems: list[Problem] = []
    raw, set_by = _overlaid(read_toml(path), environ)
    table = parse(raw, Settings, problems)
    files, twice = _files(path.parent, table)
    problems.extend(twice)
    inventories, mistakes = _read_inventories(path.parent, files)
    problems.extend(rules(table, [pop.get("name") for pop in inventories.values()]))
    mistakes += [problem.in_file(name) for name, problem in between(inventories, cells_of(table))]
    for problem in problems:
        variable = set_by.get(problem.path)
        mistakes.append(f"{variable} in the environment: {problem.text}" if variable else problem.in_file(path.name))
    if mistakes:  # the first round says as well what only `check` looks at
        raise ConfigError([*mistakes, *_unwritable(table, path.parent.absolute())])
    pops = {pop.name: pop for pop in (build(inventory, Pop) for inventory in inventories.values())}
    return Deployment(_rooted(build(table, Settings), path.parent.absolute()), pops)


def _unwritable(settings: TomlTable, folder: Path) -> list[str]:
    data_dir, halt_file = settings.get("data_dir"), settings.get("halt_file")
    return unwritable(folder / data_dir, folder / halt_file, offline=True) if data_dir and halt_file else []


def _files(folder: Path, settings: TomlTable) -> tuple[list[str], list[Problem]]:
    """The inventories as `pops` names them, and a mistake for each name that is another spelling of one before it."""
    first: dict[Path, tuple[str, str]] = {}
    problems = []
    for path, name in settings.each("pops"):
        at, other = first.setdefault((folder / name).resolve(), (path, name))
        if other != name:
            problems.append(Problem(path, f"{name!r} is the same file as {other!r} in {at}; leave one out"))
    return [name for _, name in first.values()], problems


def _read_inventories(folder: Path, names: Sequence[str]) -> tuple[dict[str, TomlTable], list[str]]:
    """What could be read of each inventory, by file, and every mistake in them."""
    inventories: dict[str, TomlTable] = {}
    mistakes: list[str] = []
    for name in names:
        problems: list[Problem] = []
        try:
            inventories[name] = parse(numbered(read_toml(folder / name), problems), Pop, problems)
        except ConfigError as error:
            mistakes += error.problems
            continue
        problems.extend(inventory_rules.rules(inventories[name]))
        mistakes += [problem.in_file(name) for problem in problems]
    return inventories, mistakes


def check_settings(settings: Settings, pops: Collection[str]) -> list[str]:
    """List the mistakes in settings that were not read from a file; `pops` are the names of the PoPs."""
    problems: list[Problem] = []
    table = parse_again(settings, problems)
    return [str(problem) for problem in (*problems, *rules(table, pops))]


def _rooted(settings: Settings, folder: Path) -> Settings:
    """The settings with absolute paths, which hold wherever a process is started."""

    def rooted(table: S, *keys: str) -> S:
        paths = {key: path and str(folder / path) for key in keys for path in [getattr(table, key)]}
        return msgspec.structs.replace(table, **paths)

    return msgspec.structs.replace(
        rooted(settings, "data_dir", "halt_file"),
        kafka=rooted(settings.kafka, *FILES_OF_KAFKA),
        gobgp=rooted(settings.gobgp, *FILES_OF_GOBGP),
        http=rooted(settings.http, "proxy_secret_file"),
        signing=rooted(settings.signing, *Signing.__struct_fields__),
    )


def _overlaid(raw: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings with what the environment overrides, and the variable behind each key that it does, by path."""
    set_by: dict[str, str] = {}
    for path, variable in OVERLAY.items():
        if value := environ.get(variable):
            table, _, key = path.rpartition(".")
            below = raw.get(table, {}) if table else raw
            if isinstance(below, Mapping):
                raw = raw | ({table: {**below, key: value}} if table else {key: value})
                set_by[path] = variable
    return raw, set_by
