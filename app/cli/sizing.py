"""`autopilot size`: what a network of a given size needs, computed from the constants of app/cli/sizing.toml.

Constants are measured (`python -m tests.bench.pops --write`) or chosen; each says how. Each figure names the constants
and figures that were read while it was computed.
"""

from collections.abc import Callable, Sequence
from math import ceil, inf, log
from pathlib import Path

import msgspec

from app.cli.tables import Listing
from app.config.settings import Kafka
from app.config.thresholds import WindowSettings
from app.config.toml import convert, read_toml
from app.contract import topics
from app.errors import ConfigError

FILE = Path(__file__).with_suffix(".toml")
DAY_S, HOUR_S, MIB = 86_400, 3_600, 1 << 20
KILO = ("", "Ki", "Mi", "Gi", "Ti")
WINDOW_S = WindowSettings().length_s
REPLICAS = Kafka().replication_factor
DIVISORS = ("record_cpu_s", "broker_cores", "broker_load_max", "broker_replicas_max", "counter_interval_s")


class Constant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number, and how it was measured or chosen; the unit is part of its name."""

    value: float
    how: str


class Constants(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The constants of app/cli/sizing.toml. CPU is in cores (CPU seconds per second) or seconds; bytes are on disk."""

    cell_cpu_cores: Constant
    link_cpu_cores: Constant
    record_cpu_s: Constant
    prefix_cpu_cores: Constant
    cell_memory_bytes: Constant
    link_memory_bytes: Constant
    prefix_memory_bytes: Constant
    actuator_cpu_cores: Constant
    actuator_memory_bytes: Constant
    actuator_prefix_memory_bytes: Constant
    path_memory_bytes: Constant
    broker_mib_cpu_s: Constant
    broker_partition_cpu_cores: Constant
    broker_memory_bytes: Constant
    flow_record_bytes: Constant
    counter_bytes: Constant
    path_bytes: Constant
    link_utilization_bytes: Constant
    prefix_traffic_bytes: Constant
    decision_bytes: Constant
    link_changelog_bytes_per_s: Constant
    prefix_changelog_bytes_per_s: Constant
    telemetry_changelogs: Constant
    actuator_changelogs: Constant
    cell_load_max_cores: Constant
    broker_cores: Constant
    broker_load_max: Constant
    broker_replicas_max: Constant
    prefix_paths: Constant
    path_updates_per_day: Constant
    counter_interval_s: Constant
    changelog_hours: Constant
    segment_bytes: Constant
    segment_hours: Constant


class NetworkSize(msgspec.Struct, frozen=True, kw_only=True):
    """The network to size. `records_per_second`, `links` and `prefixes` are per PoP; `retention_hours` is of flows."""

    pops: int
    records_per_second: float
    links: int = 40
    prefixes: int = 20_000
    pops_per_cell: int = 1
    retention_hours: float = topics.FLOWS.retention_ms / topics.HOUR_MS

    @property
    def in_a_cell(self) -> int:
        """The number of PoPs in the fullest cell."""
        return min(self.pops, self.pops_per_cell)

    @property
    def active_prefixes(self) -> float:
        """The number of prefixes per PoP that a window can see, at most one for each record."""
        return min(self.prefixes, self.records_per_second * WINDOW_S)


class Figure(msgspec.Struct, frozen=True):
    """One result; `sources` are the names of the constants and figures that it was computed from."""

    name: str
    value: float
    unit: str
    sources: Sequence[str]


class ConstantsRead:
    """Gives constants as attributes and other figures by name, and remembers in `read` which were used."""

    def __init__(self, network: NetworkSize, constants: Constants) -> None:
        self._network = network
        self._constants = constants
        self.read: dict[str, None] = {}

    def __getattr__(self, name: str) -> float:
        constant: Constant = getattr(self._constants, name)
        self.read[name] = None
        return constant.value

    def __getitem__(self, figure: str) -> float:
        self.read[figure] = None
        return FIGURES[figure][1](self._network, ConstantsRead(self._network, self._constants))


Compute = Callable[[NetworkSize, ConstantsRead], float]


def load_constants(path: Path = FILE) -> Constants:
    """Read the constants; ConfigError names each key that is missing, unknown or wrong."""
    problems: list[str] = []
    constants = convert(read_toml(path), Constants, path.name, problems)
    values = {name: constant.value for name, constant in msgspec.structs.asdict(constants).items()} if constants else {}
    problems += [
        f"{path.name}.{name}: {value:g}: must be 0 or more" for name, value in values.items() if not 0 <= value < inf
    ]
    problems += [f"{path.name}.{name}: must be above 0" for name in DIVISORS if values.get(name) == 0]
    if constants is None or problems:
        raise ConfigError(problems)
    return constants


