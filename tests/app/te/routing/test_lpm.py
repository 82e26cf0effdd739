"""Longest match against py-radix, which is older and slower."""

import ipaddress
import re

import pytest
import radix
from hypothesis import given
from hypothesis import strategies as st

from app import native
from app.te.routing.lpm import Addresses, PrefixTable, parse_network


def networks(version: int, lengths: st.SearchStrategy[int]) -> st.SearchStrategy[str]:
    """Prefixes in a small corner of the address space, so that many nest."""
    base = 0xC6330000 if version == 4 else 0x20010DB8 << 96
    corner = st.integers(0, (1 << 20) - 1) if version == 4 else st.integers(0, 15).map(lambda n: n << 62 | n)
    return st.builds(lambda value, size: str(ipaddress.ip_network((base + value, size), strict=False)), corner, lengths)


PREFIXES = st.lists(
    st.one_of(
        networks(4, st.integers(0, 32)),
        networks(6, st.one_of(st.integers(0, 64), st.integers(62, 70), st.integers(65, 128))),
    ),
    max_size=40,
)
OFFSETS = st.lists(st.integers(-2, 1 << 18), min_size=1, max_size=10)


def around(prefix: str, offset: int) -> str:
    """An address near the start of a prefix, so that borders are tried."""
    network = ipaddress.ip_network(prefix)
    number = min(max(int(network.network_address) + offset, 0), (1 << network.max_prefixlen) - 1)
    return str(ipaddress.IPv4Address(number) if network.version == 4 else ipaddress.IPv6Address(number))


@given(PREFIXES, PREFIXES, OFFSETS)
def test_matches_as_a_radix_tree_does(prefixes: list[str], others: list[str], offsets: list[int]) -> None:
    tree = radix.Radix()
    for prefix in prefixes:
        tree.add(prefix)
    addresses = [around(prefix, offset) for prefix in (*prefixes, *others) for offset in offsets]
    expected = [node.prefix if (node := tree.search_best(address)) else None for address in addresses]
    assert PrefixTable.build(prefixes).match(addresses) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "library", None)
        assert PrefixTable.build(prefixes).match(addresses) == expected, "the same where nothing is compiled"


def test_whole_address_space_and_its_last_address() -> None:
    table = PrefixTable.build(["0.0.0.0/0", "::/0", "255.255.255.255/32", "ffff::/16"])
    addresses = ["255.255.255.254", "255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::"]
    assert table.match(addresses) == ["0.0.0.0/0", "255.255.255.255/32", "ffff::/16", "::/0"]


def test_what_is_no_address_matches_nothing() -> None:
    assert PrefixTable.build(["0.0.0.0/0"]).match(["", "1.2.3", "1.2.3.4.5", "x", "é", "1.2.3.4\0"]) == [None] * 6


@pytest.mark.parametrize("text", ["203.0.113.1/24", "203.0.113.0", "203.0.113.0/33", "203.0.113.0/-1", "x/8", "::/129"])
def test_refuses_what_is_no_prefix(text: str) -> None:
    with pytest.raises(ValueError, match="is not a prefix"):
        parse_network(text)


@pytest.mark.parametrize(
    "text",
    ["203.0.113.1/24", "203.0.113.0", "203.0.113.0/33", "203.0.113.0/ 8", "x/8", "2001:db8::1/64", "2001:db8:1::/32"],
)
def test_a_table_is_refused_for_what_is_no_prefix(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        PrefixTable.build(["198.51.100.0/24", "2001:db8::/32", "2001:db8::/96", text])


def test_what_is_found_is_a_place_among_the_names() -> None:
    table = PrefixTable.build(["198.51.100.0/24", "2001:db8::/32", "2001:db8::/96"])
    found = table.find(Addresses.of(["198.51.100.9", "x", "2001:db8:1::", "203.0.113.9", "2001:db8::9"])).tolist()
    assert [table.names[place] if place >= 0 else None for place in found] == [
        "198.51.100.0/24",
        None,
        "2001:db8::/32",
        None,
        "2001:db8::/96",
    ]
