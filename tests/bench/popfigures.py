"""What many PoPs cost: flat or not, the bottleneck, the cost of one more, the constants of sizing.toml. Pure."""

from collections.abc import Sequence
from math import nan
from statistics import fmean, linear_regression, median

import msgspec

from app.cli.sizing import MIB, Constant, Constants
from tests.bench import network
from tests.bench.traffic import REFRESH_S, WINDOW_S

LAG_MORE_S = 2.0 * REFRESH_S  # a purge is read at once, and committed up to a second later
LATE_MAX_S = 1.0
LOST_S = 60.0  # as far behind, or the generator as late, a run is not waited for
BUSY, WAITING = 0.95, 0.2


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One number of PoPs in cells of one size. CPU in cores, all of a kind together.

    `lag_s` is that of the PoP furthest behind, sample by sample; `late_s` that of the generator in the end, `at_end`;
    `written` are bytes a second by kind of topic.
    """

    pops: int
    pops_per_cell: int
    cells: int
    records_per_s: int
    prefixes: int
    seconds: float
    lag_s: Sequence[float]
    late_s: float
    worker_cores: float
    busiest_worker_cores: float
    worker_mib: float
    actuator_cores: float  # of one cell
    actuator_mib: float
    broker_cores: float
    broker_mib: float
    feed_cores: float
    machine_cores: float
    busy_cores: float
    disk_wait: float
    written: dict[str, float]
    telemetry_changelogs: int  # of a worker
    actuator_changelogs: int
    ended: Sequence[str] = ()

    @property
    def partitions(self) -> int:
        """In use: flows, counters and decisions of each PoP, changelogs, and two that all share."""
        return 3 * self.pops + self.cells * self.telemetry_changelogs + 2

    @property
    def lag_early_s(self) -> float:
        fifth = max(1, len(self.lag_s) // 5)
        return median(self.lag_s[fifth : 2 * fifth] or self.lag_s or [nan])

    @property
    def lag_late_s(self) -> float:
        return at_end(self.lag_s)

    @property
    def lag_slope(self) -> float:
        """Seconds that the lag grows in a minute."""
        if len(self.lag_s) < 2:
            return nan
        return linear_regression(range(len(self.lag_s)), self.lag_s).slope * 60 * len(self.lag_s) / self.seconds

    @property
    def flat(self) -> bool:
        """No process ended, and the last fifth of the samples is no further behind than the second."""
        return not self.ended and self.lag_late_s <= min(self.lag_early_s + LAG_MORE_S, LOST_S)

    @property
    def holds(self) -> bool:
        """Flat, and of all the records that there should be."""
        return self.flat and self.late_s <= LATE_MAX_S

    @property
    def cores_a_pop(self) -> float:
        return self.worker_cores / self.pops

    @property
    def mib_a_pop(self) -> float:
        return self.worker_mib / self.pops


def at_end(samples: Sequence[float]) -> float:
    """The median of the last fifth, so that one hiccup that is made good does not count."""
    return median(samples[-max(1, len(samples) // 5) :] or [nan])


class Split(msgspec.Struct, frozen=True):
    """What a worker costs, and each PoP in it: a line through all cell sizes."""

    per_cell: float
    per_pop: float


def split(runs: Sequence[Measured], per_pop: Sequence[float]) -> Split | None:
    """None with one cell size, through which every line goes. Where more workers cost less, that is noise: nothing."""
    cells = [run.cells / run.pops for run in runs]
    if len(set(cells)) < 2:
        return None
    line = linear_regression(cells, per_pop)
    return Split(line.slope, max(0.0, line.intercept)) if line.slope > 0 else Split(0.0, fmean(per_pop))


def bottleneck(run: Measured) -> str:
    """What gives out first, or what is nearest to it."""
    ours = run.worker_cores + run.actuator_cores + run.broker_cores + run.feed_cores
    used = {
        "one worker's core": run.busiest_worker_cores,
        "the generator's core": run.feed_cores,
        "the processors": run.busy_cores / run.machine_cores,
    }
    shares = (
        f"workers {run.worker_cores:.2f}, actuator {run.actuator_cores:.2f}, broker {run.broker_cores:.2f}, "
        f"generator {run.feed_cores:.2f}, others {max(0.0, run.busy_cores - ours):.2f} of {run.machine_cores:g} cores"
    )
    late = f"; the generator was {run.late_s:.1f} s late" if run.late_s > LATE_MAX_S else ""
    name = max(used, key=lambda one: used[one])
    if run.disk_wait >= WAITING:
        name = "the disk"
    elif used[name] < BUSY:
        return f"none; nearest is {name}, {used[name]:.0%} ({shares}){late}"
    return f"{name} ({shares}){late}"


def measured_constants(
    runs: Sequence[Measured], dense: Measured, quiet: Measured, record_bytes: float, path_bytes: float, of: str
) -> dict[str, Constant]:
    """The measured part of sizing.toml. `dense` are fewer PoPs with more records each, `quiet` PoPs without any."""
    cores, mib = split(runs, [run.cores_a_pop for run in runs]), split(runs, [run.mib_a_pop for run in runs])
    actuator = split(runs, [run.actuator_mib / run.pops_per_cell for run in runs])
    assert cores is not None, "at least two cell sizes"
    assert mib is not None, "at least two cell sizes"
    assert actuator is not None, "at least two cell sizes"
    full, cells = runs[-1], quiet.cells / quiet.pops
    idle_cores = max(0.0, quiet.cores_a_pop - cores.per_cell * cells)
    idle_mib = max(0.0, quiet.mib_a_pop - mib.per_cell * cells)
    dense_cores = dense.cores_a_pop - cores.per_cell * dense.cells / dense.pops
    record_cpu_s = max(0.0, dense_cores - cores.per_pop) / (dense.records_per_s - full.records_per_s)
    written, written_quiet = sum(full.written.values()) / MIB, sum(quiet.written.values()) / MIB
    mib_cpu_s = max(0.0, full.broker_cores - quiet.broker_cores) / (written - written_quiet)
    active = min(full.prefixes, full.records_per_s * WINDOW_S)
    link_samples_s, changelog = full.pops * network.LINKS / WINDOW_S, quiet.written["changelogs"] / quiet.pops
    values = {
        "cell_cpu_cores": (cores.per_cell, "of a worker, by a line through the cell sizes"),
        "link_cpu_cores": (idle_cores / network.LINKS, "of a PoP without records, beside its worker's, by link"),
        "record_cpu_s": (record_cpu_s, f"what a PoP costs more with {dense.records_per_s} records/s"),
        "prefix_cpu_cores": (
            max(0.0, cores.per_pop - idle_cores - record_cpu_s * full.records_per_s) / active,
            "what else a PoP with records costs, by active prefix",
        ),
        "cell_memory_bytes": (mib.per_cell * MIB, "resident, of a worker, by a line through the cell sizes"),
        "link_memory_bytes": (idle_mib * MIB / network.LINKS, "of a PoP without records and routes, by link"),
        "prefix_memory_bytes": (
            (mib.per_pop - idle_mib) * MIB / full.prefixes,
            f"what a PoP takes more with records and routes to {full.prefixes} prefixes",
        ),
        "actuator_cpu_cores": (
            max(run.actuator_cores for run in runs),
            "of a cell's actuator in dry-run, without gobgpds",
        ),
        "actuator_memory_bytes": (actuator.per_cell * MIB, "resident, dry-run, by a line through the cell sizes"),
        "actuator_prefix_memory_bytes": (actuator.per_pop * MIB / full.prefixes, "of a PoP, by prefix"),
        "broker_mib_cpu_s": (mib_cpu_s, "of a broker, by MiB written and read once, not replicated"),
        "broker_partition_cpu_cores": (
            max(0.0, quiet.broker_cores - mib_cpu_s * written_quiet) / quiet.partitions,
            "of a broker whose partitions carry only markers and counters, by partition in use",
        ),
        "broker_memory_bytes": (full.broker_mib * MIB, "resident, heap of 512 MiB; the kernel's cache comes on top"),
        "flow_record_bytes": (record_bytes, "a line of sfacctd's JSON with the five-tuple, not compressed"),
        "counter_bytes": (full.written["counters"] / link_samples_s, "on disk, a sample"),
        "path_bytes": (path_bytes, "on disk, a BMP update of one path"),
        "link_utilization_bytes": (full.written["link-utilization"] / link_samples_s, "on disk, a link and window"),
        "prefix_traffic_bytes": (full.written["prefix-traffic"] / link_samples_s, "on disk, a link and window"),
        "decision_bytes": (full.written["decisions"] * WINDOW_S / full.pops, "on disk, a PoP and window"),
        "link_changelog_bytes_per_s": (changelog / network.LINKS, "of a PoP without records, by link"),
        "prefix_changelog_bytes_per_s": (
            max(0.0, full.written["changelogs"] / full.pops - changelog) / active,
            "what a PoP writes more with its records, by active prefix",
        ),
        "telemetry_changelogs": (full.telemetry_changelogs, "of a worker"),
        "actuator_changelogs": (full.actuator_changelogs, "of a worker"),
    }
    return {name: Constant(float(f"{value:.4g}"), f"measured ({of}): {how}") for name, (value, how) in values.items()}


def to_toml(constants: Constants) -> str:
    """The text of app/cli/sizing.toml."""
    head = (
        "# What `autopilot size` computes with. Measured values are written by `python -m tests.bench.pops --write`.\n"
    )
    tables = (
        f'\n[{name}]\nvalue = {constant.value!r}\nhow = "{constant.how}"\n'
        for name, constant in ((field, getattr(constants, field)) for field in constants.__struct_fields__)
    )
    return head + "".join(tables)
