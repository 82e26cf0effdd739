"""`autopilot size`: figures grow with the network, have the units they say, and name what they came from."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.cli.sizing import FILE, REPLICAS, Constant, Constants, NetworkSize, amount, load_constants, size
from app.contract import topics
from app.errors import ConfigError
from tests.bench.popfigures import to_toml

SMALL = NetworkSize(pops=4, records_per_second=100, links=10, prefixes=500)
CHOSEN = {"cell_load_max_cores": 1e6, "broker_cores": 4, "broker_load_max": 0.5, "broker_replicas_max": 1000}


def constants(**values: float) -> Constants:
    """Everything costs 1 but what is named and what is CHOSEN."""
    named = CHOSEN | values
    return Constants(**{name: Constant(named.get(name, 1.0), "chosen") for name in Constants.__struct_fields__})


def figures(network: NetworkSize, of: Constants | None = None) -> dict[str, float]:
    return {figure.name: figure.value for figure in size(network, of or constants())}


def changed(**values: float) -> NetworkSize:
    return msgspec.structs.replace(SMALL, **values)


def test_the_constants_that_are_shipped_say_how_they_came_about() -> None:
    shipped = load_constants()
    for name in shipped.__struct_fields__:
        constant: Constant = getattr(shipped, name)
        assert constant.value >= 0, name
        assert constant.how.startswith(("measured (", "chosen: ")), name
    assert shipped.record_cpu_s.value > 0
    assert shipped.prefix_memory_bytes.value > 0


@pytest.mark.parametrize("shipped", [True, False])
@pytest.mark.parametrize(
    ("key", "grows"),
    [
        ("pops", "cells"),
        ("records_per_second", "cores of a telemetry worker"),
        ("links", "link utilization written"),
        ("prefixes", "memory of a telemetry worker"),
        ("retention_hours", "disk of a broker"),
    ],
)
def test_a_larger_network_never_needs_less(key: str, grows: str, shipped: bool) -> None:
    of = load_constants() if shipped else constants()
    small = figures(SMALL, of)
    large = figures(changed(**{key: 2 * getattr(SMALL, key)}), of)
    assert large[grows] > small[grows]
    assert [name for name in small if large[name] < small[name]] == []


def test_larger_cells_are_fewer_and_save_what_each_worker_costs() -> None:
    alone, together = figures(SMALL), figures(changed(pops_per_cell=3))
    assert (alone["cells"], together["cells"]) == (4, 2)
    assert together["telemetry workers"] == together["actuator workers"] == 2
    assert alone["cores of all telemetry workers"] - together["cores of all telemetry workers"] == 2
    assert together["memory of a telemetry worker"] == 1 + 3 * (10 + 500)


def test_rates_and_disk_have_the_units_they_say() -> None:
    of = constants(flow_record_bytes=300, counter_bytes=200, counter_interval_s=10, segment_hours=0)
    got = figures(changed(retention_hours=2), of)
    assert got["flows written"] == 4 * 100 * 300
    assert got["counters written"] == 4 * 10 * 200 / 10
    assert got["link utilization written"] == 4 * 10 / 10
    assert got["changelogs written"] == 4 * (10 + 500)
    kept = {
        "flows written": 2 * 3600,
        "changelogs written": 3600,
        "counters written": topics.COUNTERS.retention_ms / 1000,
        "routes written": topics.BMP.retention_ms / 1000,
        "decisions written": topics.DECISIONS.retention_ms / 1000,
        "link utilization written": topics.LINK_UTILIZATION.retention_ms / 1000,
        "prefix traffic written": topics.PREFIX_TRAFFIC.retention_ms / 1000,
    }
    assert got["disk of all brokers"] == pytest.approx(
        REPLICAS * sum(got[name] * kept_s for name, kept_s in kept.items())
    )
    assert got["disk of a broker"] * got["brokers"] == pytest.approx(got["disk of all brokers"])


def test_the_newest_segment_of_each_partition_stays() -> None:
    bare, segments = constants(segment_hours=0), constants(segment_hours=1e6, segment_bytes=1000)
    more = figures(SMALL, segments)["disk of all brokers"] - figures(SMALL, bare)["disk of all brokers"]
    per_pop_topics, shared_topics, changelogs = 4 * 4, 2, 4 * 2
    assert more == pytest.approx(REPLICAS * 1000 * (per_pop_topics + shared_topics + changelogs))


def test_there_are_not_more_active_prefixes_than_records() -> None:
    assert figures(changed(prefixes=10_000))["changelogs written"] == 4 * (10 + 100 * 10)


def test_prefixes_without_traffic_take_the_memory_of_their_paths() -> None:
    got = figures(changed(prefixes=10_000), constants(prefix_paths=3, path_memory_bytes=100))
    assert got["memory of one more PoP"] == 10 + 1000 + 9000 * 300
    assert got["memory of all actuators"] == 4 * (1 + 1000 + 9000 * 300)


def test_brokers_are_as_many_as_replicas_cores_or_partitions_want() -> None:
    free = constants(broker_mib_cpu_s=0, broker_partition_cpu_cores=0)
    assert figures(SMALL, free)["brokers"] == REPLICAS
    busy = figures(SMALL, constants(broker_mib_cpu_s=0, broker_partition_cpu_cores=1))
    assert busy["brokers"] == -(-busy["partitions"] * REPLICAS // 2)
    many = figures(changed(pops=1000), free)
    assert many["brokers"] == -(-many["partitions"] * REPLICAS // 1000)


def test_partitions_are_those_of_the_topics_and_changelogs() -> None:
    got = figures(SMALL, constants(telemetry_changelogs=4, actuator_changelogs=1))
    assert got["partitions"] == got["topics"] == len(topics.named(["a", "b", "c", "d"])) + 4 * 5


def test_every_source_is_a_constant_or_a_figure_and_every_constant_counts() -> None:
    told = size(SMALL, constants())
    names, known = {figure.name for figure in told}, set(Constants.__struct_fields__)
    used = {source for figure in told for source in figure.sources}
    assert used <= names | known
    assert known - used == {"cell_load_max_cores"}
    assert {figure.name: figure.sources for figure in told}["brokers"] == [
        "cores of all brokers",
        "broker_cores",
        "broker_load_max",
        "partitions",
        "broker_replicas_max",
    ]


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["pops", "records_per_second", "links", "prefixes", "pops_per_cell", "retention_hours"])
def test_a_number_that_is_not_above_0_is_named(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"--{key.replace('_', '-')} .*: must be above 0"):
        size(changed(**{key: value}), constants())


def test_a_worker_that_has_too_much_is_refused_with_the_number_that_it_can_take() -> None:
    of = constants(
        cell_load_max_cores=0.5, cell_cpu_cores=0.1, link_cpu_cores=0, record_cpu_s=0.001, prefix_cpu_cores=0
    )
    assert figures(changed(pops_per_cell=4), of)["cells"] == 1
    with pytest.raises(
        ConfigError, match=r"--pops-per-cell 5: a worker would need 0\.60 cores; it can carry at most 4"
    ):
        size(changed(pops=10, pops_per_cell=5), of)
    with pytest.raises(ConfigError, match=r"--records-per-second 1000: a PoP needs 1\.00 cores, too much"):
        size(changed(records_per_second=1000), of)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("[path_bytes]", "[path_octets]", "sizing.toml.path_bytes: is missing; write a table"),
        ("[path_bytes]", "[path_octets]", "sizing.toml.path_octets: unknown key"),
        ("[path_bytes]\nvalue", "[path_bytes]\nvalve", "sizing.toml.path_bytes.value: is missing; write a number"),
        ("[path_bytes]\nvalue = ", "[path_bytes]\nvalue = -", "sizing.toml.path_bytes: -"),
        ("[broker_cores]\nvalue = 4.0", "[broker_cores]\nvalue = 0.0", "sizing.toml.broker_cores: must be above 0"),
        (
            "[path_bytes]\nvalue = ",
            '[path_bytes]\nvalue = "much" # ',
            "sizing.toml.path_bytes.value: 'much' is text; write a number",
        ),
    ],
)
def test_a_wrong_file_of_constants_is_an_error_with_the_key(tmp_path: Path, old: str, new: str, problem: str) -> None:
    path = tmp_path / "sizing.toml"
    text = FILE.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as error:
        load_constants(path)
    assert any(line.startswith(problem) for line in error.value.problems), error.value.problems


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "sizing.toml"
    path.write_text(to_toml(load_constants()))
    assert load_constants(path) == load_constants()
    assert path.read_text() == FILE.read_text()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (405.0, "", "405"),
        (0.123, "cores", "0.12 cores"),
        (512, "B", "512.0 B"),
        (0, "B", "0.0 B"),
        (1536, "B/s", "1.5 KiB/s"),
        (3 * 2**30, "B", "3.0 GiB"),
        (2**60, "B", "1,048,576.0 TiB"),
    ],
)
def test_amounts_are_as_people_write_them(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


def test_the_command_prints_figures_and_constants() -> None:
    asked = ("size", "--pops", "100", "--records-per-second", "2000")
    text = CliRunner(env={"COLUMNS": None}).invoke(main, asked)
    assert text.exit_code == 0
    assert "memory of all telemetry workers" in text.stdout
    assert load_constants().record_cpu_s.how[:30] in text.stdout
    told = json.loads(CliRunner().invoke(main, [*asked, "--json"]).stdout)
    assert told["asked"] == msgspec.to_builtins(NetworkSize(pops=100, records_per_second=2000))
    assert {one["name"]: one["value"] for one in told["figures"]}["cells"] == 100
    assert told["constants"]["broker_cores"]["value"] == 4


def test_the_command_names_what_is_wrong() -> None:
    result = CliRunner().invoke(main, ["size", "--pops", "2", "--records-per-second", "0", "--json"])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["problems"] == ["--records-per-second 0: must be above 0"]
