"""The benchmark's pure parts: what goes into a topic, which figures come out, and when none do."""

import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from click.testing import CliRunner

from app.config.inventory import load_pop
from app.errors import DaemonError
from app.feeds.bmp import BmpRecord
from app.feeds.bmp import decode as decode_bmp
from app.feeds.flows import Flow, Marker, decode
from app.te.traffic.windows import Progress
from tests.bench import __main__ as bench
from tests.bench import network
from tests.bench.__main__ import PROGRAMS, part, plan_topics
from tests.bench.figures import RATIOS, Disagreement, Row, Run, check, differences, document, ratios
from tests.bench.ours import wrong
from tests.bench.traffic import BLOCK, LAST_PURGES, REFRESH_S, WINDOW_S, Plan, Traffic, key_of

START_S = 1_795_246_100


def row(program: str, per_message: int, *rates: float, variant: str = "") -> Row:
    return Row(
        program=program, per_message=per_message, variant=variant, records=1, settings={"a": 1}, rates=list(rates)
    )


def traffic(per_message: int, marks: tuple[int, ...] = ()) -> Traffic:
    return Traffic(Plan(start_s=START_S, windows=2, a_purge=BLOCK, per_message=per_message, marks=marks, flows=2000))


def summed(flows: list[Flow]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for flow in flows:
        key = key_of(flow.exporter, flow.iface_out, flow.at_s // WINDOW_S * WINDOW_S)
        sums[key] += flow.size_bytes * flow.sampling_rate
    return dict(sums)


@pytest.mark.parametrize("per_message", [1, 1000])
def test_the_expected_sums_are_those_of_the_records(per_message: int) -> None:
    made = traffic(per_message, marks=(3 * BLOCK,))
    parsed = [line for message in made.messages() for line in decode(message.value)]
    flows = [line for line in parsed if isinstance(line, Flow)]
    assert len(flows) == made.plan.records
    assert made.expected == {len(flows): summed(flows), 3 * BLOCK: summed(flows[: 3 * BLOCK])}
    assert {flow.at_s for flow in flows} == set(range(START_S, START_S + 2 * WINDOW_S))
    assert not [line for line in parsed if not isinstance(line, Flow | Marker)]


def test_records_are_of_the_size_that_sfacctd_writes() -> None:
    lines = [line for message in traffic(1000).messages() for line in message.value.split(b"\n") if b"bytes" in line]
    assert 315 <= sum(map(len, lines)) / len(lines) <= 335
    keys = list(json.loads(lines[0]))
    recorded = json.loads((Path(__file__).parent / "data" / "pmacct" / "flow.json").read_text())
    assert [key for key in keys if key in recorded] == list(recorded)


def test_markers_close_every_window_and_time_goes_forward() -> None:
    made = traffic(1000)
    messages = list(made.messages())
    assert len(messages) == made.plan.records // 1000 + 2 * (made.plan.purges + LAST_PURGES)
    assert all(before.at_ms <= after.at_ms for before, after in pairwise(messages))
    assert messages[-1].at_ms >= (START_S + 2 * WINDOW_S + 2 * REFRESH_S) * 1000


def test_the_network_is_one_that_the_worker_takes(tmp_path: Path) -> None:
    path = tmp_path / "bench1.toml"
    path.write_text(network.inventory("bench1", 1e9))
    pop = load_pop(path)
    assert list(pop.links) == [network.link_id("bench1", link) for link in range(network.LINKS)]
    for link, name in enumerate(pop.links):
        router = pop.router_by_agent[network.agent(link)]
        assert pop.link_by_interface[router, network.ifindex(link)] == name
        assert all((router, index) in pop.ingress_by_interface for index in network.ingress_ifindexes(link))


def test_every_prefix_is_announced_on_several_links() -> None:
    told = [decode_bmp(message) for message in network.bmp_messages()]
    routes = [one for one in told if isinstance(one, BmpRecord) and one.is_route]
    assert len(routes) == network.PREFIXES * network.EXITS
    assert len({(one.ip_prefix, one.peer_ip) for one in routes}) == len(routes)
    paths: dict[str, list[tuple[str, str]]] = {}
    for one in routes:
        paths.setdefault(one.ip_prefix, []).append((one.peer_ip, str(one.as_path)))
    assert len(set(map(tuple, paths.values()))) == network.PREFIXES // 10, "ten prefixes have the same paths"
    assert all(network.address_in(prefix, 9).endswith(".9") for prefix in range(3))


def test_a_ratio_is_over_the_best_configuration() -> None:
    rows = [
        row("ours", 1000, 5.0, 6.0, 90.0),
        row("kafka_streams", 1000, 2.0, variant="each"),
        row("kafka_streams", 1000, 3.0, variant="grouped"),
        row("kafka_streams", 1000, 4.0, variant="combined"),
        row("plain_faust", 1, 0.5),
    ]
    assert ratios(rows) == {"kafka_streams_1000": 2.0, "plain_faust": 12.0}


def test_all_ratios_come_of_all_programs() -> None:
    rows = [row(peer.program, peer.per_message, 1.0, variant=peer.variant) for peer in PROGRAMS]
    assert ratios(rows).keys() == RATIOS.keys()
    told = json.loads(json.dumps(document(rows)))
    assert told["ratios"]["quix_1"] == 1.0
    assert len(told["rows"]) == len(PROGRAMS)
    assert all(one["settings"] and one["records_per_s"] == 1 for one in told["rows"])


def test_a_byte_of_difference_is_told() -> None:
    sent = {"192.0.2.1/101@10": 5, "192.0.2.1/101@20": 7}
    assert list(differences("quix 1", sent, sent)) == []
    (told,) = differences("quix 1", sent | {"192.0.2.1/101@20": 8}, sent)
    assert told == "quix 1: 192.0.2.1/101@20: 8 bytes, 7 were sent"
    assert len(list(differences("quix 1", {}, sent))) == 2
    assert len(list(differences("quix 1", {"x": 1}, {}))) == 1


def test_a_run_with_a_wrong_sum_is_refused() -> None:
    run = Run(records=2, seconds=1.0, sums={"192.0.2.1/101@10": 5}, settings={})
    check("quix 1", run, {"192.0.2.1/101@10": 5})
    with pytest.raises(Disagreement, match="101@10: 5 bytes, 6 were sent"):
        check("quix 1", run, {"192.0.2.1/101@10": 6})
    with pytest.raises(Disagreement, match="no decision"):
        check("ours 1", msgspec.structs.replace(run, wrong=["ours: no decision on the window of 10"]), run.sums)


@pytest.mark.parametrize("argv", [[], ["--json"]])
def test_where_outputs_disagree_there_is_no_figure(monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    rows = {peer: row(peer.program, peer.per_message, 123456.0) for peer in PROGRAMS}
    problems: list[str] = []

    async def run_all(*_: object) -> object:
        if problems:
            raise Disagreement(problems[0])
        return SimpleNamespace(rows=rows)

    monkeypatch.setattr(bench, "run_all", run_all)
    agreed = CliRunner().invoke(bench.main, argv)
    assert agreed.exit_code == 0
    assert "123,456" in agreed.stdout
    problems.append("quix 1: 192.0.2.1/101@20: 8 bytes, 7 were sent")
    disagreed = CliRunner().invoke(bench.main, argv)
    assert disagreed.exit_code == 1
    assert disagreed.stdout == ""
    assert "quix 1: 192.0.2.1/101@20" in disagreed.stderr


async def test_a_failure_leaves_logs_and_no_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def kafka(_: object, run_dir: Path, *listeners: object) -> AsyncIterator[str]:
        (run_dir / "kafka").mkdir(parents=True)
        (tmp_path / "ours.log").touch()
        yield ""

    def ended(_: Path) -> None:
        raise DaemonError("it ended")

    monkeypatch.setattr(bench, "mkdtemp", lambda prefix: str(tmp_path))
    monkeypatch.setattr(bench, "cores", lambda: (0, os.sched_getaffinity(0)))
    monkeypatch.setattr(bench, "kafka", kafka)
    monkeypatch.setattr(bench, "Runner", ended)
    with pytest.raises(DaemonError):
        await bench.run_all(PROGRAMS[:1], 1, 1.0)
    left = {one.name for one in tmp_path.iterdir()}
    assert "ours.log" in left
    assert "broker" not in left


def test_ours_must_account_for_every_byte() -> None:
    assert list(wrong(Progress(counted_bytes=12), {"a": 5, "b": 7})) == []
    lost = msgspec.structs.replace(Progress(counted_bytes=11), unattributed_bytes={"unroutable": 1}, dead_letters=1)
    assert len(list(wrong(lost, {"a": 5, "b": 7}))) == 3


def test_slow_programs_read_a_part_that_has_its_sums() -> None:
    for plan in plan_topics(PROGRAMS, 2.0, START_S):
        peers = [peer for peer in PROGRAMS if peer.per_message == plan.per_message]
        parts = {peer.program: part(peer, plan.records, 2.0) for peer in peers}
        assert set(parts.values()) <= set(plan.marks)
        assert parts["ours"] == plan.records
        assert max(parts.values()) == plan.records
