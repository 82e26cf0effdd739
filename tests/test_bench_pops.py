"""The benchmark of many PoPs: its traffic, when lag is flat, what is the bottleneck, and which constants come out."""

import asyncio
import json
from collections.abc import Awaitable
from math import isnan
from pathlib import Path
from typing import Any, cast

import click
import msgspec
import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from click.testing import CliRunner

from app.cli.sizing import FILE, MIB, load_constants
from app.clock import SystemClock
from app.feeds.counters import InterfaceCounters
from app.feeds.counters import decode as decode_counters
from app.feeds.flows import Flow, Marker, PurgeClose, PurgeInit, decode
from tests.bench import network, pops
from tests.bench.popfeed import PREPARED_S, PURGES, Feed, Recording
from tests.bench.popfigures import Measured, Split, at_end, bottleneck, measured_constants, split
from tests.bench.traffic import REFRESH_S, WINDOW_S

NOW_S = 1_795_246_100
RECORDING = Recording(500, 200)
RUN = Measured(
    pops=12,
    pops_per_cell=4,
    cells=3,
    records_per_s=2000,
    prefixes=500,
    seconds=60,
    lag_s=[2.0] * 20,
    late_s=0.1,
    worker_cores=0.6,
    busiest_worker_cores=0.2,
    worker_mib=600,
    actuator_cores=0.01,
    actuator_mib=100,
    broker_cores=0.3,
    broker_mib=400,
    feed_cores=0.05,
    machine_cores=2,
    busy_cores=1.0,
    disk_wait=0.0,
    written={},
    telemetry_changelogs=4,
    actuator_changelogs=1,
)


def run(**values: object) -> Measured:
    return msgspec.structs.replace(RUN, **values)


def test_a_purge_is_of_the_time_that_is_patched_in() -> None:
    for number in (0, 3, PURGES + 3):
        lines = [line for value in RECORDING.purge(number, NOW_S) for line in decode(value)]
        assert isinstance(lines[0], Marker)
        assert isinstance(lines[-1], Marker)
        flows = [line for line in lines if isinstance(line, Flow)]
        assert len(flows) == len(lines) - 2 == 500 * REFRESH_S
        assert {flow.at_s for flow in flows} == {NOW_S - 2, NOW_S - 1}
    assert str(PREPARED_S)[:7].encode() not in b"".join(RECORDING.purge(0, NOW_S))
    assert RECORDING.messages_a_purge == len(RECORDING.purge(0, NOW_S))


def test_there_are_routes_to_wherever_flows_go() -> None:
    flows = [line for value in RECORDING.purge(1, NOW_S) for line in decode(value) if isinstance(line, Flow)]
    all_prefixes = {network.network_of(number) for number in range(network.PREFIXES)}
    assert RECORDING.prefixes() <= all_prefixes
    assert {f"{flow.destination.rpartition('.')[0]}.0/24" for flow in flows} <= RECORDING.prefixes()


def octets(number: int) -> dict[tuple[str, int], int]:
    told = [decode_counters(value) for value in RECORDING.counters(number, NOW_S)]
    samples = [one for one in told if isinstance(one, InterfaceCounters)]
    assert len(samples) == network.LINKS
    return {(one.exporter, one.ifindex): one.out_octets for one in samples}


@pytest.mark.parametrize("number", [1, PURGES - 1, PURGES, 3 * PURGES + 2])
def test_counters_grow_by_what_each_purge_carries(number: int) -> None:
    before, after = octets(number - 1), octets(number)
    grown = {link: after[link] - before[link] for link in after if after[link] != before[link]}
    carried: dict[tuple[str, int], int] = {}
    for value in RECORDING.purge(number, NOW_S):
        for flow in decode(value):
            if isinstance(flow, Flow):
                link = flow.exporter, flow.iface_out
                carried[link] = carried.get(link, 0) + flow.size_bytes * flow.sampling_rate
    assert grown == carried