def size(network: NetworkSize, constants: Constants) -> list[Figure]:
    """Compute every figure; ConfigError if a number is not above 0, or if one worker could not carry a cell."""
    problems = [
        f"--{name.replace('_', '-')} {value:g}: must be above 0"
        for name, value in msgspec.structs.asdict(network).items()
        if not 0 < value < inf
    ]
    if problems or (problems := _overload(network, ConstantsRead(network, constants))):
        raise ConfigError(problems)
    figures = []
    for name, (unit, compute) in FIGURES.items():
        reading = ConstantsRead(network, constants)
        value = compute(network, reading)
        figures.append(Figure(name, value, unit, list(reading.read)))
    return figures


def _overload(n: NetworkSize, k: ConstantsRead) -> list[str]:
    """Return a problem if a cell is too large for a worker: one process, one core, some of it kept for catching up."""
    load, pop = k["cores of a telemetry worker"], k["cores of one more PoP"]
    if load <= k.cell_load_max_cores:
        return []
    room = int((k.cell_load_max_cores - k.cell_cpu_cores) / pop)
    if room < 1:
        return [f"--records-per-second {n.records_per_second:g}: a PoP needs {pop:.2f} cores, too much for one worker"]
    return [f"--pops-per-cell {n.pops_per_cell}: a worker would need {load:.2f} cores; it can carry at most {room}"]


def _flows(n: NetworkSize, k: ConstantsRead) -> float:
    return n.pops * n.records_per_second * k.flow_record_bytes


def _counters(n: NetworkSize, k: ConstantsRead) -> float:
    return n.pops * n.links * k.counter_bytes / k.counter_interval_s


def _routes(n: NetworkSize, k: ConstantsRead) -> float:
    return n.pops * n.prefixes * k.prefix_paths * k.path_bytes * k.path_updates_per_day / DAY_S


def _changelogs(n: NetworkSize, k: ConstantsRead) -> float:
    """Changelog bytes per second; a prefix is written with each flush while its window is open."""
    return n.pops * (n.links * k.link_changelog_bytes_per_s + n.active_prefixes * k.prefix_changelog_bytes_per_s)


def _pop_cores(n: NetworkSize, k: ConstantsRead) -> float:
    """Cores that one PoP adds to its telemetry worker."""
    records = n.records_per_second * k.record_cpu_s
    return n.links * k.link_cpu_cores + records + n.active_prefixes * k.prefix_cpu_cores


def _pop_memory(n: NetworkSize, k: ConstantsRead) -> float:
    """Bytes of memory that one PoP adds to its telemetry worker."""
    return n.links * k.link_memory_bytes + n.active_prefixes * k.prefix_memory_bytes + _idle_memory(n, k)


def _actuator_memory(n: NetworkSize, k: ConstantsRead) -> float:
    """Bytes of memory that one PoP adds to its actuator."""
    return n.active_prefixes * k.actuator_prefix_memory_bytes + _idle_memory(n, k)


def _idle_memory(n: NetworkSize, k: ConstantsRead) -> float:
    """Bytes of memory of the prefixes without traffic, most of a full table: they have only paths."""
    return (n.prefixes - n.active_prefixes) * k.prefix_paths * k.path_memory_bytes


def _partitions(n: NetworkSize, k: ConstantsRead) -> float:
    shared = sum(topic.partitions for topic in topics.ALL if "<pop>" not in topic.name)
    per_pop = sum(topic.partitions for topic in topics.ALL if "<pop>" in topic.name)
    return shared + n.pops * per_pop + k["changelogs"]


def _disk(n: NetworkSize, k: ConstantsRead) -> float:
    """Bytes on the disks of all brokers, replicas included.

    Kafka removes whole segments, so the newest segment of each partition is kept beyond its retention.
    """
    kept = 0.0
    for figure, topic in WRITTEN.items():
        if topic is None:
            retention_s, partitions = k.changelog_hours * HOUR_S, k["changelogs"]
        else:
            retention_s, partitions = topic.retention_ms / 1000, n.pops if "<pop>" in topic.name else 1
        if topic is topics.FLOWS:
            retention_s = n.retention_hours * HOUR_S
        bytes_per_s = k[figure]
        kept += bytes_per_s * retention_s + min(partitions * k.segment_bytes, bytes_per_s * k.segment_hours * HOUR_S)
    return REPLICAS * kept


def _broker_cores(_: NetworkSize, k: ConstantsRead) -> float:
    """Cores of all brokers; each replica costs as much as the leader."""
    written_mib = sum(k[figure] for figure in WRITTEN) / MIB
    return REPLICAS * (written_mib * k.broker_mib_cpu_s + k["partitions"] * k.broker_partition_cpu_cores)


