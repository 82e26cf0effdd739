"""The worst that a collector's topic can hold: each ends in a counter or a dead letter of bounded size."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from app.feeds import bmp, counters, flows
from app.feeds.accounting import Closed
from app.feeds.rejected import RAW_BYTES_MAX, REASON_CHARS_MAX, Rejected
from app.te.routing.lpm import parse_network
from tests.app.feeds.test_accounting import T0, account, feed, flow, purge
from tests.app.feeds.test_flows import line

DATA = Path(__file__).parents[2] / "data"
HUGE = b'{"event_type": "purge", "ip_dst": "' + b"9" * 10_000_000 + b'"}'
NOT_A_RECORD = [
    b"nonsense",
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b'"text"',
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b'{"event_type": null}',
    HUGE,
]
Decode = Callable[[bytes], object]


def first_flow(message: bytes) -> object:
    return next(flows.decode(message))


def bmp_record(kind: str = "gobgpd_update", **changes: object) -> bytes:
    return json.dumps(json.loads((DATA / "bmp" / f"{kind}.json").read_text()) | changes).encode()


def counter_record(**changes: object) -> bytes:
    return json.dumps(json.loads((DATA / "pmacct" / "counters.json").read_text()) | changes).encode()


@pytest.mark.parametrize("decode", [first_flow, counters.decode, bmp.decode])
@pytest.mark.parametrize("message", NOT_A_RECORD, ids=lambda message: repr(message[:12]))
def test_what_is_no_record_is_a_dead_letter_of_bounded_size(decode: Decode, message: bytes) -> None:
    rejected = decode(message)
    assert isinstance(rejected, Rejected)
    assert 0 < len(rejected.reason) <= REASON_CHARS_MAX
    assert len(rejected.raw) <= RAW_BYTES_MAX


@pytest.mark.parametrize(
    "message",
    [
        line(bytes=2**63),
        line(bytes=2**39, sampling_rate=2**39),
        line(packets=-1),
        line(iface_out=-1),
        line(iface_out="101"),
        line(sampling_rate=1.5),
        line(ip_dst=None),
        line(timestamp_arrival="-1e300"),
        line(timestamp_arrival="-1"),
        line(timestamp_arrival=1795246109),
    ],
)
def test_a_flow_with_absurd_values_is_a_dead_letter(message: bytes) -> None:
    assert isinstance(first_flow(message), Rejected)


def test_a_message_of_junk_is_not_half_a_million_dead_letters() -> None:
    parsed = list(flows.decode(b"x\n" * 500_000 + line()))
    assert len(parsed) == flows.BAD_LINES_MAX + 2
    assert isinstance(parsed[-2], flows.Flow), "good lines are not lost among the bad"
    assert isinstance(parsed[-1], Rejected)
    assert f"{500_000 - flows.BAD_LINES_MAX} more lines" in parsed[-1].reason
    assert sum(item.records for item in parsed if isinstance(item, Rejected)) == 500_000


def test_equal_lines_of_a_message_make_letters_that_differ() -> None:
    """Else a repeat after a restart could not be told from a second line with the same bytes."""
    acc = account()
    told = [item for _, item in acc.ingest(0, [T0 + 1.0], [b"\n".join([b"x", line(), b"", b"x", b"y", b"x"])])]
    assert [(item.index, item.raw) for item in told if isinstance(item, Rejected)] == [
        *((0, b"x"), (3, b"x"), (4, b"y"), (5, b"x"))
    ]
    assert acc.progress.dead_letters == 4


def test_the_rest_of_a_message_follows_its_last_letter_and_is_counted() -> None:
    acc = account()
    told = [item for _, item in acc.ingest(0, [T0 + 1.0], [b"x\n" * 500 + line()])]
    letters = [item for item in told if isinstance(item, Rejected)]
    assert [item.index for item in letters] == list(range(flows.BAD_LINES_MAX + 1))
    assert sum(item.records for item in letters) == acc.progress.dead_letters == 500


def test_a_destination_that_is_no_address_is_unroutable_not_fatal() -> None:
    acc = account()
    feed(acc, [(T0 + 1.0, flow(T0, ip_dst="10.not.an.address"))])
    assert [o for o in feed(acc, purge(T0 + 14), first=1) if isinstance(o, Closed)]
    assert acc.progress.unattributed_bytes == {"unroutable": 100_000}


def test_a_flow_of_the_far_future_is_unattributed_and_one_of_1970_is_late() -> None:
    acc = account()
    feed(acc, [(T0 + 1.0, flow(T0)), *purge(T0 + 14)])
    feed(acc, [(T0 + 15.0, flow(0)), (T0 + 15.0, flow(10**50))], first=3)
    assert (acc.progress.late_bytes, acc.progress.unattributed_bytes) == (100_000, {"clock-skew": 100_000})
    assert acc.progress.closed_up_to_s == T0 + 10


@pytest.mark.parametrize("iface_out", [0, 0x3FFFFFFF, 0x40000001, 0x80000002, 0xC0000000, 0xFFFFFFFF])
def test_special_interfaces_are_no_links(iface_out: int) -> None:
    acc = account()
    feed(acc, [(T0 + 1.0, flow(T0, iface_out=iface_out))])
    assert acc.progress.unattributed_bytes == {"special-interface": 100_000}


@pytest.mark.parametrize(
    "changes",
    [
        {"ifOutOctets": 2**64},
        {"ifOutDiscards": -1},
        {"ifIndex": "101"},
        {"timestamp": "-5"},
        {"timestamp": "inf"},
        {"timestamp": 5},
    ],
)
def test_counters_with_absurd_values_are_a_dead_letter(changes: dict[str, object]) -> None:
    assert isinstance(counters.decode(counter_record(**changes)), Rejected)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"sf_cnt_type": None}, "unnamed-block"),
        ({"sf_cnt_type": "sflow_cnt_vlan"}, "sflow_cnt_vlan"),
        ({"sf_cnt_type": "sflow_cnt_of_tomorrow"}, "other-block"),
        ({"sf_cnt_type": None, "event_type": "log_init"}, "log-event"),
    ],
)
def test_counter_blocks_of_other_kinds_are_counted_by_kind(changes: dict[str, object], kind: str) -> None:
    """Senders choose the name of a block, so kinds are few words of our own."""
    raw = json.loads(counter_record()) | changes
    present = {key: value for key, value in raw.items() if value is not None}
    assert counters.decode(json.dumps(present).encode()) == counters.Unused(kind)


@pytest.mark.parametrize("speed", [2**32 - 1, 2**64 - 1])
def test_a_speed_of_all_ones_is_unknown_and_no_dead_letter(speed: int) -> None:
    assert isinstance(counters.decode(counter_record(ifSpeed=speed)), counters.InterfaceCounters)


@pytest.mark.parametrize(
    "changes",
    [
        {"local_pref": 2**63},
        {"local_pref": -1},
        {"med": 2**32},
        {"as_path_id": 2**64},
        {"peer_asn": -1},
        {"as_path": "4294967296"},
        {"as_path": "-5"},
        {"as_path": [["64601"]]},
        {"as_path": "9" * 5000},
        {"peer_ip": "somebody"},
        {"peer_ip": ""},
        {"log_type": "surprise"},
        {"log_type": ""},
        {"ip_prefix": "fe80::%eth0/64"},
        {"ip_prefix": "20.0.0.0/33"},
        {"ip_prefix": "9" * 60_000},
        {"comms": 7},
    ],
)
def test_a_route_with_absurd_values_is_a_dead_letter(changes: dict[str, object]) -> None:
    rejected = bmp.decode(bmp_record("gobgpd_update", **changes))
    if isinstance(rejected, bmp.TreatedAsWithdraw):
        rejected = rejected.rejected
    assert isinstance(rejected, Rejected)
    assert len(rejected.reason) <= REASON_CHARS_MAX


@pytest.mark.parametrize("kind", ["gobgpd_peer_up", "gobgpd_peer_down"])
def test_a_session_event_without_a_peer_is_a_dead_letter(kind: str) -> None:
    assert isinstance(bmp.decode(bmp_record(kind, peer_ip="nobody")), Rejected)


@pytest.mark.parametrize("prefix", ["20.0.0.0/24", "0.0.0.0/0", "2001:db8::/32", "::/0", "2001:db8::1/128"])
def test_every_prefix_that_passes_can_be_looked_up(prefix: str) -> None:
    record = bmp.decode(bmp_record(ip_prefix=prefix))
    assert isinstance(record, bmp.BmpRecord)
    assert parse_network(record.ip_prefix).length == int(prefix.partition("/")[2])


def named_tests(table: str) -> list[str]:
    return re.findall(r"`(test_\w+)` \|$", table, re.MULTILINE)


def test_every_row_of_the_table_names_a_test_that_exists() -> None:
    root = DATA.parents[1]
    table = (root / "docs" / "operator" / "bad-input.md").read_text()
    rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
    written = "\n".join(path.read_text() for path in (root / "tests").rglob("test_*.py"))
    assert len(named_tests(table)) == len(rows) > 10
    assert [name for name in named_tests(table) if not re.search(rf"^(async )?def {name}\(", written, re.M)] == []