def test_without_records_markers_and_counters_are_left() -> None:
    silence = Recording(0, 200)
    assert [type(line) for value in silence.purge(7, NOW_S) for line in decode(value)] == [PurgeInit, PurgeClose]
    assert len(silence.counters(7, NOW_S)) == network.LINKS
    assert silence.prefixes() == set()


class SlowBroker:
    """In place of a producer: what is sent is taken once it `answers`."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.sent: list[str] = []

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(1 << 20, 0, is_transactional=False, key_serializer=None, value_serializer=None)

    async def send_batch(self, batch: BatchBuilder, topic: str, partition: int) -> Awaitable[object]:
        self.sent.append(topic)
        return asyncio.create_task(self.answers.wait())


async def test_a_late_purge_waits_for_its_pops_last_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Else they mix, and aiokafka gives up on those that wait longest: seen with 100 PoPs."""
    broker, late_s = SlowBroker(), 100
    base_s = int(SystemClock().now_s()) - late_s
    feeding = asyncio.create_task(Feed(cast(Any, broker), RECORDING, ["a", "b"]).run(base_s))
    for _ in range(100):
        await asyncio.sleep(0)
    assert broker.sent == ["sfacctd-counters-a", "sfacctd-counters-b"]
    broker.answers.set()
    while broker.sent.count("sfacctd-flows-b") < 3:
        await asyncio.sleep(0)
    feeding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await feeding
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert late_s - 3 * REFRESH_S < told[1]["late_s"] <= told[1]["at_s"] - base_s + 0.001  # it is rounded


def test_lag_is_flat_when_its_end_is_no_further_than_its_beginning() -> None:
    assert run(lag_s=[9.0] * 4 + [2.0, 4.0] * 8).flat
    assert not run(lag_s=[2.0 + 0.5 * number for number in range(20)]).flat
    assert not run(ended=["pop1x0 ended with status 70"]).flat
    assert not run(lag_s=[]).flat
    assert run(lag_s=[2.0]).flat
    assert not run(lag_s=[70.0]).flat


def test_what_the_generator_could_not_send_is_not_held() -> None:
    assert RUN.holds
    assert run(late_s=2.0).flat
    assert not run(late_s=2.0).holds
    assert not run(ended=["pop1x0 ended with status 70"]).holds
    assert at_end([9.0] * 15 + [0.1, 0.2, 3.0, 0.1, 0.2]) == 0.2


def test_the_slope_is_what_a_minute_adds() -> None:
    assert run(lag_s=[0.5 * number for number in range(12)], seconds=60).lag_slope == pytest.approx(6.0)
    assert run(lag_s=[2.0] * 12).lag_slope == 0
    assert isnan(run(lag_s=[2.0]).lag_slope)


def test_the_verdict_is_one_line() -> None:
    grows = run(lag_s=[float(number) for number in range(20)], busy_cores=1.98)
    assert pops.verdict(grows).startswith(
        "12 PoPs of 2000 records/s in cells of 4: does not hold for 60 s: lag 5.5 s, then 17.5 (+20.00 s a minute); "
        "bottleneck: the processors (workers 0.60"
    )
    assert "cells of 4: holds for 60 s: lag 2.0 s, then 2.0 (+0.00 s a minute)" in pops.verdict(RUN)


class Rigged:
    """In place of a Rig: up to two PoPs hold."""

    def __init__(self, pops: int, records_per_s: int, flows: int) -> None:
        self.pops = [f"pop{number}" for number in range(pops)]
        self.quiet, self.path_bytes = self.pops, 1.0
        self.recording = self.dense = self.silence = RECORDING

    async def __aenter__(self) -> "Rigged":
        return self

    async def __aexit__(self, *error: object) -> None:
        """There is nothing to end."""

    async def measure(
        self, pops: list[str], recording: Recording, size: int, warm_s: float, seconds: float
    ) -> Measured:
        return run(pops=len(pops), pops_per_cell=size, late_s=9.0 if len(pops) > 2 else 0.0)


