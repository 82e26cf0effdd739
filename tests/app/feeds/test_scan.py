"""The scanner takes what pmacct prints, and reads it as the JSON library does; it leaves what differs in anything."""

import json
from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app import native
from app.feeds.columns import FlowColumns, flows_of
from app.feeds.flows import COUNT_MAX, Flow, decode
from app.feeds.scan import LEFT_MAX, SOURCES_MAX, scan
from app.te.routing.lpm import Addresses
from tests.app.feeds.test_flows import RECORD, line

Row = tuple[object, ...]


def rows(flows: FlowColumns) -> Iterator[Row]:
    """Record by record, with its source."""
    columns = (flows.source, flows.at_s, *flows.destinations, flows.samples, flows.sizes_bytes)
    for source, *rest in zip(*(column.tolist() for column in columns), strict=True):
        yield flows.sources[source], *rest


def decoded(text: bytes) -> list[Row]:
    return list(rows(flows_of([item for item in decode(text) if isinstance(item, Flow)])))


def test_nothing_is_left_of_what_pmacct_prints() -> None:
    usual = [line(), line(ip_dst="2001:db8::9", as_dst=64500, port_src=443, ip_proto="tcp"), line(bytes=0, iface_in=2)]
    text = b"\n".join([*usual, b"", json.dumps(RECORD, separators=(",", ":")).encode(), b""])
    flows, left = scan([text])
    assert left == []
    assert list(rows(flows)) == decoded(text)
    assert len(flows.source) == 4
    assert len(flows.sources) == 2


UNUSUAL = [
    line(bytes=-1),
    line(bytes=1.5),
    line(bytes="3000"),
    line(bytes=COUNT_MAX),
    line(bytes=COUNT_MAX + 1, sampling_rate=1),
    line(iface_out=2**32),
    line(peer_ip_src=7),
    line(event_type="purge_init"),
    line(extra=[1]),
    line(extra={"bytes": 1}),
    line(extra=None),
    line(extra='a "quoted" word'),
    line(extra="é"),
    line(ip_dst="2" * 65),
    line(timestamp_arrival="1795246109.0000001"),
    line(timestamp_arrival="1795246109."),
    line(timestamp_arrival=""),
    line(timestamp_arrival="1e9"),
    line(timestamp_arrival="0" * 55 + "1795246109"),
    line().replace(b'"bytes": 3000', b'"bytes": 03000'),
    line().replace(b'"bytes": 3000', b'"bytes": 3000, "bytes": 4000'),
    line().replace(b'"bytes"', b'"byte"'),
    line() + b" ",
    line() + b"}",
    line()[:-1],
    line()[:-1] + b",",
    line()[:-1] + b",}",
    line()[:-1] + b', "extra":',
    line()[:-1] + b', "extra',
    b"{",
    b"{}",
    b'"',
    b"nonsense",
]


@pytest.mark.parametrize("unusual", UNUSUAL)
def test_what_is_unusual_is_left(unusual: bytes) -> None:
    flows, left = scan([b"\n".join([line(), unusual]), line(bytes=7)])
    assert left == [unusual]
    assert flows.sizes_bytes.tolist() == [3000, 7]


@pytest.mark.parametrize(
    "address", ["", "x", "1.2.3", "01.2.3.4", "1.2.3.4.5", "::1", "::ffff:1.2.3.4", "1:2", "/", "0.0.0.0", "::", "0::0"]
)
def test_addresses_are_read_as_python_reads_them(address: str) -> None:
    flows, left = scan([line(ip_dst=address)])
    assert left == []
    assert list(rows(flows)) == decoded(line(ip_dst=address))


def test_with_too_many_unusual_lines_a_text_is_left() -> None:
    text = b"\n".join([line(), *[b"x"] * (LEFT_MAX + 1)])
    flows, left = scan([line(bytes=7), text, b"y"])
    assert left == [text, b"y"]
    assert flows.sizes_bytes.tolist() == [7]


def test_with_too_many_sources_the_rest_is_left() -> None:
    lines = [line(iface_in=number) for number in range(SOURCES_MAX + 9)]
    flows, left = scan(lines + lines[:5])
    assert left == lines[SOURCES_MAX:]
    assert [flows.sources[place].iface_in for place in flows.source.tolist()] == [*range(SOURCES_MAX), *range(5)]


def test_where_nothing_is_compiled_all_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", None)
    flows, left = scan([line()])
    assert left == [line()]
    assert list(rows(flows)) == []
    assert flows.destinations.at(slice(0, 0)).then(Addresses.of(["::"])).versions.tolist() == [6]


TEXTS = st.one_of(
    st.sampled_from(["purge", "purge_init", "1795246109.25", "17952461099", "007.5", ".5", "5.", "203.0.113.9", "::9"]),
    st.sampled_from(["0.0.0.0", "::", "0" * 54 + "1795246109", "0" * 55 + "1795246109"]),
    st.text(max_size=4),
)
VALUES = st.one_of(
    TEXTS, st.integers(), st.integers(0, 9), st.sampled_from([COUNT_MAX, 2**32 - 1, 2**32]), st.floats(), st.none()
)
RECORDS = st.dictionaries(st.sampled_from([*RECORD, "more"]), VALUES, max_size=3)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A record with some fields changed, and then perhaps a few of its bytes."""
    printed = bytearray(json.dumps(RECORD | draw(RECORDS), ensure_ascii=draw(st.booleans())).encode())
    for place, byte in draw(
        st.lists(st.tuples(st.integers(0, len(printed) - 1), st.sampled_from(b'"{}:, 0a\\.')), max_size=2)
    ):
        printed[place] = byte
    return bytes(printed)


@given(st.lists(lines(), max_size=6))
def test_what_it_takes_is_what_the_json_library_reads(many: list[bytes]) -> None:
    flows, left = scan([b"\n".join(many[:2]), b"\n".join(many[2:])])
    taken = list(many)
    for one in left:
        taken.remove(one)
    assert list(rows(flows)) == decoded(b"\n".join(taken))
    assert len(flows.source) == len([one for one in taken if one.strip()])
