"""The drawn prefixes: public, of the mix asked for, and overlapping only where meant."""

import ipaddress
from collections import Counter

import numpy as np
import pytest

from app.lab.pop.prefixes import HOSTS_PER_PREFIX, IPV4, IPV6, Family, PrefixSet, draw_prefixes

each_family = pytest.mark.parametrize("family", [IPV4, IPV6], ids=["IPv4", "IPv6"])


def draw(family: Family, seed: int = 1) -> PrefixSet:
    return draw_prefixes(np.random.default_rng(seed), family, 500, 20)


@each_family
def test_prefixes_are_distinct_public_and_of_the_lengths_asked_for(family: Family) -> None:
    networks = [ipaddress.ip_network(prefix) for prefix in draw(family).prefixes]
    lengths = Counter(network.prefixlen for network in networks)
    assert len(set(networks)) == 500
    assert {network.max_prefixlen for network in networks} == {family.bits}
    assert all(network.is_global and not network.is_multicast for network in networks)
    assert set(lengths) == set(family.lengths)
    assert lengths[family.inside_length] > 150


@each_family
def test_only_the_pairs_overlap_and_each_is_told(family: Family) -> None:
    drawn = draw(family)
    networks = [ipaddress.ip_network(prefix) for prefix in drawn.prefixes]
    overlaps = {
        (inner, outer)
        for inner, network in enumerate(networks)
        for outer, other in enumerate(networks)
        if inner != outer and other.overlaps(network) and other.prefixlen <= network.prefixlen
    }
    assert overlaps == {(inner, outer) for inner, outer in enumerate(drawn.covering) if outer is not None}
    assert len(overlaps) == 20


@each_family
def test_hosts_have_their_prefix_as_longest_match(family: Family) -> None:
    drawn = draw(family)
    networks = [ipaddress.ip_network(prefix) for prefix in drawn.prefixes]
    for index, hosts in enumerate(drawn.hosts):
        assert len(set(hosts)) == HOSTS_PER_PREFIX
        for host in map(ipaddress.ip_address, hosts[:4]):
            matches = [i for i, network in enumerate(networks) if host in network]
            assert max(matches, key=lambda i: networks[i].prefixlen) == index


def test_one_family_after_the_other() -> None:
    first, second = draw(IPV4), draw(IPV6)
    both = first + second
    assert both.prefixes == first.prefixes + second.prefixes
    assert both.match_orders == first.match_orders + second.match_orders


def test_a_seed_gives_the_same_prefixes_again() -> None:
    assert draw(IPV4, 7) == draw(IPV4, 7)
    assert draw(IPV4, 7) != draw(IPV4, 8)