async def measured(monkeypatch: pytest.MonkeyPatch, numbers: list[int], for_constants: bool) -> pops.Outcome:
    monkeypatch.setattr(pops, "Rig", Rigged)
    return await pops.run_all(numbers, 500, [2, 10], 200, 0, 10, for_constants)


async def test_a_search_ends_with_the_first_number_that_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = await measured(monkeypatch, [1, 2, 3, 4], for_constants=False)
    assert [(one.pops, one.pops_per_cell) for one in outcome.all] == [(1, 1), (1, 1), (2, 2), (2, 2), (3, 2), (3, 3)]


async def test_for_constants_there_are_two_more_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = await measured(monkeypatch, [2], for_constants=True)
    assert [one.pops for one in outcome.all] == [2, 2, 1, 2]
    assert [one.pops for one in (await measured(monkeypatch, [20], for_constants=True)).all] == [20, 20]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"busiest_worker_cores": 0.97}, "one worker's core (workers 0.60, actuator 0.01, broker 0.30, generator 0.05"),
        ({"busy_cores": 1.95}, "the processors (workers"),
        ({"busy_cores": 1.95, "late_s": 3.0}, "the generator was 3.0 s late"),
        ({"feed_cores": 0.98}, "the generator's core (workers"),
        ({"disk_wait": 0.4}, "the disk"),
        ({"late_s": 3.0}, "2 cores); the generator was 3.0 s late"),
        ({}, "none; nearest is the processors, 50%"),
    ],
)
def test_the_bottleneck_is_named(values: dict[str, object], named: str) -> None:
    assert named in bottleneck(run(**values))


def costs(pops_per_cell: int, records_per_s: int, prefixes: int) -> Measured:
    """As a machine would measure whose worker takes 0.01 cores and 60 MiB, a link 0.0001 and 0.1 MiB, and so on."""
    cells = 12 // pops_per_cell
    pop_cores = network.LINKS * 0.0001 + records_per_s * 5e-6 + prefixes * 1e-5
    pop_mib = network.LINKS * 0.1 + prefixes * 0.004
    written = {"flows": 12.0 * records_per_s * 300, "counters": 12.0 * network.LINKS * 250 / WINDOW_S}
    changelogs = {"changelogs": 12.0 * (network.LINKS * 20 + prefixes * 30)}
    records = {"link-utilization": 500.0, "prefix-traffic": 700.0}
    outputs = {kind: size * 12 * network.LINKS / WINDOW_S for kind, size in records.items()}
    kinds = written | changelogs | outputs | {"decisions": 12 * 800.0 / WINDOW_S}
    made = run(
        pops_per_cell=pops_per_cell,
        cells=cells,
        records_per_s=records_per_s,
        prefixes=prefixes,
        worker_cores=cells * 0.01 + 12 * pop_cores,
        worker_mib=cells * 60 + 12 * pop_mib,
        actuator_mib=50 + pops_per_cell * prefixes * 0.002,
        written=kinds,
    )
    broker_cores = sum(kinds.values()) / MIB * 0.02 + made.partitions * 0.0003
    return msgspec.structs.replace(made, broker_cores=broker_cores)


