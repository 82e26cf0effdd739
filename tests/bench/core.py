"""Benchmark of the pure hot path: `python -m tests.bench.core [--json]`.

Ours does all of its work on a message (decode, attribute, match, sum); the floor is msgspec decoding the same lines.
Runs are interleaved and the ratio is the median of pairs, for machines are noisy.
"""

import json
import sys
from collections.abc import Callable
from statistics import median
from timeit import default_timer

import msgspec

from app.config.thresholds import WindowSettings
from app.feeds.accounting import Accounting
from app.te.routing.lpm import PrefixTable
from tests.app.feeds.test_accounting import T0, flow
from tests.pops import demo_pop

MESSAGES, RECORDS, PAIRS = 50, 1000, 5


class Line(msgspec.Struct):
    """The fields we need, decoded with nothing checked."""

    peer_ip_src: str
    iface_in: int
    iface_out: int
    ip_dst: str
    timestamp_arrival: str
    sampling_rate: int
    packets: int
    bytes: int


def message(number: int) -> bytes:
    """A thousand records of one second to many destinations."""
    lines = (flow(T0 + number % 10, ip_dst=f"20.{i % 200}.{i % 7}.{i % 250}") for i in range(RECORDS))
    return b"\n".join(lines)


def floor(messages: list[bytes]) -> None:
    decoder = msgspec.json.Decoder(Line)
    for one in messages:
        decoder.decode_lines(one)


def ours(messages: list[bytes]) -> None:
    table = PrefixTable.build(f"20.{i}.{j}.0/24" for i in range(200) for j in range(7))
    account = Accounting(demo_pop(), WindowSettings(), lambda: table)
    for offset, one in enumerate(messages):
        assert list(account.ingest(offset, [T0 + 5.0], [one])) == []
    assert sum(sums.size_bytes for sums in account.open.values()) == len(messages) * RECORDS * 100_000


def rate(work: Callable[[list[bytes]], None], messages: list[bytes]) -> float:
    """Records a second."""
    began = default_timer()
    work(messages)
    return len(messages) * RECORDS / (default_timer() - began)


def main() -> None:
    messages = [message(number) for number in range(MESSAGES)]
    pairs = [(rate(ours, messages), rate(floor, messages)) for _ in range(PAIRS)]
    figures = {
        "ours_records_per_s": round(median(ours for ours, _ in pairs)),
        "floor_records_per_s": round(median(floor for _, floor in pairs)),
        "ratio": round(median(ours / floor for ours, floor in pairs), 3),
    }
    print(json.dumps(figures) if "--json" in sys.argv else "\n".join(f"{k}: {v:,}" for k, v in figures.items()))


if __name__ == "__main__":
    main()
