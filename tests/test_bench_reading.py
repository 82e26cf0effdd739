"""What the benchmark of reading makes of its reports."""

import json

import pytest

from tests.bench.figures import OURS, Disagreement
from tests.bench.meter import Meter
from tests.bench.reading import LIBRDKAFKA, Report, agree, ratios, row


def report(cpu_s: float, size_bytes: int = 1000) -> Report:
    return Report(
        bytes=size_bytes, seconds=2.0, cpu_s=cpu_s, timed_bytes=800, timed_messages=8, memory_max_bytes=1 << 20
    )


def test_ratios_are_ours_over_the_others_by_cpu_time() -> None:
    rows = [row(OURS, 1, [report(1.0), report(2.0), report(9.0)]), row(LIBRDKAFKA, 1, [report(1.0)])]
    assert (rows[0].bytes_per_s, rows[0].bytes_per_cpu_s, rows[0].messages_per_cpu_s) == (400.0, 400.0, 4.0)
    assert ratios(rows) == {"librdkafka_1": 0.5}


def test_who_counts_other_bytes_ends_it() -> None:
    agree([report(1.0), report(2.0)])
    with pytest.raises(Disagreement, match="different bytes"):
        agree([report(1.0), report(1.0, 1001)])


def test_the_first_messages_are_not_in_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter(10)
    assert [meter.add(4, 400), meter.add(5, 500), meter.add(1, 100)] == [False, False, True]
    told = json.loads(capsys.readouterr().out)
    assert (told["bytes"], told["timed_messages"], told["timed_bytes"]) == (1000, 6, 600)
    assert told["memory_max_bytes"] > 1 << 20