def test_constants_are_what_the_runs_were_made_of() -> None:
    runs, quiet = [costs(1, 2000, 500), costs(4, 2000, 500)], costs(4, 0, 0)
    found = measured_constants(runs, costs(4, 16_000, 500), quiet, 330.0, 290.0, "12 PoPs")
    expected = {
        "cell_cpu_cores": 0.01,
        "link_cpu_cores": 0.0001,
        "record_cpu_s": 5e-6,
        "prefix_cpu_cores": 1e-5,
        "cell_memory_bytes": 60 * MIB,
        "link_memory_bytes": 0.1 * MIB,
        "prefix_memory_bytes": 0.004 * MIB,
        "actuator_cpu_cores": 0.01,
        "actuator_memory_bytes": 50 * MIB,
        "actuator_prefix_memory_bytes": 0.002 * MIB,
        "broker_mib_cpu_s": 0.02,
        "broker_partition_cpu_cores": 0.0003,
        "broker_memory_bytes": 400 * MIB,
        "flow_record_bytes": 330,
        "counter_bytes": 250,
        "path_bytes": 290,
        "link_utilization_bytes": 500,
        "prefix_traffic_bytes": 700,
        "decision_bytes": 800,
        "link_changelog_bytes_per_s": 20,
        "prefix_changelog_bytes_per_s": 30,
        "telemetry_changelogs": 4,
        "actuator_changelogs": 1,
    }
    assert {name: constant.value for name, constant in found.items()} == pytest.approx(expected, rel=1e-3)
    assert all(constant.how.startswith("measured (12 PoPs): ") for constant in found.values())


def test_one_size_of_cells_tells_nothing_of_a_worker() -> None:
    assert split([RUN], [1.0]) is None
    assert pops.one_more([RUN]) is None


def test_noise_makes_no_cost_negative() -> None:
    runs = [costs(1, 1, 1), costs(4, 1, 1)]
    found = split(runs, [1.0, 0.4])
    assert found is not None
    assert (found.per_cell, found.per_pop) == pytest.approx((0.8, 0.2))
    assert split(runs, [0.5, 1.0]) == Split(0.0, 0.75)


def test_the_next_pop_is_cheaper_where_there_is_a_cell() -> None:
    more = pops.one_more([costs(1, 2000, 500), costs(4, 2000, 500)])
    assert more is not None
    assert more["cores_alone"] - more["cores_in_a_cell"] == pytest.approx(0.01)
    assert (more["mib_in_a_cell"], more["mib_alone"]) == pytest.approx((6, 66))


def test_writing_keeps_what_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "sizing.toml"
    path.write_text(FILE.read_text().replace("[broker_cores]\nvalue = 4.0", "[broker_cores]\nvalue = 16.0"))
    runs, quiet = [costs(1, 2000, 500), costs(4, 2000, 500)], costs(4, 0, 0)
    pops.write(pops.Outcome(runs, costs(4, 16_000, 500), quiet, 330.0, 290.0), path)
    written = load_constants(path)
    assert written.broker_cores.value == 16
    assert written.broker_cores.how.startswith("chosen")
    assert written.record_cpu_s.value == pytest.approx(5e-6)
    assert "12 PoPs of 2000 records/s" in written.record_cpu_s.how


def test_runs_that_did_not_keep_up_give_no_constants() -> None:
    assert pops.unfit(pops.Outcome([RUN, RUN], RUN, RUN, 1, 1)) == []
    behind = run(lag_s=[float(number) for number in range(20)])
    assert pops.unfit(pops.Outcome([RUN, behind], RUN, run(late_s=2.0), 1, 1)) == [
        "lag in cells of 4 was not flat",
        "the generator was 2.0 s late",
    ]


@pytest.mark.parametrize("text", ["", "0,4", "1;4", "-1"])
def test_sizes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="like 1,4,10"):
        pops.sizes_of(text)


def test_sizes_are_run_from_the_smallest() -> None:
    assert pops.sizes_of("10,1,4,4") == [1, 4, 10]


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        (["--records-per-second", "700"], "multiple of 500"),
        (["--cells", "4", "--write"], "at least two sizes"),
        (["--pops", "4", "--cells", "4,10", "--write"], "at least two sizes"),
        (["--pops", "20", "--pops", "40", "--write"], "one --pops"),
    ],
)
def test_wrong_usage_starts_nothing(told: list[str], problem: str) -> None:
    result = CliRunner().invoke(pops.main, told)
    assert result.exit_code == 2
    assert problem in result.stderr