def _brokers(_: NetworkSize, k: ConstantsRead) -> float:
    for_cores = k["cores of all brokers"] / (k.broker_cores * k.broker_load_max)
    return max(REPLICAS, ceil(for_cores), ceil(REPLICAS * k["partitions"] / k.broker_replicas_max))


def _sum(*names: str) -> Compute:
    return lambda _, k: sum(k[name] for name in names)


# What is written to the leaders, and to which topics; control, actuations and dead letters are negligible.
WRITTEN = {
    "flows written": topics.FLOWS,
    "counters written": topics.COUNTERS,
    "routes written": topics.BMP,
    "decisions written": topics.DECISIONS,
    "link utilization written": topics.LINK_UTILIZATION,
    "prefix traffic written": topics.PREFIX_TRAFFIC,
    "changelogs written": None,
}
FIGURES: dict[str, tuple[str, Compute]] = {
    "cells": ("", lambda n, _: ceil(n.pops / n.pops_per_cell)),
    "telemetry workers": ("", _sum("cells")),
    "actuator workers": ("", _sum("cells")),
    "changelogs": ("", lambda _, k: k["cells"] * (k.telemetry_changelogs + k.actuator_changelogs)),
    "partitions": ("", _partitions),
    "topics": ("", _sum("partitions")),  # each topic has one
    "flows written": ("B/s", _flows),
    "counters written": ("B/s", _counters),
    "routes written": ("B/s", _routes),
    "decisions written": ("B/s", lambda n, k: n.pops * k.decision_bytes / WINDOW_S),
    "link utilization written": ("B/s", lambda n, k: n.pops * n.links * k.link_utilization_bytes / WINDOW_S),
    "prefix traffic written": ("B/s", lambda n, k: n.pops * n.links * k.prefix_traffic_bytes / WINDOW_S),
    "changelogs written": ("B/s", _changelogs),
    "cores of all brokers": ("cores", _broker_cores),
    "brokers": ("", _brokers),
    "disk of all brokers": ("B", _disk),
    "disk of a broker": ("B", lambda _, k: k["disk of all brokers"] / k["brokers"]),
    "memory of all brokers": ("B", lambda _, k: k["brokers"] * k.broker_memory_bytes),
    "cores of one more PoP": ("cores", _pop_cores),
    "memory of one more PoP": ("B", _pop_memory),
    "cores of a telemetry worker": ("cores", lambda n, k: k.cell_cpu_cores + n.in_a_cell * k["cores of one more PoP"]),
    "memory of a telemetry worker": (
        "B",
        lambda n, k: k.cell_memory_bytes + n.in_a_cell * k["memory of one more PoP"],
    ),
    "cores of all telemetry workers": (
        "cores",
        lambda n, k: k["cells"] * k.cell_cpu_cores + n.pops * k["cores of one more PoP"],
    ),
    "memory of all telemetry workers": (
        "B",
        lambda n, k: k["cells"] * k.cell_memory_bytes + n.pops * k["memory of one more PoP"],
    ),
    "cores of all actuators": ("cores", lambda _, k: k["cells"] * k.actuator_cpu_cores),
    "memory of all actuators": (
        "B",
        lambda n, k: k["cells"] * k.actuator_memory_bytes + n.pops * _actuator_memory(n, k),
    ),
    "cores in all": ("cores", _sum("cores of all brokers", "cores of all telemetry workers", "cores of all actuators")),
    "memory in all": ("B", _sum("memory of all brokers", "memory of all telemetry workers", "memory of all actuators")),
}


def figures_table(figures: Sequence[Figure]) -> Listing:
    """Return a table with one line per figure."""
    table = Listing("figure", "amount", "computed from", right=("amount",))
    for figure in figures:
        table.add_row(figure.name, amount(figure.value, figure.unit), ", ".join(figure.sources))
    return table


def constants_table(constants: Constants) -> Listing:
    """Return a table with one line per constant."""
    table = Listing("constant", "value", "measured or chosen")
    for name in constants.__struct_fields__:
        constant: Constant = getattr(constants, name)
        table.add_row(name, f"{constant.value:g}", constant.how)
    return table


def amount(value: float, unit: str) -> str:
    """Return a value with its unit as people write it; bytes in the largest unit in which they are 1 or more."""
    if not unit.startswith("B"):
        return f"{value:,.2f} {unit}" if unit else f"{value:,.0f}"
    power = min(len(KILO) - 1, int(log(max(value, 1), 1024)))
    return f"{value / 1024**power:,.1f} {KILO[power]}{unit}"
