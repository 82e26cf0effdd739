"""Counter samples as sfacctd 1.7.7 sends them."""

import json
from pathlib import Path

import pytest

from app.feeds.counters import InterfaceCounters, Unused, decode
from app.feeds.rejected import Rejected

DATA = Path(__file__).parents[2] / "data" / "pmacct"


def test_a_generic_counter_sample() -> None:
    counters = decode((DATA / "counters.json").read_bytes())
    assert isinstance(counters, InterfaceCounters)
    assert counters.at_s == 1795254272.559271
    assert (counters.exporter, counters.ifindex, counters.speed_bps, counters.up) == ("192.0.2.1", 101, 10**11, True)


def test_a_sample_keeps_its_number_and_kind() -> None:
    counters = decode((DATA / "counters.json").read_bytes())
    assert isinstance(counters, InterfaceCounters)
    assert (counters.sample.kind, counters.sample.source, counters.sample.sequence) == (6, 101, 1)


def test_what_is_not_for_us_is_named() -> None:
    assert decode((DATA / "counters_log_init.json").read_bytes()) == Unused("log-event")
    assert decode(b'{"event_type": "log", "sf_cnt_type": "sflow_cnt_vlan"}') == Unused("sflow_cnt_vlan")


@pytest.mark.parametrize("broken", [b"", b"nonsense", b"[" * 100_000, b'{"event_type": 1}'])
def test_what_does_not_parse_is_bad(broken: bytes) -> None:
    assert isinstance(decode(broken), Rejected)


@pytest.mark.parametrize(
    "changes",
    [{"ifOutOctets": -1}, {"timestamp": "noon"}, {"timestamp": "nan"}, {"ifOutOctets": 2**64}, {"ifSpeed": "fast"}],
)
def test_absurd_values_are_bad(changes: dict[str, object]) -> None:
    raw = json.loads((DATA / "counters.json").read_text()) | changes
    assert isinstance(decode(json.dumps(raw).encode()), Rejected)
